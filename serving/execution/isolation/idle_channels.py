"""The channels of a child in which nothing runs; what they hold is given back after a pause."""

from __future__ import annotations

import threading
import time

from serving.execution.isolation.channel import Channel

QUIET_S = 5.0


class IdleChannels:
    """Safe from any thread. One that nobody takes for ``QUIET_S`` gives its tensors' memory
    back, if it is much."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Each with the time since which it has been idle.
        self._idle: list[tuple[Channel, float]] = []
        self._timer: threading.Timer | None = None

    def take(self) -> Channel | None:
        """The last one that was put; None where there is none."""
        with self._lock:
            return self._idle.pop()[0] if self._idle else None

    def put(self, channel: Channel) -> None:
        with self._lock:
            self._idle.append((channel, time.monotonic()))
            if channel.holds_much:
                self._look_later()

    def close(self) -> None:
        """Close them all."""
        with self._lock:
            idle, self._idle = self._idle, []
            if self._timer is not None:
                self._timer.cancel()
        for channel, _ in idle:
            channel.close()

    def _look_later(self) -> None:
        if self._timer is None:
            self._timer = threading.Timer(QUIET_S, self._look)
            self._timer.daemon = True
            self._timer.start()

    def _look(self) -> None:
        with self._lock:
            self._timer = None
            until = time.monotonic() - QUIET_S
            for channel, since in self._idle:
                if since <= until and channel.holds_much:
                    channel.give_back()
            if any(channel.holds_much for channel, _ in self._idle):
                self._look_later()
