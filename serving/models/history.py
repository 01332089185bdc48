"""What happened to versions lately, bounded."""

from __future__ import annotations

from collections import deque

from serving.events import log
from serving.models.state import PENDING, Event, Slot, State

KEPT = 256


class History:
    """The last transitions, each logged as it happens. Used by one thread."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=KEPT)

    def record(self, slot: Slot, was: State | None, at: float, **facts: object) -> None:
        """``at``: seconds since the epoch; ``facts`` go to the log only."""
        event = Event(at, slot.model, slot.version, slot.state, slot.reason)
        self._events.append(event)
        named: dict[str, object] = {"was": was and str(was), "reason": event.reason, **facts}
        told = {key: value for key, value in named.items() if value not in (None, "")}
        say = getattr(log, _level(slot))
        say("version_state", model=slot.model, version=slot.version, state=str(slot.state), **told)

    def snapshot(self) -> tuple[Event, ...]:
        return tuple(self._events)


def _level(slot: Slot) -> str:
    """What becomes of a version is news; the steps on its way are not."""
    if slot.state in PENDING:
        return "debug"
    return "warning" if slot.state is State.FAILED and not slot.cancelled else "info"
