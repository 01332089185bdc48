"""Models that have changed, for the standing policy."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from contextlib import suppress


class ChangedModels:
    """Noted in any thread, taken in one."""

    def __init__(self) -> None:
        self._changed: deque[str] = deque()

    def note(self, models: Iterable[str]) -> None:
        """Waits for nothing."""
        self._changed.extend(models)

    def take(self) -> list[str]:
        """Each once, by name."""
        models = set()
        with suppress(IndexError):
            while True:
                models.add(self._changed.popleft())
        return sorted(models)
