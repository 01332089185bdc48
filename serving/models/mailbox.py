"""What other threads report to the manager's loop."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass

# For how long a turn that nothing hangs on waits for what follows.
_MOMENT_S = 0.02

Message = Callable[[], None]


class Mailbox:
    """Any thread may ``post`` and ``mention``; the loop reads, which calls the messages."""

    def __init__(self) -> None:
        self._mail: queue.SimpleQueue[Message] = queue.SimpleQueue()

    def post(self, message: Message) -> None:
        """Have the loop take a turn after the message."""
        self._mail.put(message)

    def mention(self, message: Message) -> None:
        """Mail that the loop need not turn for at once."""
        self._mail.put(_Mention(message))

    def wait(self, timeout: float) -> None:
        """Until something came that is worth a turn, or for ``timeout`` seconds.

        A load says three things of itself within a few milliseconds, and only the last one is
        waited for: the others make no turn of their own, unless nothing follows.
        """
        left = min(timeout, threading.TIMEOUT_MAX)
        with contextlib.suppress(queue.Empty):
            while True:
                message = self._mail.get(timeout=left)
                message()
                if not isinstance(message, _Mention):
                    return
                left = min(left, _MOMENT_S)

    def read(self) -> None:
        """All that is there; waits for nothing."""
        while not self._mail.empty():
            self._mail.get_nowait()()


@dataclass(frozen=True, slots=True)
class _Mention:
    message: Message

    def __call__(self) -> None:
        self.message()
