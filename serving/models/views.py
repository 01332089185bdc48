"""Immutable views of models and versions: for observers, protocols, routes and the admin port."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from serving.gates.verdict import Verdict
from serving.loading.facts import NOTHING_KNOWN, VersionFacts
from serving.model_config.canary import NO_CANARY, CanaryConfig
from serving.models.reasons import Absence
from serving.models.state import State
from serving.registry.snapshot import Origin
from serving.rollout.route import NO_SPLIT, Split

if TYPE_CHECKING:
    from serving import _core


class Process(Protocol):
    """A version's child process. ``pid``: None while there is none; ``crashes``: how often one
    ended unasked; ``restarts``: how often one took the place of another."""

    @property
    def pid(self) -> int | None: ...
    @property
    def crashes(self) -> int: ...
    @property
    def restarts(self) -> int: ...


@dataclass(frozen=True, slots=True)
class VersionView:
    """One version as it stands.

    ``facts``: what its load found out. ``ready_since``: seconds since the epoch. ``process``: its
    own, where it runs in one. ``held_back``: it would answer unnamed requests, but for its
    signature; it is the default all the same where nothing else can be. ``gated``: it is loaded,
    and its gates keep it from traffic: it is WARMING until their verdict, and FAILED by one that
    does not bless it. ``verdict``: None without gates, and until it is there.
    """

    number: int
    state: State
    origin: Origin
    reason: str = ""
    facts: VersionFacts = NOTHING_KNOWN
    ready_since: float | None = None
    stats: _core.Stats | None = None
    queue: _core.Queue | None = None
    process: Process | None = None
    held_back: bool = False
    gated: bool = False
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class UnloadedVersion:
    """A version that is on disk and not loaded; ``reason``: what holds it back, ``absence``: the
    kind of it where that is meant so."""

    number: int
    reason: str
    absence: Absence | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """One model's place in the table of who answers whom.

    ``default``: answers requests that name no version. ``queues``: of the versions that answer.
    ``unavailable``: version -> why it is known but does not answer. ``reason``: why the model
    answers nothing, None where ``default`` is a version. ``unloaded``: versions on disk that are
    not loaded, by the reason. ``aliases``: other names for versions, which need not answer.
    ``weights``: (version, weight) of those that share the requests that name none; ``sticky``: what
    names the key by which a client keeps its version; ``shadows``: (version, share) of those that
    get copies; ``beside``: the queues of those among them that are loaded and answer nobody. See
    ``Split``.
    """

    default: int | None = None
    queues: Mapping[int, _core.Queue] = field(default_factory=dict)
    unavailable: Mapping[int, str] = field(default_factory=dict)
    reason: str | None = None
    unloaded: Sequence[tuple[str, Sequence[int]]] = ()
    aliases: Mapping[str, int] = field(default_factory=dict)
    weights: Sequence[tuple[int, int]] = ()
    sticky: str = ""
    shadows: Sequence[tuple[int, float]] = ()
    beside: Mapping[int, _core.Queue] = field(default_factory=dict)


NOWHERE = Route()


@dataclass(frozen=True, slots=True)
class ModelView:
    """A model and its versions, ascending; ``route``: which of them answers whom, as it was
    decided when the view was made.

    ``reason``: what is wrong with the model, or other than was asked for; ``own_reason``: what of
    that no version says of itself. ``pinned``: the version that is to answer by command;
    ``answered``: the last one that did, also where nothing does now or another stands in for it;
    ``previous``: the one before that, which a rollback goes to; ``held_out``: the model was
    unloaded by command. ``unloaded``: what else is on disk, ascending. ``absence``: why nothing is
    to answer, with which ``own_reason`` begins then. ``split``: how requests are to be divided,
    also while a pin keeps them from it. ``canary``: what its configuration says of rollouts.
    """

    name: str
    versions: tuple[VersionView, ...]
    route: Route = NOWHERE
    reason: str = ""
    pinned: int | None = None
    previous: int | None = None
    held_out: bool = False
    unloaded: tuple[UnloadedVersion, ...] = ()
    own_reason: str = ""
    answered: int | None = None
    absence: Absence | None = None
    split: Split = NO_SPLIT
    canary: CanaryConfig = NO_CANARY

    @property
    def default(self) -> int | None:
        """The version that answers requests that name none."""
        return self.route.default

    @property
    def aliases(self) -> Mapping[str, int]:
        """Alias -> the version that answers to it, where that is ready."""
        return self.route.aliases


# The views that are other than before, by their models' names; None: there is nothing of it any
# more.
Changes = Mapping[str, ModelView | None]


def ready_origins(changes: Changes) -> Mapping[str, Sequence[Origin]]:
    """Of models that changed the versions that may answer by themselves."""
    return {
        model: [
            one.origin
            for one in (view.versions if view is not None else ())
            if one.state is State.READY and not one.held_back
        ]
        for model, view in changes.items()
    }
