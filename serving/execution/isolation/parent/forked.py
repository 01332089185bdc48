"""A process that the template has forked and the kernel has given to this one."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time

from serving.execution.isolation.parent.reaping import collect_later

# Where the system tells of no process's end.
_LOOK_S = 0.02


class Forked:
    """As ``subprocess.Popen`` for what ``parent.process`` needs; safe from any thread.

    ``returncode``: of one that has ended and was waited for, negative by a signal.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.args = f"process {pid}"
        self.returncode: int | None = None
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """Its status, if it has ended."""
        with self._lock:
            return self._collected()

    def _collected(self) -> int | None:
        # By the lock the number is nobody else's as long as there is no status.
        if self.returncode is None:
            try:
                ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                # It went with the template, before it was a process of its own.
                self.returncode = -signal.SIGKILL
            else:
                if ended is not None:
                    exited = ended.si_code == os.CLD_EXITED
                    self.returncode = ended.si_status if exited else -ended.si_status
                    collect_later(self.pid)
        return self.returncode

    def kill(self) -> None:
        with self._lock:
            if self._collected() is None:
                os.kill(self.pid, signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        until = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if until is None:
                with contextlib.suppress(ChildProcessError):
                    os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
            elif time.monotonic() >= until:
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
            else:
                time.sleep(_LOOK_S)
        return code
