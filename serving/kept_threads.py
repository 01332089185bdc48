"""Threads that stay a while for the next work: what starts many short ones after each other pays
for a few.

A thread that starts takes the interpreter's lock from whoever starts it, and both wait for each
other: with two loads under way that was a fifth of the time that the loop had.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

Work = Callable[[], None]

# Long enough for the next of many, short enough that nobody sees them at rest.
_IDLE_S = 1.0


class KeptThreads:
    """Runs each work in a daemon thread, which no other work shares while it goes on.

    Daemons: work that never ends must not keep the process from ending. ``begin`` is called
    first in every thread.
    """

    def __init__(self, begin: Work | None = None, idle_s: float = _IDLE_S) -> None:
        self._begin, self._idle_s = begin, idle_s
        self._lock = threading.Lock()
        # The one that came to rest last is asked first: so the others may end.
        self._resting: list[_Kept] = []

    def spawn(self, name: str, work: Work) -> None:
        """Run ``work``, which raises nothing, in a thread that has this name meanwhile. Raises
        RuntimeError, or MemoryError, where no thread can be had."""
        with self._lock:
            kept = self._resting.pop() if self._resting else None
        if kept is None:
            kept = _Kept()
            kept.box.put((name, work))
            threading.Thread(target=self._run, args=(kept,), name=name, daemon=True).start()
        else:
            kept.box.put((name, work))

    def _run(self, kept: _Kept) -> None:
        thread = threading.current_thread()
        if self._begin is not None:
            self._begin()
        while (given := self._next(kept)) is not None:
            thread.name, work = given
            del given
            try:
                work()
            finally:
                del work
            with self._lock:
                self._resting.append(kept)

    def _next(self, kept: _Kept) -> tuple[str, Work] | None:
        """None: it has rested long enough, and nobody has it any more."""
        try:
            return kept.box.get(timeout=self._idle_s)
        except queue.Empty:
            with self._lock:
                if kept in self._resting:
                    self._resting.remove(kept)
                    return None
        return kept.box.get()  # given to it just now


class _Kept:
    __slots__ = ("box",)

    def __init__(self) -> None:
        self.box: queue.SimpleQueue[tuple[str, Work]] = queue.SimpleQueue()
