"""Memory given back to the system after a version left (fact C11).

glibc keeps half of what a model had. Handing it back takes the allocator's locks, which every
thread that runs a model wants too, so it waits for a quiet moment, and many unloads in a row
are one trim.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from serving import machine

# Quiet: a moment in which the process used less than half a CPU.
_MOMENT_S = 0.1
_BUSY = 0.5
# A process that is never quiet gives back all the same, only later.
_LONGEST_S = 5.0


class Trimmer:
    """Trims in a thread of its own, which lives only while there is something to do."""

    def __init__(
        self,
        trim: Callable[[], None] = machine.trim,
        cpu: Callable[[], float] = time.process_time,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._trim, self._cpu, self._wait = trim, cpu, wait
        self._lock = threading.Lock()
        self._asked = False
        self._thread: threading.Thread | None = None

    def ask(self) -> None:
        """Trim soon; returns at once."""
        with self._lock:
            self._asked = True
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="trim", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._asked:
                    self._thread = None
                    return
                self._asked = False
            self._wait_for_quiet()
            self._trim()

    def _wait_for_quiet(self) -> None:
        moments = int(_LONGEST_S / _MOMENT_S)
        for _ in range(moments):
            before = self._cpu()
            self._wait(_MOMENT_S)
            if self._cpu() - before < _MOMENT_S * _BUSY:
                return
