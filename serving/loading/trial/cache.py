"""What trials found out, kept for the next start.

A document's name covers all that findings hang on: files and configuration, onnxruntime and
its providers, the CPU, threads, budgets. Anything else there makes another document, so nothing
here goes stale; the oldest go. Failures are not kept: what a version failed for, a locale or
a library that is not installed, no name covers, and a start tries it again.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from serving import machine
from serving.events import log
from serving.loading import batching
from serving.loading.trial import findings
from serving.loading.trial.findings import Findings
from serving.model_config.schema import ModelConfig
from serving.settings import Settings
from serving.state_dir import StateDir

FOLDER = "trials"
MOST = 4096
# Documents written until those in the folder are counted again: others may write there, too.
_COUNTED_EVERY = 64
# To be raised with every change of what is written, or of how it is found out.
SCHEMA = 5


class TrialCache:
    """Findings by name, in the state directory. Safe from any thread."""

    def __init__(self, state: StateDir) -> None:
        self._state = state
        self._lock = threading.Lock()
        self._uncounted = 1

    @property
    def any(self) -> bool:
        return bool(self._state.names(FOLDER))

    def read(self, name: str) -> Findings | None:
        """None where nothing is kept, or what is kept cannot be used."""
        kept = self._state.read(f"{FOLDER}/{name}")
        if kept is None:
            return None
        try:
            return _from_plain(kept)
        except ValueError as error:
            log.warning("trial_kept_unusable", reason=str(error))
            return None

    def write(self, name: str, found: Findings) -> None:
        plain = {"schema": SCHEMA, "findings": findings.to_plain(found)}
        self._state.write(f"{FOLDER}/{name}", plain)
        with self._lock:
            self._uncounted -= 1
            if self._uncounted <= 0:
                self._uncounted = self._drop_oldest()

    def _drop_oldest(self) -> int:
        """How many more may be written before that is due again."""
        names = self._state.names(FOLDER)
        for old in names[:-MOST]:
            self._state.remove(f"{FOLDER}/{old}")
        return max(1, min(MOST - len(names), _COUNTED_EVERY))


def name_of(
    fingerprint: str, config: ModelConfig, settings: Settings, folder: Path, runtime: Sequence[str]
) -> str:
    """The document for a slot. ``fingerprint`` covers its files and configuration, ``runtime``
    names onnxruntime's version and its providers; ``folder`` is the model's own."""
    threads = settings.threads
    parts: list[Any] = [
        SCHEMA,
        fingerprint,
        list(runtime),
        settings.intra_op_threads,
        [threads.inter_op, threads.shared_pool],
        list(settings.providers.prefer),
        [settings.batching.enabled, settings.batching.max_rows, settings.batching.open],
        settings.batching.max_queue_rows,
        rules_digest(),
        [settings.loading.model_memory_bytes, settings.models_bytes],
        settings.loading.warmup_timeout_s,
        machine.usable_threads(),
        list(machine.processor()),
        _files(folder / "warmup") if config.warmup else [],
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:40]


@cache
def rules_digest() -> str:
    """Of the rules that prove batching: what others found out does not count."""
    folder = Path(batching.__file__).parent
    sources = sorted(folder.rglob("*.py"))
    texts = [path.read_bytes() for path in sources]  # file: of this package
    return hashlib.sha256(b"".join(texts)).hexdigest()[:16]


def _files(folder: Path) -> list[list[Any]]:
    """The user's sample files, which no fingerprint covers: names, sizes, times."""
    try:
        found = sorted(folder.iterdir())
        facts = [(path.name, path.stat()) for path in found]
    except OSError:
        return []
    return [[name, stat.st_size, stat.st_mtime_ns] for name, stat in facts]


def _from_plain(plain: Any) -> Findings:
    if not isinstance(plain, dict) or plain.get("schema") != SCHEMA:
        raise ValueError("not a document of this version")
    return findings.from_plain(plain.get("findings"))
