"""What lies beside a model's versions and changes in place: their schema."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from serving.errors import LoadError
from serving.events import log
from serving.loading.low_priority import run_low_priority
from serving.models.state import State

if TYPE_CHECKING:
    from serving.models.actual.outside import Outside
    from serving.models.actual.works import Beside, Work


class Looks:
    """Have versions that serve take up what changed beside them since they last looked.

    One after another, in one thread: that reads files, and of a large one it takes the interpreter
    from those who serve for seconds. What changed twice before its turn is looked at once.
    """

    def __init__(self, outside: Outside) -> None:
        self._outside = outside
        self._lock = threading.Lock()
        # By slot; and whether the thread is at it.
        self._waiting: dict[int, tuple[Work, Beside]] = {}
        self._looking = False

    def look(self, work: Work) -> None:
        beside, before = work.beside, work.seen_beside
        if work.slot.state is not State.READY or beside == before:
            return
        work.seen_beside = beside
        with self._lock:
            self._waiting[work.slot.id] = work, beside
            if self._looking:
                return
            self._looking = True
        try:
            self._outside.spawn("look-beside", self._look_at_all)
        except (RuntimeError, MemoryError):
            # No thread: the next time that anything about the model is seen.
            with self._lock:
                self._looking = False
                del self._waiting[work.slot.id]
            work.seen_beside = before

    def _look_at_all(self) -> None:
        try:
            run_low_priority(self._look_at_each)
        except (RuntimeError, MemoryError):
            self._look_at_each()  # without a thread for that

    def _look_at_each(self) -> None:
        while (found := self._next()) is not None:
            _look(*found, self._outside)

    def _next(self) -> tuple[Work, Beside] | None:
        """The one that waits longest; None, and nobody is at it any more."""
        with self._lock:
            self._looking = bool(self._waiting)
            return self._waiting.pop(next(iter(self._waiting))) if self._waiting else None


def _look(work: Work, beside: Beside, outside: Outside) -> None:
    slot, loaded = work.slot, work.loaded
    # It may have left meanwhile.
    if loaded is None or slot.state is not State.READY:
        return
    try:
        changed = loaded.look_beside(beside.folder or slot.origin.fetch().model)
    except Exception as error:  # noqa: BLE001 - it goes on as it was, whatever is the matter
        reason = error.reason if isinstance(error, LoadError) else repr(error)
        names = {"model": slot.model, "version": slot.version}
        log.warning("request_schema_unusable", **names, reason=reason, effect="it stays as it was")
        return
    if changed:
        told: Callable[[], None] = partial(outside.shown, slot.model)
        outside.post(told)
