"""Numbers that only grow, counted where things happen and read by whoever asks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType


class Counters:
    """By a key of words: ``("m", "ready")``. Safe from any thread.

    ``keys`` are there from the start, at 0: a rate needs a first value.
    """

    def __init__(self, keys: Iterable[tuple[str, ...]] = ()) -> None:
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(keys, 0)
        self._copy: Mapping[tuple[str, ...], int] | None = None

    def add(self, *key: str, by: int = 1) -> None:
        """``by`` 0 makes the key known."""
        with self._lock:
            if by or key not in self._counts:
                self._counts[key] = self._counts.get(key, 0) + by
                self._copy = None

    def drop(self, keys: Iterable[tuple[str, ...]]) -> None:
        """Forget these keys."""
        with self._lock:
            for key in keys:
                if self._counts.pop(key, None) is not None:
                    self._copy = None

    def keep_only(self, wanted: Callable[[tuple[str, ...]], bool]) -> None:
        """Forget the other keys."""
        with self._lock:
            self._counts = {key: n for key, n in self._counts.items() if wanted(key)}
            self._copy = None

    def snapshot(self) -> Mapping[tuple[str, ...], int]:
        """The same object as long as nothing has changed."""
        with self._lock:
            if self._copy is None:
                self._copy = MappingProxyType(dict(self._counts))
            return self._copy
