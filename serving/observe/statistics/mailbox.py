"""Samples that wait for the thread that makes statistics: bounded, what is too much is counted."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serving import _core


class Mailbox:
    """``most``, ``most_bytes``: samples, and bytes of their tensors, that wait at most. ``put``
    never waits."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._waiting: deque[_core.Sample] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._ended = False
        self.dropped = 0

    def put(self, samples: Sequence[_core.Sample]) -> None:
        with self._changed:
            for sample in samples:
                size = sample.size
                if len(self._waiting) >= self._most or self._bytes + size > self._most_bytes:
                    self.dropped += 1
                    continue
                self._waiting.append(sample)
                self._bytes += size
            if self._waiting:
                self._changed.notify_all()

    def end(self) -> None:
        """No more will come."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def ended(self) -> bool:
        return self._ended

    def wait(self, timeout: float | None) -> bool:
        """Until there is one, or none will come any more. Whether there is one."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended, timeout)
            return bool(self._waiting)

    def gather(self, most: int, timeout: float) -> list[_core.Sample]:
        """All that wait, the oldest first, once there are ``most`` or time is over."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._waiting) >= most or self._ended, timeout)
            found = list(self._waiting)
            self._waiting.clear()
            self._bytes = 0
            return found
