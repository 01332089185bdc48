"""A slot and its states: every transition is in one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from serving.errors import Retry
from serving.gates.verdict import Verdict
from serving.registry.snapshot import Origin
from serving.signature import Signature


class State(StrEnum):
    NEW = "NEW"
    LOADING = "LOADING"
    WARMING = "WARMING"
    READY = "READY"
    DRAINING = "DRAINING"
    GONE = "GONE"
    FAILED = "FAILED"


class Change(StrEnum):
    """What is decided about a model's versions, and is no transition of any."""

    LOAD = "LOAD"
    UNLOAD = "UNLOAD"
    DEFAULT = "DEFAULT"
    NO_DEFAULT = "NO DEFAULT"
    PINNED = "PINNED"
    UNPINNED = "UNPINNED"
    ROLLBACK = "ROLLBACK"
    ACCEPTED = "ACCEPTED"
    ALIAS = "ALIAS"
    ALIAS_REMOVED = "ALIAS REMOVED"
    ROUTE = "ROUTE"
    BLESSED = "BLESSED"
    NOT_BLESSED = "NOT BLESSED"


class Passage(StrEnum):
    """Whether a READY slot may take traffic, by its gates: ``PENDING`` until their verdict."""

    OPEN = "OPEN"
    PENDING = "PENDING"
    SHUT = "SHUT"


TRANSITIONS: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        State.NEW: frozenset({State.LOADING, State.FAILED}),
        # Back to NEW: it gave way to others, and waits for its turn again.
        State.LOADING: frozenset({State.WARMING, State.FAILED, State.NEW}),
        State.WARMING: frozenset({State.READY, State.FAILED, State.NEW}),
        State.READY: frozenset({State.DRAINING, State.FAILED}),
        State.DRAINING: frozenset({State.GONE, State.FAILED}),
        State.FAILED: frozenset({State.LOADING, State.GONE}),
        State.GONE: frozenset(),
    }
)

# On the way to READY; the last two hold a place for loading.
PENDING = frozenset({State.NEW, State.LOADING, State.WARMING})
IN_LOADER = frozenset({State.LOADING, State.WARMING})
LEAVING = frozenset({State.DRAINING, State.GONE})


class TransitionError(AssertionError):
    """A move that the table does not have: a bug, never a user's mistake."""


@dataclass(frozen=True, slots=True)
class SlotKey:
    """What a slot was made of: ``files`` and ``config`` are fingerprints."""

    model: str
    version: int
    files: str
    config: str


@dataclass(frozen=True, slots=True)
class Transition:
    """One transition, or what was decided, for the bounded history; ``at`` is seconds since the
    epoch, ``version`` None where it is of the model as a whole.

    ``cancelled``: nobody wanted the version any more while it was loaded.
    """

    at: float
    model: str
    version: int | None
    state: State | Change
    reason: str
    cancelled: bool = False


@dataclass(slots=True)
class Slot:
    """One attempt to have a version served. Only the manager's loop touches it.

    ``id`` tells apart slots that were made of the same key one after the other. ``since`` is
    the monotonic time of the last transition.
    """

    id: int
    key: SlotKey
    origin: Origin
    since: float
    state: State = State.NEW
    reason: str = ""
    # What the policy has to say of a READY slot that it would not choose again.
    remark: str = ""
    # Loads that failed.
    attempts: int = 0
    # Whether it is tried again after the last failure.
    retry: Retry = Retry.NEVER
    # How often it gave way to others while it was loaded: from once on it is a slow one.
    gave_way: int = 0
    # Whether it was told to give way, and is still in the loader.
    told: bool = False
    # The monotonic time from which its trial has done its own work; None before.
    trying_since: float | None = None
    # What it was loaded with, also where it was not let serve.
    signature: Signature | None = None
    # No longer wanted: whatever the load comes to, the slot goes.
    cancelled: bool = False
    # Seconds since the epoch.
    ready_since: float | None = None
    # By its gates, and their verdict; while it is pending, why it still is.
    passage: Passage = Passage.OPEN
    verdict: Verdict | None = None
    gate_words: str = ""

    @property
    def takes_traffic(self) -> bool:
        return self.state is State.READY and self.passage is Passage.OPEN

    @property
    def is_judged(self) -> bool:
        """Whether it is ready but for a verdict."""
        return self.state is State.READY and self.passage is Passage.PENDING

    @property
    def model(self) -> str:
        return self.key.model

    @property
    def version(self) -> int:
        return self.key.version

    @property
    def leaving(self) -> bool:
        return self.cancelled or self.state in LEAVING

    def move(self, to: State, now: float, reason: str = "") -> None:
        """Raises TransitionError when the table has no such move."""
        if to not in TRANSITIONS[self.state]:
            raise TransitionError(f"{self.model}/{self.version}: {self.state} -> {to}")
        self.state, self.reason, self.since = to, reason, now
