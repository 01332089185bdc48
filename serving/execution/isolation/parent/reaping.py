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

_lock = threading.Lock()
_ended: deque[tuple[float, int]] = deque()


def collect_later(pid: int) -> None:
    """Collect a child of ours that has ended. Until then the number is nobody else's."""
    with _lock:
        _ended.append((time.monotonic() + _LATER_S, pid))
        if len(_ended) == 1:
            threading.Thread(target=_collect, name="ended", daemon=True).start()


def _collect() -> None:
    while True:
        with _lock:
            due, pid = _ended[0]
        time.sleep(max(0.0, due - time.monotonic()))
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
        with _lock:
            _ended.popleft()
            if not _ended:
                return
