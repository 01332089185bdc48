"""Runs that end before their end: at a limit on how long one may take, or when told to stop.

One thread ends those that go on too long. onnxruntime looks at ``RunOptions.terminate`` between
two nodes, so an endless ``Loop`` ends within one node of the flag (fault 23). What that costs a
run is one reading of the clock and two assignments; onnxruntime makes options of its own for a
run that brings none.
"""

from __future__ import annotations

import math
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")

# The watching thread's shortest sleep, whatever the limits.
_SHORTEST_S = 0.02


class RunLimitError(Exception):
    """A run was ended because it took longer than it may (``seconds``)."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the model ran longer than its limit of {seconds:g} s")
        self.seconds = seconds


class RunStoppedError(Exception):
    """A run was ended by ``stop``."""

    def __init__(self) -> None:
        super().__init__("the run was ended: nobody waited for it any more")


class _Slot:
    """One thread's runs of one model. ``started`` is 0 between runs; ``stopped`` is when the
    run started that was told to stop."""

    __slots__ = ("__weakref__", "limit", "options", "started", "stopped")

    def __init__(self, limit: float, options: Any) -> None:
        self.limit = limit
        self.options = options
        self.started = self.stopped = 0.0

    def stop(self) -> None:
        started = self.started
        if started:
            self.stopped = started
            self.options.terminate = True


class Watchdog:
    """One thread that looks at all slots, four times in the shortest limit: a timer set for each
    run would cost every run what this costs in a quarter of a limit."""

    def __init__(self) -> None:
        self._slots: weakref.WeakSet[_Slot] = weakref.WeakSet()
        self._changed = threading.Condition()
        # The limit by which it sleeps now: of slots that come then only a shorter one wakes it.
        self._shortest = math.inf
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        with self._changed:
            self._start()

    def add(self, slot: _Slot) -> None:
        with self._changed:
            self._slots.add(slot)
            self._start()
            if slot.limit < self._shortest:
                self._changed.notify()

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="run limits", daemon=True)
            self._thread.start()

    def _watch(self) -> None:
        with self._changed:
            while True:
                self._shortest = self._look()
                alone = self._shortest == math.inf
                self._changed.wait(None if alone else max(self._shortest / 4, _SHORTEST_S))

    def _look(self) -> float:
        """End what is over; the shortest limit, infinite without any. A function of its own: no
        name of it keeps a slot alive while the watch sleeps."""
        slots = list(self._slots)
        for slot in slots:
            _end_if_over(slot)
        return min((slot.limit for slot in slots), default=math.inf)


def _end_if_over(slot: _Slot) -> None:
    options, started = slot.options, slot.started
    if started and time.monotonic() - started >= slot.limit:
        options.terminate = True


_watchdog = Watchdog()


def start_watching() -> None:
    """Start the watching thread, with the caller's priority; the first run would, too."""
    _watchdog.start()


class RunLimit:
    """Runs of one model, none longer than ``limit`` seconds (and a quarter); infinite: without
    end."""

    def __init__(self, limit: float, make_options: Callable[[], Any]) -> None:
        self.limit = limit
        self._make_options = make_options
        self._local = threading.local()
        self._by_thread: weakref.WeakValueDictionary[int, _Slot] = weakref.WeakValueDictionary()

    def stop(self, thread: int) -> None:
        """End what this thread runs now; its function raises RunStoppedError."""
        slot = self._by_thread.get(thread)
        if slot is not None:
            slot.stop()

    def bound(self, run: Callable[..., Result]) -> Callable[..., Result]:
        """``run(names, feeds, options)`` as a function of names and feeds, and of the number of
        requests that they are of, which does not matter here.

        The function raises what ``run`` raises, RunLimitError and RunStoppedError.
        """
        local, clock = self._local, time.monotonic

        def limited(names: Any, feeds: Any, requests: int = 0) -> Result:
            try:
                slot = local.slot
            except AttributeError:
                slot = self._slot()
            slot.started = started = clock()
            try:
                return run(names, feeds, slot.options)
            except Exception:
                if not slot.options.terminate:
                    raise
                self._slot()
                if slot.stopped == started:
                    raise RunStoppedError from None
                return self._ended(run, names, feeds, clock() - started)
            finally:
                slot.started = 0.0

        return limited

    def _ended(self, run: Callable[..., Result], names: Any, feeds: Any, took: float) -> Result:
        """The flag was set: for this run, or just too late for the one before."""
        if took >= self.limit:
            raise RunLimitError(self.limit) from None
        return self.bound(run)(names, feeds)

    def _slot(self) -> _Slot:
        slot = self._local.slot = _Slot(self.limit, self._make_options())
        self._by_thread[threading.get_ident()] = slot
        if self.limit < math.inf:
            _watchdog.add(slot)
        return slot
