"""The sources beyond this machine that the settings name, and the cache that they share."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from pydantic import Field

from serving.operations import Form, Operation, telling
from serving.registry.mlflow.opening import FollowedRegistry, open_registry
from serving.registry.object_store.opening import FollowedStore, open_stores
from serving.registry.remote.cache import Cache, cache_in
from serving.registry.remote.origin import RemoteOrigin
from serving.registry.remote.polled import PolledSource
from serving.registry.snapshot import Origin
from serving.settings import Settings
from serving.state_opening import OpenedState


class SourceInfo(Form):
    """One place that versions come from, beyond this machine."""

    name: str
    target: str = Field(description="Its address, without secrets.")
    models: list[str]
    error: str = Field(description='Why it can\'t be asked now, and since when; "": it answers.')


class CacheInfo(Form):
    """Files of versions that came from elsewhere."""

    bytes: int
    most_bytes: int


class SourceList(Form):
    sources: list[SourceInfo]
    cache: CacheInfo | None = Field(description="None where no version comes from elsewhere.")


class RemoteSources:
    """Their life, and what operators may ask of them. Raises ConfigError for settings that can't
    be followed; nothing is asked before ``start``."""

    def __init__(self, settings: Settings, state: OpenedState) -> None:
        self._most_bytes = settings.registry.cache_bytes
        self._cache: Cache | None = None
        self._mlflow: FollowedRegistry | None = None
        self._stores: Sequence[FollowedStore] = ()
        if settings.registry.mlflow.models or settings.registry.stores:
            cache = self._cache = cache_in(state.shared, self._most_bytes)
            clocks = (time.monotonic, time.time)
            self._mlflow = open_registry(settings, state.own, cache, *clocks)
            self._stores = open_stores(settings, state.own, cache, *clocks)
        self._asked = settings.registry.mlflow.models
        # Of each model the keys of its versions that are ready.
        self._ready: Mapping[str, frozenset[str]] = {}

    @property
    def sources(self) -> Sequence[PolledSource]:
        registry = [self._mlflow.source] if self._mlflow is not None else []
        return [*registry, *(one.source for one in self._stores)]

    @property
    def mlflow(self) -> FollowedRegistry | None:
        """None where no model of MLflow's registry is followed."""
        return self._mlflow

    def attach(self, news: Callable[[], None], origins: Callable[[], Iterable[Origin]]) -> None:
        """``news`` is called where something changed; ``origins`` are those of all versions that
        are loaded, or about to be."""

        def in_use() -> Collection[str]:
            mine = [one for one in origins() if isinstance(one, RemoteOrigin)]
            return {key for one in mine for key in (one.key, one.config) if key}

        for source in self.sources:
            source.on_news = news
        if self._cache is not None:
            self._cache.in_use = in_use
        if self._mlflow is not None:
            self._mlflow.look.ready = self._are_ready

    def note(self, ready: Mapping[str, Iterable[Origin]]) -> None:
        """Of models that changed the versions that may answer by themselves: an alias of the
        registry may name what is ready only now. For one thread."""
        if self._mlflow is None:
            return
        found = {name: _keys_of(origins) for name, origins in ready.items()}
        news = any(found[name] - self._ready.get(name, frozenset()) for name in found)
        kept = {**self._ready, **found}
        self._ready = {name: keys for name, keys in kept.items() if keys}
        if news:
            self._mlflow.source.hint()

    def _are_ready(self) -> Collection[str]:
        return frozenset().union(*self._ready.values())

    def start(self) -> None:
        for source in self.sources:
            source.start()

    def stop(self) -> None:
        """Waits for no look that is under way."""
        for source in self.sources:
            source.stop()
        if self._cache is not None:
            self._cache.close()

    def operations(self) -> tuple[Operation, ...]:
        return (
            *([self._mlflow.webhook] if self._mlflow is not None else []),
            telling(
                *("/api/v1/sources", "listSources"),
                "Where versions come from beyond this machine, and whether that answers",
                SourceList,
                self._told,
            ),
        )

    def _told(self) -> dict[str, Any]:
        sources = []
        if (followed := self._mlflow) is not None:
            sources.append(
                {
                    "name": "mlflow",
                    "target": followed.uri,
                    "models": list(self._asked),
                    "error": followed.look.error,
                }
            )
        for store in self._stores:
            scheme = store.url.partition(":")[0]
            said = {"name": scheme, "target": store.url, "models": store.look.names}
            sources.append({**said, "error": store.look.error})
        cache = self._cache
        held = None
        if cache is not None:
            held = {"bytes": cache.held_bytes, "most_bytes": self._most_bytes}
        return {"sources": sources, "cache": held}


def _keys_of(origins: Iterable[Origin]) -> frozenset[str]:
    return frozenset(one.key for one in origins if isinstance(one, RemoteOrigin))
