"""Processes that have ended leave the system's table a while later.

Linux forgets a process in the call that collects it, and there waits, busy, for those of its
threads that have ended, but have not got the CPU since. Where niceness and a session of their own
let them wait for it (2.4 s were seen, beside requests on one core), the caller computes all the
while. That they have ended is known without it.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque

# Longer than threads were seen to wait for a CPU.
_LATER_S = 10.0
# That wait: each is one of the processes that a container, or a user, may have.
_MOST = 8


class _Ended:
    """Those that are to be collected, the next first, and whether a thread is at it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: deque[tuple[float, int]] = deque()
        self._collecting = False

    def add(self, pid: int) -> None:
        with self._changed:
            self._due.append((time.monotonic() + _LATER_S, pid))
            self._changed.notify()
            if self._collecting:
                return
            thread = threading.Thread(target=self._collect, name="ended", daemon=True)
            # Without a thread now, the next one that ends brings it.
            with contextlib.suppress(RuntimeError, MemoryError):
                thread.start()
                self._collecting = True

    def _collect(self) -> None:
        while (pid := self._next()) is not None:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)

    def _next(self) -> int | None:
        """The next one, once its time has come or there are too many; None: there is none."""
        with self._changed:
            if not self._due:
                self._collecting = False
                return None
            due, pid = self._due[0]
            while len(self._due) <= _MOST and (left := due - time.monotonic()) > 0:
                self._changed.wait(left)
            self._due.popleft()
            return pid


_ended = _Ended()


def collect_later(pid: int) -> None:
    """Collect a child of ours that has ended. Until then the number is nobody else's."""
    _ended.add(pid)
