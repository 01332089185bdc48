"""One look at everything below a store's URL."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from serving.backoff import wait_s
from serving.errors import LoadError
from serving.registry.names import is_digits
from serving.registry.object_store.address import name_of, shown
from serving.registry.object_store.kept import KeptStore
from serving.registry.object_store.layout import is_model, models_in
from serving.registry.object_store.model import ModelLook, SeenModel, SeenVersion
from serving.registry.object_store.remote import GoneRemote, StoreRemote
from serving.registry.object_store.store import (
    DeniedError,
    Level,
    OddNameError,
    Store,
    StoreError,
)
from serving.registry.remote.cache import Cache
from serving.registry.remote.config import DEFAULT
from serving.registry.remote.origin import RemoteOrigin
from serving.registry.remote.polled import Looked
from serving.registry.settling import Clocks
from serving.registry.snapshot import FoundModel, FoundVersion, Ignored, Snapshot, SourceError

LAYOUT = "an object store"
# Versions that were whole are looked at again.
_ALL_AGAIN_S = 600.0
_LONGEST_WAIT_S = 60.0
_MOST_MODELS = 10_000


@dataclass(frozen=True, slots=True)
class Terms:
    """``poll_s`` between two looks; clocks in seconds, monotonic and epoch."""

    poll_s: float
    settle_s: float
    mono: Callable[[], float]
    wall: Callable[[], float]


class StoreLook:
    """Used by one thread."""

    def __init__(self, url: str, store: Store, cache: Cache, kept: KeptStore, terms: Terms) -> None:
        self.place = Path(shown(url))
        self._url, self._store, self._cache, self._kept = url, store, cache, kept
        self._terms = terms
        self._models: dict[str, SeenModel] = {}
        self._found: dict[str, FoundModel] = {}
        self._ignored: tuple[Ignored, ...] = ()
        # What was told of a model, and by what: most looks find nothing new.
        self._told: dict[str, tuple[object, FoundModel]] = {}
        # A model's configuration as it was last brought here: its key, and the folder.
        self._configs: dict[str, tuple[str, Path]] = {}
        self._heard = False
        self._looked = self._everything = float("-inf")
        self._failures = 0
        self._down_since = 0.0
        self.error = ""
        self.arrived: Callable[[], object] = _nothing

    @property
    def names(self) -> list[str]:
        return sorted(self._found)

    def __call__(self, at_once: Collection[str]) -> Looked:
        """See ``PolledSource``."""
        try:
            settles_in = self._look(at_once)
        except StoreError as error:
            return self._fail(str(error))
        self._failures, self.error, self._heard = 0, "", True
        next_s = self._terms.poll_s
        if settles_in is not None:
            next_s = min(next_s, max(settles_in, 0.2))
        return Looked(self._snapshot(), next_s)

    def _fail(self, why: str) -> Looked:
        """What was found goes on; before anything was, what was kept of an earlier start does."""
        if not self._failures:
            self._down_since = self._terms.wall()
        self._failures += 1
        since = dt.datetime.fromtimestamp(self._down_since, dt.UTC)
        self.error = (
            f"can't be asked since {since:%Y-%m-%dT%H:%M:%SZ} ({why}); what is known of it goes on"
        )
        if not self._heard:
            self._found = {one.name: one for one in self.kept().models}
        poll_s = self._terms.poll_s
        return Looked(
            self._snapshot(), wait_s(self._failures, poll_s, max(poll_s, _LONGEST_WAIT_S))
        )

    def kept(self) -> Snapshot:
        """What an earlier process found there, as far as it is here. From any thread."""
        found = (self._of_kept(one) for one in self._kept.read())
        return Snapshot(tuple(sorted(found, key=lambda one: one.name)))

    def _kept_of(self, names: Collection[str]) -> dict[str, FoundModel]:
        """Of models that could not be seen since the start."""
        if not names:
            return {}
        return {one[0]: self._of_kept(one) for one in self._kept.read() if one[0] in names}

    def _snapshot(self) -> Snapshot:
        models = tuple(self._found[name] for name in sorted(self._found))
        errors = (SourceError(self.place, self.error),) if self.error else ()
        return Snapshot(models, self._ignored, errors)

    # Looking.

    def _look(self, at_once: Collection[str]) -> float | None:
        terms = self._terms
        now = terms.mono()
        clocks = Clocks(now, terms.wall(), terms.settle_s, now - self._looked)
        deep = now >= self._everything + _ALL_AGAIN_S
        top = self._store.level("")
        ignored: list[Ignored] = []
        seen: dict[str, SeenModel] = {}
        hidden: set[str] = set()
        settles: list[float] = []
        for name, prefix, level in self._places(top, ignored):
            look = ModelLook(
                self._store, self._url, clocks, not prefix, deep or name in at_once, name in at_once
            )
            before = self._models.get(name)
            try:
                below = self._store.level(prefix) if level is None else level
                one: SeenModel | None = look.look(name, prefix, below, before)
            except (DeniedError, OddNameError) as error:
                # Of the others it says nothing.
                ignored.append(Ignored(self.place / prefix, f"it can't be seen: {error}"))
                one = before
                hidden.add(name)
            if one is None or not one.is_model:
                continue
            seen[name] = one
            ignored += [Ignored(self.place / prefix / key, why) for key, why in one.ignored.items()]
            if (rest := look.settles_in(one)) is not None:
                settles.append(rest)
        self._models, self._looked = seen, now
        self._told = {name: told for name, told in self._told.items() if name in seen}
        self._everything = now if deep else self._everything
        self._found = {name: self._as_found(one) for name, one in seen.items()}
        self._found |= self._kept_of(hidden - seen.keys())
        self._ignored = tuple(ignored)
        self._kept.write(list(self._found.values()))
        return min(settles, default=None)

    def _places(self, top: Level, ignored: list[Ignored]) -> list[tuple[str, str, Level | None]]:
        """The models: name, prefix, and what lies directly below that, where it is known."""
        numbered = sorted(filter(is_digits, top.folders))
        first = self._store.level(f"{numbered[0]}/") if numbered else None
        if is_model(top, first):
            return [(name_of(self._url), "", top)]
        names, others = models_in(top)
        ignored += [Ignored(self.place / name, why) for name, why in others.items()]
        if len(names) > _MOST_MODELS:
            raise StoreError(f"it has more than {_MOST_MODELS} folders")
        return [(name, f"{name}/", None) for name in names]

    # Telling.

    def _as_found(self, one: SeenModel) -> FoundModel:
        folder, key, error = self._config_of(one)
        told = (folder, key, error, one.config_settled, one.versions)
        before = self._told.get(one.name)
        if before is not None and before[0] == told:
            return before[1]
        found = FoundModel(
            one.name,
            folder,
            tuple(self._version(one, n, v, folder, key) for n, v in one.versions.items()),
            config_stamp=key,
            config_settled=one.config_settled,
            error=error,
            layout=LAYOUT,
            config=None if one.config else DEFAULT,
        )
        self._told[one.name] = (told, found)
        return found

    def _config_of(self, one: SeenModel) -> tuple[Path, str, str]:
        """The folder with the model's configuration, what it is told by, and an error. A new one
        is brought here once it has settled."""
        nowhere = self._cache.root / "nowhere"
        if not one.config:
            return nowhere, "", ""
        known = self._configs.get(one.name)
        stands = known is not None and (known[0] == one.config_key or not one.config_settled)
        if known is not None and stands and self._cache.has(known[0]):
            return known[1], known[0], ""
        if not one.config_settled:
            return nowhere, "", ""
        remote = partial(StoreRemote, self._store, one.config)
        try:
            folder = self._cache.fetch(one.config_key, remote, _nothing)
        except LoadError as error:
            return nowhere, "", f"its configuration could not be had: {error.reason}"
        self._configs[one.name] = (one.config_key, folder)
        return folder, one.config_key, ""

    def _version(
        self, one: SeenModel, number: int, version: SeenVersion, folder: Path, config: str
    ) -> FoundVersion:
        remote = partial(StoreRemote, self._store, version.files, version.manifest)
        origin = self._origin(version.key, folder, config)
        origin = replace(origin, manifest=version.manifest, remote=remote)
        size = sum(file.size for file in version.files.values())
        return FoundVersion(
            number,
            origin,
            version.key,
            version.whole,
            version.why,
            version.settling,
            version.brings_manifest,
            size,
        )

    def _origin(self, key: str, folder: Path, config: str) -> RemoteOrigin:
        return RemoteOrigin(key, folder, None, self._cache, GoneRemote, self._arrive, config)

    def _arrive(self) -> None:
        self.arrived()

    def _of_kept(self, kept: tuple[str, str, dict[int, str]]) -> FoundModel:
        name, config, versions = kept
        folder = self._cache.folder(config) if config else None
        here = {number: key for number, key in versions.items() if self._cache.has(key)}
        nowhere = self._cache.root / "nowhere"
        if not here or (config and folder is None):
            words = "its store does not answer, and no copy of it was kept"
            return FoundModel(name, nowhere, error=words, layout=LAYOUT)
        place = folder or nowhere
        return FoundModel(
            name,
            place,
            tuple(
                FoundVersion(number, self._origin(key, place, config), key, True, manifest=True)
                for number, key in sorted(here.items())
            ),
            config_stamp=config,
            layout=LAYOUT,
            config=None if config else DEFAULT,
        )


def _nothing() -> None:
    pass
