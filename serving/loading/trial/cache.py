"""What trials found out, kept for the next start.

A finding's name covers all that it hangs on: files and configuration, onnxruntime and
its providers, the CPU, threads, budgets. Anything else there makes another name, so nothing
here goes stale; the oldest go. Failures are not kept: what a version failed for, a locale or
a library that is not installed, no name covers, and a start tries it again.

A document holds what loads that went on together found out: to make a file and to have it on the
disk costs as much CPU as half a trial of a small model.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
# Findings that are kept, and documents.
MOST = 4096
# Findings that wait for others to be written with, the characters that they have as JSON, and for
# how long the first of them waits: a load may take minutes, and a process end in that time.
TOGETHER, _MOST_CHARACTERS, WITHIN_S = 64, 1_000_000, 1.0
# Documents written until those in the folder are counted again: others may write there, too.
_COUNTED_EVERY = 64
# Documents that are kept parsed, those used last: versions are loaded in about the order they were
# tried in.
_PARSED = 16
# To be raised with every change of what is written, or of how it is found out.
SCHEMA = 7

_Plain = Mapping[str, Any]


class TrialCache:
    """Findings by name, in the state directory. Safe from any thread.

    ``within_s``: for how long at most a finding waits for others to be written with.
    """

    def __init__(self, state: StateDir, within_s: float = WITHIN_S) -> None:
        self._state, self._within_s = state, within_s
        # Held by who writes a document, and taken before the other, which nobody holds while the
        # disk works: readers do not wait for it.
        self._disk = threading.Lock()
        self._lock = threading.Lock()
        self._uncounted = 1
        # The names of the findings in each document that is known, the oldest first; for each name
        # the newest document that has it.
        self._documents: dict[str, tuple[str, ...]] = {}
        self._places: dict[str, str] = {}
        self._parsed: dict[str, _Plain] = {}
        # The folder's mark when it was looked at last.
        self._mark: int | None = None
        # Not written yet, while loads go on; who will write them; what is being written.
        self._waiting: dict[str, Any] = {}
        self._characters = self._going = 0
        self._timer: threading.Timer | None = None
        self._writing: _Plain = {}

    @property
    def any(self) -> bool:
        return bool(self._state.names(FOLDER))

    def read(self, name: str) -> Findings | None:
        """None where nothing is kept, or what is kept cannot be used."""
        with self._lock:
            kept = self._find(name)
        if kept is None:
            return None
        try:
            return findings.from_plain(kept)
        except ValueError as error:
            log.warning("trial_kept_unusable", reason=str(error))
            return None

    def write(self, name: str, found: Findings) -> None:
        """Keep it: from now on for who reads, on the disk as soon as no load goes on, there are
        enough for a document, or the first of them has waited for ``within_s``."""
        plain = findings.to_plain(found)
        with self._lock:
            self._waiting[name] = plain
            self._characters += len(json.dumps(plain))
            many = len(self._waiting) >= TOGETHER or self._characters >= _MOST_CHARACTERS
            due = many or not self._going
            if not due:
                self._flush_soon()
        if due:
            self._flush()

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """While a load goes on what is found out may wait for others to be written with, for
        ``within_s``. What waits is lost with the process, and tried again."""
        with self._lock:
            self._going += 1
        try:
            yield
        finally:
            with self._lock:
                self._going -= 1
                due = not self._going
            if due:
                self._flush()

    def _flush(self) -> None:
        """Write what waits; what another thread is writing is on the disk at the end, too."""
        with self._disk:
            with self._lock:
                found, seen = self._take_waiting(), self._mark
            if not found:
                return
            is_current = self._state.mark(FOLDER) == seen
            document = _document_of(tuple(found))
            self._state.write(f"{FOLDER}/{document}", {"schema": SCHEMA, "findings": found})
            with self._lock:
                self._written(document, found)
                if is_current:  # the change was ours, and needs no look
                    self._mark = self._state.mark(FOLDER)

    def _flush_late(self) -> None:
        with self._lock:
            self._timer = None
        self._flush()

    # Under the lock.

    def _flush_soon(self) -> None:
        """By a timer: nothing else may happen until the load ends that goes on. It is a thread; one
        that is there already does, and may write sooner than it must."""
        if self._timer is None:
            timer = threading.Timer(self._within_s, self._flush_late)
            timer.daemon = True
            timer.start()
            self._timer = timer

    def _take_waiting(self) -> _Plain:
        self._writing, self._waiting, self._characters = self._waiting, {}, 0
        return self._writing

    def _written(self, document: str, found: _Plain) -> None:
        self._writing = {}
        self._parsed.pop(document, None)
        self._take_up(document, found)
        self._uncounted -= 1
        if self._uncounted <= 0 or len(self._places) > MOST:
            self._uncounted = self._drop_oldest()

    def _find(self, name: str) -> Any:
        for unwritten in (self._waiting, self._writing):
            if name in unwritten:
                return unwritten[name]
        if name not in self._places:
            self._look()
        document = self._places.get(name)
        return None if document is None else self._read(document).get(name)

    def _look(self) -> None:
        """Take up documents that came since."""
        mark = self._state.mark(FOLDER)
        if mark is not None and mark == self._mark:
            return
        self._mark = mark
        for document in self._state.names(FOLDER):
            if document not in self._documents:
                self._take_up(document, self._read(document))

    def _take_up(self, document: str, found: _Plain) -> None:
        self._documents.pop(document, None)  # it is the newest now
        self._documents[document] = tuple(found)
        self._places.update(dict.fromkeys(found, document))

    def _read(self, document: str) -> _Plain:
        """The findings in it; none in one of another release, or that is none of ours."""
        if document in self._parsed:
            self._parsed[document] = self._parsed.pop(document)  # the one used last
        else:
            kept = self._state.read(f"{FOLDER}/{document}")
            schema = kept.get("schema") if isinstance(kept, dict) else None
            if isinstance(schema, int) and schema < SCHEMA:
                self._state.remove(f"{FOLDER}/{document}")  # nobody reads it any more
            found = kept.get("findings") if schema == SCHEMA else None
            self._keep_parsed(document, found if isinstance(found, dict) else {})
        return self._parsed[document]

    def _keep_parsed(self, document: str, found: _Plain) -> None:
        self._parsed[document] = found
        while len(self._parsed) > _PARSED:
            del self._parsed[next(iter(self._parsed))]

    def _drop_oldest(self) -> int:
        """How many more documents may be written before that is due again."""
        documents = self._state.names(FOLDER)
        left = MOST
        for place, document in enumerate(reversed(documents)):
            left -= len(self._documents.get(document, ()))
            if left < 0 or place >= MOST:
                self._forget(document)
        return max(1, min(MOST - len(documents), _COUNTED_EVERY))

    def _forget(self, document: str) -> None:
        self._state.remove(f"{FOLDER}/{document}")
        self._parsed.pop(document, None)
        for name in self._documents.pop(document, ()):
            if self._places.get(name) == document:
                del self._places[name]


def _document_of(names: Sequence[str]) -> str:
    """One that is alone gives its own name: what is found out anew takes its place."""
    if len(names) == 1:
        return names[0]
    return hashlib.sha256(" ".join(names).encode()).hexdigest()[:40]


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
