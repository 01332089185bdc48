"""One look at MLflow's registry: every model that is followed, as it stands there or was last
known."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from serving.backoff import wait_s
from serving.mlflow_rest import MlflowError, OneError, RefusedError
from serving.model_config.schema import VersionPolicy
from serving.registry.mlflow.answers import RegisteredModel, RegisteredVersion
from serving.registry.mlflow.api import MlflowRegistry
from serving.registry.mlflow.artifacts import remote_of
from serving.registry.mlflow.asked import AskedModel, TagRule
from serving.registry.mlflow.facts import manifest_of
from serving.registry.mlflow.following import Followed, Known, follow, offline
from serving.registry.mlflow.kept import KeptModels
from serving.registry.remote.cache import Cache
from serving.registry.remote.config import folder_of
from serving.registry.remote.origin import RemoteOrigin
from serving.registry.remote.polled import Looked
from serving.registry.snapshot import (
    FoundModel,
    FoundVersion,
    Ignored,
    Listed,
    Origin,
    Snapshot,
    SourceError,
)

LAYOUT = BY = "MLflow's registry"
# Between two times that all versions are asked for though nothing seems to have changed: tags and
# states of older versions don't show in what is asked for each time.
_ALL_AGAIN_S = 30.0
_LONGEST_WAIT_S = 30.0


@dataclass(frozen=True, slots=True)
class Following:
    """What is followed, and how. ``registry``: its address, without secrets; ``place``: what it is
    called; ``configs``: where configurations of models lie; clocks are in seconds."""

    registry: str
    place: Path
    asked: Sequence[AskedModel]
    rules: Sequence[TagRule]
    poll_s: float
    configs: Path | None
    mono: Callable[[], float]
    wall: Callable[[], float]


@dataclass(slots=True)
class _Model:
    """As it was last seen. ``heard``: whether the registry said anything since the start."""

    asked: AskedModel
    known: Known
    heard: bool = False
    last: RegisteredModel | None = None
    versions: tuple[RegisteredVersion, ...] = ()
    searched: float = float("-inf")
    followed: Followed = field(default_factory=lambda: Followed(Known()))
    # What was told of it, and by what: most looks find nothing new.
    told: tuple[object, FoundModel] | None = None


class MlflowLook:
    """Used by one thread. ``why_no_alias``: why a name can be none here, "" where it can."""

    def __init__(
        self,
        following: Following,
        connect: Callable[[], MlflowRegistry],
        cache: Cache,
        kept: KeptModels,
        why_no_alias: Callable[[str], str],
    ) -> None:
        self._following, self._connect = following, connect
        self._cache, self._kept, self._why_no_alias = cache, kept, why_no_alias
        self._registry = connect()
        # The keys of versions that are ready; set by who knows.
        self.ready: Callable[[], Collection[str]] = _none_ready
        self._models = [_Model(one, kept.read(one.name) or Known()) for one in following.asked]
        self._by_name = {one.asked.name: one for one in self._models}
        # The model that is asked for first: after the one that had no answer, which may be what is
        # wrong with it.
        self._first = 0
        self._failures = 0
        self._down_since = 0.0
        self._error = ""

    @property
    def error(self) -> str:
        """Why the registry can't be asked now, and since when; "": it answers."""
        return self._error

    # From any thread: as it was last seen.

    def registered(self, model: str, number: int, origin: Origin) -> RegisteredVersion | None:
        """The version that an origin is of; None where it is none of the registry's."""
        one = self._by_name.get(model)
        if one is None or not isinstance(origin, RemoteOrigin):
            return None
        known = (*one.versions, *_seen(one))
        mine = (version for version in known if version.number == number)
        return next((v for v in mine if self._key(one, v) == origin.key), None)

    def named(self, model: str, alias: str) -> int | None:
        """The version that an alias names there; None: none."""
        one = self._by_name.get(model)
        if one is None:
            return None
        last = one.last
        return (one.known.aliases if last is None else last.aliases).get(alias)

    def __call__(self, at_once: Collection[str] = ()) -> Looked:
        """See ``PolledSource``. All models are asked for each time."""
        following = self._following
        why = self._ask_all()
        self._note(why)
        found = [self._found(one) for one in self._models]
        notes = [
            Ignored(following.place / one.asked.name, note)
            for one in self._models
            for note in one.followed.notes
        ]
        errors = (SourceError(following.place, self._error, hides=False),) if self._error else ()
        found.sort(key=lambda one: one.name)
        wait = wait_s(self._failures, following.poll_s, max(following.poll_s, _LONGEST_WAIT_S))
        next_s = wait if self._failures else following.poll_s
        return Looked(Snapshot(tuple(found), tuple(notes), errors), next_s)

    def _note(self, why: str) -> None:
        if not why:
            self._failures, self._error = 0, ""
            return
        if not self._failures:
            self._down_since = self._following.wall()
        self._failures += 1
        since = dt.datetime.fromtimestamp(self._down_since, dt.UTC)
        self._error = (
            f"can't be asked since {since:%Y-%m-%dT%H:%M:%SZ} ({why}); what is known of it goes on"
        )

    # Asking.

    def _ask_all(self) -> str:
        """Why the registry as a whole could not be asked; "" where it could."""
        count = len(self._models)
        why, heard = "", False
        for at in [(self._first + n) % count for n in range(count)]:
            one = self._models[at]
            try:
                self._ask(one)
                heard = True
            except OneError as refused:
                if not isinstance(refused, RefusedError):
                    why = why or str(refused)
                self._stay(one, f"MLflow's registry {_said(refused)}")
            except MlflowError as error:
                # Nobody waits for the time limit once more for each of the others.
                self._first = at + 1
                for left in self._models:
                    if left.last is not None:
                        self._follow(left, left.last)
                    elif not left.heard:
                        left.followed = self._offline(left, "MLflow's registry does not answer")
                return str(error)
        # Where nothing is answered as it should be, it is the registry that is wrong.
        return "" if heard else why

    def _ask(self, one: _Model) -> None:
        model, now = self._registry.model(one.asked.name), self._following.mono()
        if (
            one.last is None
            or model.raw != one.last.raw
            or now >= one.searched + _ALL_AGAIN_S
            # What an alias names may become fit any moment.
            or not one.followed.known.numbers.issuperset(model.aliases.values())
        ):
            one.versions, one.searched = self._registry.versions(one.asked.name), now
        one.last, one.heard = model, True
        self._follow(one, model)

    def _follow(self, one: _Model, model: RegisteredModel) -> None:
        """By what the registry last said, and what is ready by now."""
        odd = {alias: why for alias in model.aliases if (why := self._why_no_alias(alias))}
        usable = {a: n for a, n in model.aliases.items() if a not in odd}
        rules, before = self._following.rules, one.known
        seen = replace(model, aliases=usable)
        ready = self.ready()
        one.followed = follow(
            one.asked, seen, one.versions, rules, before, lambda v: self._key(one, v) in ready
        )
        notes = [f"alias '{alias}' can be none here: {why}" for alias, why in odd.items()]
        one.followed = replace(one.followed, notes=(*one.followed.notes, *notes))
        if one.versions:
            one.known = one.followed.known
            self._kept.write(one.asked.name, one.known)

    def _stay(self, one: _Model, why: str) -> None:
        """What served goes on; a start has what was kept."""
        one.last = None
        if one.heard and one.followed.known.versions:
            one.followed = replace(one.followed, notes=(why,))
        else:
            one.followed = self._offline(one, why)

    def _offline(self, one: _Model, why: str) -> Followed:
        found = offline(one.asked, one.known, partial(self._is_here, one))
        if not found.known.versions:
            return replace(found, error=f"{why}, and no copy of a version was kept")
        return replace(found, notes=(f"{why}; the copies that were kept serve",))

    def _is_here(self, one: _Model, version: RegisteredVersion) -> bool:
        return self._cache.has(self._key(one, version))

    def _key(self, one: _Model, version: RegisteredVersion) -> str:
        return version.fingerprint(self._following.registry, one.asked.name)

    # Telling.

    def _found(self, one: _Model) -> FoundModel:
        name, followed = one.asked.name, replace(one.followed, notes=())
        folder, stamp, config = folder_of(self._following.configs, name, self._cache.root)
        told = (followed, folder, stamp)
        if one.told is not None and one.told[0] == told:
            return one.told[1]
        policy = None
        if followed.answering is not None:
            policy = VersionPolicy("specific", specific=tuple(sorted(followed.answering)))
        found = FoundModel(
            name,
            folder,
            () if followed.error else tuple(self._version(one, v, folder) for v in _seen(one)),
            config_stamp=stamp,
            error=followed.error,
            layout=LAYOUT,
            config=config,
            listed=Listed("onnx", policy, dict(followed.aliases), by=BY),
        )
        one.told = (told, found)
        return found

    def _version(self, one: _Model, version: RegisteredVersion, folder: Path) -> FoundVersion:
        name = one.asked.name
        key = self._key(one, version)
        remote = partial(remote_of, self._connect, name, version)
        manifest = manifest_of(name, version)
        origin = RemoteOrigin(key, folder, manifest, self._cache, remote, _nothing)
        return FoundVersion(version.number, origin, key, True, manifest=True)


def _said(error: OneError) -> str:
    words = str(error)
    return words if words.startswith(("refused", "answered")) else f"can't be followed: {words}"


def _nothing() -> None:
    pass


def _none_ready() -> Collection[str]:
    return ()


def _seen(one: _Model) -> Sequence[RegisteredVersion]:
    return one.followed.known.versions
