"""Children that wait for the next trial, and go when none came for a while."""

from __future__ import annotations

import threading
import time

from serving.execution.isolation.parent.process import Child


class IdleChildren:
    """At most ``most`` of them; the last one used is asked first. Safe from any thread."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._children: list[Child] = []
        self._timer: threading.Timer | None = None
        # By the monotonic clock: when the timer ends, and when the children are to.
        self._timer_at = self._until = 0.0
        self._closed = False

    @property
    def any(self) -> bool:
        return bool(self._children)

    def take(self) -> Child | None:
        with self._lock:
            return self._children.pop() if self._children else None

    def keep(self, child: Child, seconds: float) -> None:
        """End it, and those that are there, unless one is kept again within ``seconds``."""
        with self._lock:
            keep = len(self._children) < self._most and not self._closed
            if keep:
                self._children.append(child)
                self._end_in(seconds)
        if not keep:
            child.close()

    def close(self) -> None:
        """End them; none is kept from now on."""
        with self._lock:
            self._closed = True
        self._end()

    def _end_in(self, seconds: float) -> None:
        """A timer is a thread, which would cost every trial one: what is there already goes on, and
        looks again at its end."""
        self._until = time.monotonic() + seconds
        if self._timer is not None and self._until < self._timer_at:
            self._stop_timer()
        if self._timer is None:
            self._timer_at = self._until
            self._timer = threading.Timer(seconds, self._look)
            self._timer.daemon = True
            self._timer.start()

    def _look(self) -> None:
        with self._lock:
            if self._timer is not threading.current_thread():
                return  # it was stopped too late
            self._timer = None
            left = self._until - time.monotonic()
            if self._children and left > 0:
                self._end_in(left)
                return
        self._end()

    def _end(self) -> None:
        with self._lock:
            children, self._children = self._children, []
            self._stop_timer()
        for child in children:
            child.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
