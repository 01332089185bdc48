"""What belongs to slots outside the state machine; found by slot, by model and by state, so that
nothing about a few of them costs a look at all."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from serving.cancellation import Cancellation
from serving.model_config import ModelConfig
from serving.models.actual.drawing import Loaded
from serving.models.state import Slot, State

if TYPE_CHECKING:
    from serving import _core


@dataclass(frozen=True, slots=True)
class Beside:
    """``stamp`` is another where any of the files is. ``folder``: the model's; None: that of the
    version's own origin."""

    stamp: str = ""
    folder: Path | None = None


NOWHERE = Beside()


@dataclass(slots=True)
class Work:
    """One slot, and what belongs to it."""

    slot: Slot
    config: ModelConfig | None
    stats: _core.Stats | None
    # Of the load under way: it is of no use any more or, where it gives way, not now.
    ending: Cancellation = field(default_factory=Cancellation)
    gives_way: bool = False
    loaded: Loaded | None = None
    # The files beside the versions as they are, and as they were when it last looked at them.
    beside: Beside = NOWHERE
    seen_beside: Beside = NOWHERE


class Works:
    """In order of their slots' ids, but where they are asked for by state."""

    def __init__(self) -> None:
        self._by_id: dict[int, Work] = {}
        self._by_model: dict[str, dict[int, Work]] = {}
        self._by_state: dict[State, dict[int, Work]] = {state: {} for state in State}

    def __len__(self) -> int:
        return len(self._by_id)

    def __getitem__(self, slot: int) -> Work:
        return self._by_id[slot]

    def all(self) -> Iterable[Work]:
        return self._by_id.values()

    def of(self, model: str) -> list[Work]:
        return list(self._by_model.get(model, {}).values())

    def models(self) -> AbstractSet[str]:
        return self._by_model.keys()

    def in_state(self, *states: State) -> list[Work]:
        return list(itertools.chain.from_iterable(self._by_state[one].values() for one in states))

    def add(self, work: Work) -> None:
        slot = work.slot
        self._by_id[slot.id] = work
        self._by_model.setdefault(slot.model, {})[slot.id] = work
        self._by_state[slot.state][slot.id] = work

    def moved(self, work: Work, was: State) -> None:
        """Its slot is in another state now."""
        slot = work.slot
        self._by_state[slot.state][slot.id] = self._by_state[was].pop(slot.id)

    def remove(self, work: Work) -> None:
        slot = work.slot
        del self._by_id[slot.id], self._by_state[slot.state][slot.id]
        mine = self._by_model[slot.model]
        del mine[slot.id]
        if not mine:
            del self._by_model[slot.model]


class VersionStats:
    """Counters by version, which outlive reloads: they belong to the version, not to the slot."""

    def __init__(self) -> None:
        self._by_model: dict[str, dict[int, _core.Stats]] = {}

    def of(self, model: str) -> dict[int, _core.Stats]:
        return self._by_model.setdefault(model, {})

    def keep_only(self, model: str, versions: Collection[int]) -> None:
        mine = self._by_model.get(model, {})
        for version in mine.keys() - set(versions):
            del mine[version]
        if not mine:
            self._by_model.pop(model, None)
