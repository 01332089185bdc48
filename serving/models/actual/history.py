"""What happened to versions lately, and which was to answer, bounded."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable

from serving.events import log
from serving.models.state import PENDING, Change, Slot, State, Transition

# The last transitions of all models together, of one model, and how many models have such
# a list: those that something happened to last.
KEPT = 256
KEPT_OF_ONE = 64
MODELS = 1024


class History:
    """The last transitions and changes, the former logged as they happen. Written by one thread,
    read by any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: deque[Transition] = deque(maxlen=KEPT)
        self._by_model: OrderedDict[str, deque[Transition]] = OrderedDict()
        self._listeners: tuple[Callable[[Transition], None], ...] = ()

    def listen(self, listener: Callable[[Transition], None]) -> None:
        """It is called with every transition, in the thread that records."""
        self._listeners = (*self._listeners, listener)

    def record(
        self, slot: Slot, was: State | None, at: float, why: str = "", **facts: object
    ) -> None:
        """``at``: seconds since the epoch; ``why``: what for, where the slot itself has no reason;
        ``facts`` go to the log only."""
        reason = slot.reason or why
        event = Transition(at, slot.model, slot.version, slot.state, reason, slot.cancelled)
        with self._lock:
            self._keep(event)
        named: dict[str, object] = {"was": was and str(was), "reason": event.reason, **facts}
        told = {key: value for key, value in named.items() if value not in (None, "")}
        say = getattr(log, _level(slot))
        say("version_state", model=slot.model, version=slot.version, state=str(slot.state), **told)
        self._tell(event)

    def remark(self, slot: Slot, words: str, at: float) -> None:
        """Keep ``words`` about a slot as it stands: no transition, so nobody is told of one."""
        with self._lock:
            self._keep(Transition(at, slot.model, slot.version, slot.state, words))

    def changed(
        self, model: str, version: int | None, what: Change, reason: str, at: float
    ) -> None:
        """Keep what was decided of a version, None: of the model as a whole. No transition, and
        logged by who decided."""
        with self._lock:
            self._keep(Transition(at, model, version, what, reason))

    def _tell(self, event: Transition) -> None:
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:  # noqa: BLE001 - a listener's trouble is its own
                log.exception("listener_failed")

    def _keep(self, event: Transition) -> None:
        self._events.append(event)
        mine = self._by_model.setdefault(event.model, deque(maxlen=KEPT_OF_ONE))
        mine.append(event)
        self._by_model.move_to_end(event.model)
        if len(self._by_model) > MODELS:
            self._by_model.popitem(last=False)

    def snapshot(self, model: str | None = None) -> tuple[Transition, ...]:
        """Oldest first; None: of all models."""
        with self._lock:
            return tuple(self._events if model is None else self._by_model.get(model, ()))


def _level(slot: Slot) -> str:
    """What becomes of a version is news; the steps on its way are not."""
    if slot.state in PENDING:
        return "debug"
    return "warning" if slot.state is State.FAILED and not slot.cancelled else "info"
