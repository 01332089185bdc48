"""What happened to versions lately, bounded."""

from __future__ import annotations

from collections import deque

from serving.events import log
from serving.models.state import Event, Slot, State

KEPT = 256


class History:
    """The last transitions, each logged as it happens. Used by one thread."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=KEPT)

    def record(self, slot: Slot, was: State | None, at: float, detail: str = "") -> None:
        """``at``: seconds since the epoch; ``detail`` goes to the log only."""
        event = Event(at, slot.model, slot.version, slot.state, slot.reason)
        self._events.append(event)
        facts = {"model": event.model, "version": event.version, "state": str(event.state)}
        if was is not None:
            facts["was"] = str(was)
        if event.reason:
            facts["reason"] = event.reason
        if detail:
            facts["detail"] = detail
        failed = event.state is State.FAILED and not slot.cancelled
        (log.warning if failed else log.info)("version_state", **facts)

    def snapshot(self) -> tuple[Event, ...]:
        return tuple(self._events)
