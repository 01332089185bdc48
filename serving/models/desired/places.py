"""Who is loaded now, and who gives way to others (fault 106). Pure.

There are two lanes, each with as many places as versions may be loaded at once. Everything
begins in the fast one. A trial that goes on there while others wait moves over to the slow lane,
where it goes on; where that has no place, it ends, and is begun again in the slow lane when its
turn comes. There, too, it gives way to others that wait, but each time it may go on five times as
long as before. So a version that needs little is ready soon, whoever stands before it, and one
that needs much gets it.

Only trials give way: they run in a process that can be ended at any moment. The rest of a load
keeps its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from serving.models.state import Slot, State

_GROWTH = 5.0


@dataclass(frozen=True, slots=True)
class Load:
    """Into the loader: a NEW slot, or a FAILED one again."""

    slot: int


@dataclass(frozen=True, slots=True)
class MoveOver:
    """In the loader: it goes on in the slow lane."""

    slot: int


@dataclass(frozen=True, slots=True)
class GiveWay:
    """In the loader: it ends, to be loaded again later."""

    slot: int


Action = Load | MoveOver | GiveWay


def next_steps(
    waiting: Sequence[Slot], loading: Sequence[Slot], now: float, places: int, slow_after: float
) -> list[Action]:
    """``waiting``: whose turn comes next stands first. ``places``: of each lane.
    ``slow_after``: seconds that a trial may go on in the fast lane while others wait."""
    quick = [slot for slot in waiting if not slot.gave_way]
    slow = [slot for slot in waiting if slot.gave_way]
    fast_lane = [slot for slot in loading if not slot.gave_way]
    slow_lane = [slot for slot in loading if slot.gave_way]
    steps: list[Action] = []
    for slot in _too_long(fast_lane, _without_place(quick, fast_lane, places), now, slow_after):
        if len(slow_lane) < places:
            fast_lane.remove(slot)
            slow_lane.append(slot)
            steps.append(MoveOver(slot.id))
        else:
            steps.append(GiveWay(slot.id))
    for line, lane in ((quick, fast_lane), (slow, slow_lane)):
        steps += [Load(slot.id) for slot in line[: max(places - len(lane), 0)]]
    # Turns in the slow lane cost a new process each; not while the fast one has need of it.
    others = 0 if quick else _without_place(slow, slow_lane, places)
    return steps + [GiveWay(slot.id) for slot in _too_long(slow_lane, others, now, slow_after)]


def overdue_at(slot: Slot, slow_after: float) -> float | None:
    """When it is to give way to others that wait; None: not at all, or it was told already."""
    if slot.state is not State.LOADING or slot.trying_since is None or slot.told:
        return None
    return slot.trying_since + slow_after * _GROWTH**slot.gave_way


def _without_place(line: Sequence[Slot], lane: Sequence[Slot], places: int) -> int:
    """How many wait for whom nobody makes room yet."""
    leaving = sum(slot.told for slot in lane)
    return max(len(line) - max(places - len(lane), 0) - leaving, 0)


def _too_long(lane: Sequence[Slot], count: int, now: float, slow_after: float) -> list[Slot]:
    """At most ``count`` that are to give way, the longest first."""
    due = [(at, slot) for slot in lane if (at := overdue_at(slot, slow_after)) is not None]
    late = sorted((pair for pair in due if pair[0] <= now), key=lambda pair: pair[0])
    return [slot for _, slot in late[:count]]
