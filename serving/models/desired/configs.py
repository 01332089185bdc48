"""The models' configurations as last read, and what changed in them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

from serving.errors import ConfigError
from serving.events import log
from serving.model_config import (
    ModelConfig,
    RequestLogConfig,
    VersionPolicy,
    load_model_config,
)
from serving.registry.directory import FoundModel

# No file's.
_NO_STAMP = "-"


@dataclass(frozen=True, slots=True)
class KnownConfig:
    """``config`` is None where the files are wrong, and ``error`` says how.

    ``policy`` is then the last one that could be read.
    """

    stamp: str
    fingerprint: str
    policy: VersionPolicy
    config: ModelConfig | None
    error: str = ""


class Configs:
    """Reads a model's configuration again when the files beside its versions changed."""

    def __init__(self, read: Callable[[Path], ModelConfig] = load_model_config) -> None:
        self._read = read
        self._known: dict[str, KnownConfig] = {}

    def of(self, found: FoundModel) -> KnownConfig | None:
        """None while a first configuration is still settling."""
        known = self._known.get(found.name)
        stale = known is None or known.stamp != found.config_stamp
        if stale and found.config_settled:
            known = self._known[found.name] = self._parse(found, known)
        return known

    def known(self, model: str) -> KnownConfig | None:
        """As last read."""
        return self._known.get(model)

    def read_again(self) -> None:
        """Have the next ``of`` read each, also where its files look as before."""
        self._known = {name: replace(one, stamp=_NO_STAMP) for name, one in self._known.items()}

    def keep_only(self, models: Collection[str]) -> None:
        for name in self._known.keys() - set(models):
            del self._known[name]

    def _parse(self, found: FoundModel, before: KnownConfig | None) -> KnownConfig:
        stamp = found.config_stamp
        try:
            config = self._read(found.path)
        except ConfigError as error:
            return _wrong(stamp, before, f"its configuration is wrong: {error}")
        except Exception:  # noqa: BLE001 - a reader's bug is one model's trouble
            log.exception("model_config_unreadable", model=found.name)
            return _wrong(stamp, before, "its configuration could not be read")
        return KnownConfig(stamp, fingerprint(config), config.version_policy, config)


def _wrong(stamp: str, before: KnownConfig | None, words: str) -> KnownConfig:
    policy = before.policy if before else VersionPolicy()
    return KnownConfig(stamp, f"wrong-{stamp}", policy, None, words)


def is_same(one: KnownConfig | None, other: KnownConfig | None) -> bool:
    """Whether they say the same, however the files look."""
    if one is None or other is None:
        return one is other
    return one.config == other.config and one.error == other.error


def fingerprint(config: ModelConfig) -> str:
    """Of what a loaded version depends on: the version policy and what the request log keeps
    change in place, and the file's own form has no effect."""
    plain = replace(
        config,
        source="none",
        version_policy=VersionPolicy(),
        request_log=RequestLogConfig(),
        triton=b"",
        ignored=(),
    )
    text = repr([(f.name, getattr(plain, f.name)) for f in dataclasses.fields(plain)])
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
