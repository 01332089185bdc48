"""Work that may be called off: for those who look between two steps, and for those who wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Cancellation:
    """Once cancelled it stays so; calling it says whether it is. Safe from any thread."""

    def __init__(self) -> None:
        self._cancelled = threading.Event()
        self._lock = threading.Lock()
        self._wakers: list[Callable[[], object]] = []

    def __call__(self) -> bool:
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Wakes all who wait for it; a second call does nothing."""
        with self._lock:
            self._cancelled.set()
            wakers, self._wakers = self._wakers, []
        for wake in wakers:
            wake()

    @contextmanager
    def waking(self, wake: Callable[[], object]) -> Iterator[None]:
        """Meanwhile have ``wake`` called, once, when it is cancelled: by whoever cancels it, or
        here where that was before. It must not block, and may still be called just after."""
        with self._lock:
            late = self._cancelled.is_set()
            if not late:
                self._wakers.append(wake)
        if late:
            wake()
        try:
            yield
        finally:
            with self._lock:
                if wake in self._wakers:
                    self._wakers.remove(wake)
