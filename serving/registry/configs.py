"""The models' configurations as a source's thread last read them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import MappingProxyType

from serving.errors import ConfigError
from serving.events import log
from serving.model_config import ModelConfig, RequestLogConfig, VersionPolicy
from serving.model_config.route import NO_ROUTE
from serving.model_config.schema import IN_PLACE
from serving.registry.snapshot import FoundModel, KnownConfig, Listed, Snapshot


class Configs:
    """Reads a model's configuration again when the files beside its versions changed. Used by
    one thread."""

    def __init__(self, read: Callable[[Path], ModelConfig]) -> None:
        self._read = read
        # By name: as the source said it, and with its configuration; and that as it was read.
        self._known: dict[str, tuple[FoundModel, FoundModel, KnownConfig | None]] = {}

    def read_into(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot, with the configuration of each model as last read, where the source has
        not brought one itself: None while a first one is still settling. Those of all other
        models are forgotten. A model of which the source says the same is the same object as
        before."""
        known = self._known
        self._known = {
            found.name: before
            if (before := known.get(found.name)) is not None and before[0] is found
            else (found, *self._with_config(found, before[2] if before is not None else None))
            for found in snapshot.models
        }
        return replace(snapshot, models=tuple(after for _, after, _ in self._known.values()))

    def forget(self) -> None:
        """Read each anew the next time, also where its files look as before."""
        self._known = {}

    def _with_config(
        self, found: FoundModel, known: KnownConfig | None
    ) -> tuple[FoundModel, KnownConfig | None]:
        read = found.config or self._of(found, known)
        config = _amended(read, found.listed)
        if config is not None:
            config = replace(config, folder=found.path)
        return replace(found, config=config), read

    def _of(self, found: FoundModel, known: KnownConfig | None) -> KnownConfig | None:
        stale = known is None or known.stamp != found.config_stamp
        may_read = found.config_settled and not found.error
        return self._parse(found) if stale and may_read else known

    def _parse(self, found: FoundModel) -> KnownConfig:
        stamp = found.config_stamp
        try:
            config = self._read(found.path)
        except ConfigError as error:
            return _wrong(stamp, f"its configuration is wrong: {error}")
        except Exception:  # noqa: BLE001 - a reader's bug is one model's trouble
            log.exception("model_config_unreadable", model=found.name)
            return _wrong(stamp, "its configuration could not be read")
        read = KnownConfig(stamp, fingerprint(config), config.version_policy, config)
        return replace(read, route=config.route, canary=config.canary)


def _amended(read: KnownConfig | None, listed: Listed | None) -> KnownConfig | None:
    """With what a model config list says of the model."""
    if read is None or listed is None:
        return read
    policy = listed.policy or read.policy
    config = read.config
    if config is not None:
        sampled = config.request_log
        if listed.rate is not None:
            sampled = replace(sampled, rate=listed.rate)
        config = replace(config, version_policy=policy, request_log=sampled)
    return replace(read, policy=policy, config=config)


def _wrong(stamp: str, words: str) -> KnownConfig:
    return KnownConfig(stamp, f"wrong-{stamp}", VersionPolicy(), None, words)


def is_same(one: KnownConfig | None, other: KnownConfig | None) -> bool:
    """Whether they say the same, however the files look."""
    if one is None or other is None:
        return one is other
    return one.config == other.config and one.error == other.error


def fingerprint(config: ModelConfig) -> str:
    """Of what a loaded version depends on: the version policy, the route, its gates, its rollouts
    and what the request log keeps change in place, and the file's own form has no effect."""
    return _of_default() if config == _DEFAULT else _digest(config)


# What a model without a file has, as most do where there are thousands.
_DEFAULT = ModelConfig()


@cache
def _of_default() -> str:
    return _digest(_DEFAULT)


def _digest(config: ModelConfig) -> str:
    plain = replace(
        config,
        source="none",
        version_policy=VersionPolicy(),
        request_log=RequestLogConfig(),
        route=NO_ROUTE,
        triton=b"",
        ignored=(),
        parameters=MappingProxyType(
            {key: text for key, text in config.parameters.items() if key not in IN_PLACE}
        ),
    )
    named = (f.name for f in dataclasses.fields(plain) if f.name not in ("gates", "canary"))
    text = repr([(name, getattr(plain, name)) for name in named])
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
