"""Numbers that only grow, counted where things happen and read by whoever asks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable


class Counters:
    """By a key of words: ``("m", "ready")``. Safe from any thread.

    ``keys`` are there from the start, at 0: a rate needs a first value.
    """

    def __init__(self, keys: Iterable[tuple[str, ...]] = ()) -> None:
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(keys, 0)

    def add(self, *key: str, by: int = 1) -> None:
        """``by`` 0 makes the key known."""
        with self._lock:
            self._counts[key] = self._counts.get(key, 0) + by

    def keep_only(self, wanted: Callable[[tuple[str, ...]], bool]) -> None:
        """Forget the other keys."""
        with self._lock:
            self._counts = {key: n for key, n in self._counts.items() if wanted(key)}

    def snapshot(self) -> dict[tuple[str, ...], int]:
        with self._lock:
            return dict(self._counts)
