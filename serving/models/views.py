"""Immutable views of models and versions: for observers, protocols, routes and the admin port."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from serving.loading.batching.cost import CostCurve
from serving.model_config.schema import ModelConfig
from serving.models.state import State
from serving.registry.snapshot import Origin
from serving.signature import Signature

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
    """One version as it stands: ``max_rows`` 0 means each request runs alone.

    ``ready_since`` is seconds since the epoch, ``load_seconds`` a duration;
    ``provider_nodes`` counts the graph's nodes by execution provider. ``notes``: what is
    other than asked for or expected, in words. ``memory_bytes``: an estimate, 0 where there
    is none; ``cost``: of a run, by its rows; ``isolated``: why it runs in a process of its
    own, "" where it does not; ``process``: that process, now; ``checked``: its own sample or
    generated input ran; ``held_back``: it would answer unnamed requests, but for its signature; it
    is the default all the same where nothing else can be.
    """

    number: int
    state: State
    reason: str
    signature: Signature | None
    config: ModelConfig | None
    max_rows: int
    batching_words: str
    provider: str
    provider_nodes: Mapping[str, int]
    threads: int
    instances: int
    ready_since: float | None
    stats: _core.Stats | None
    queue: _core.Queue | None
    origin: Origin
    left_out: tuple[str, ...]
    load_seconds: float | None
    notes: tuple[str, ...] = ()
    memory_bytes: int = 0
    cost: CostCurve | None = None
    isolated: str = ""
    checked: bool = False
    process: Process | None = None
    held_back: bool = False


@dataclass(frozen=True, slots=True)
class UnloadedVersion:
    """A version that is on disk and not loaded; ``reason``: what holds it back."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class ModelView:
    """A model and its versions, ascending; ``default`` answers unnamed requests.

    ``reason``: what is wrong with the model, or other than was asked for; ``own_reason``: what of
    that no version says of itself. ``pinned``: the version that is to answer by command;
    ``answered``: the last one that did, also where nothing does now or another stands in for it;
    ``previous``: the one before that, which a rollback goes to; ``held_out``: the model was
    unloaded by command. ``unloaded``: what else is on disk, ascending.
    """

    name: str
    versions: tuple[VersionView, ...]
    default: int | None
    reason: str
    pinned: int | None = None
    previous: int | None = None
    held_out: bool = False
    unloaded: tuple[UnloadedVersion, ...] = ()
    own_reason: str = ""
    answered: int | None = None
