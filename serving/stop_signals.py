"""SIGTERM, SIGINT and SIGHUP, seen whatever thread the kernel gives them to, and however they
were inherited."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from serving.first_signals import NUMBERS

# Between two that are one.
_TOGETHER_S = 0.2


class StopSignals:
    """The first asks to stop, the second ends the process at once; one that comes with the first
    (``timeout`` signals its child, and then the group that it is in) is the same.

    A signal sent to the process may land in any of its threads, in one that is just unblocking
    them, say; a main thread that waits for a lock is not woken then, and Python runs handlers
    in no other. So the main thread waits for a byte, which the interpreter's own handler
    writes in whatever thread it runs.
    """

    def __init__(self) -> None:
        self._asked = False
        self._since = 0.0
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)

    def asked(self) -> bool:
        """Whether to stop."""
        return self._asked

    @contextmanager
    def handled(self, on_hangup: Callable[[], None] | None = None) -> Iterator[StopSignals]:
        """Only the main thread may install handlers.

        Both count also where whoever started the process ignored or blocked them (a shell
        does, of SIGINT, for what it puts in the background). ``on_hangup`` is called, between
        two instructions of the main thread, for each SIGHUP; where that is ignored
        (``nohup``) it stays so.
        """
        # A full pipe wakes as well as one more byte would.
        wakeup_before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        handlers = dict.fromkeys(NUMBERS, self._on_signal)
        if on_hangup is not None and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            handlers[signal.SIGHUP] = lambda number, frame: on_hangup()
        before = {number: signal.signal(number, one) for number, one in handlers.items()}
        blocked = signal.pthread_sigmask(signal.SIG_UNBLOCK, handlers)
        try:
            yield self
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(wakeup_before)
            os.close(self._reader)
            os.close(self._writer)

    def wake(self) -> None:
        """Let the main thread look again. Safe from any thread."""
        with suppress(BlockingIOError):  # full: it will
            os.write(self._writer, b"\0")

    def wait_until(self, done: Callable[[], bool]) -> None:
        """Wait in the main thread; ``done`` is asked after each signal and each ``wake``."""
        while not done():
            os.read(self._reader, 4096)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del frame
        now = time.monotonic()
        if self._asked and now >= self._since + _TOGETHER_S:
            # Nothing may keep this from ending: no cleaning up, no waiting for threads.
            os._exit(128 + number)
        if not self._asked:
            self._asked, self._since = True, now
