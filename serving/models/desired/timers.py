"""Names with a time each, and whose has come."""

from __future__ import annotations

import heapq
from collections.abc import Mapping

_NEVER = float("inf")


class Timers:
    """What is asked of it costs no look at the names whose time has not come."""

    def __init__(self, at: Mapping[str, float] | None = None) -> None:
        self._at = dict(at or {})
        # Also times that were replaced since; those are passed over.
        self._heap = [(time, name) for name, time in self._at.items()]
        heapq.heapify(self._heap)

    def put(self, name: str, at: float) -> None:
        """In place of its former time; ``inf``: it has none any more."""
        if at == _NEVER:
            self._at.pop(name, None)
        elif self._at.get(name) != at:
            self._at[name] = at
            heapq.heappush(self._heap, (at, name))
            self._tidy()

    def next(self) -> float:
        """The earliest time; ``inf`` where there is none."""
        while self._heap and self._at.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else _NEVER

    def take(self, now: float) -> list[str]:
        """The names whose time has come; each once."""
        due = []
        while self.next() <= now:
            due.append(heapq.heappop(self._heap)[1])
            del self._at[due[-1]]
        return due

    def _tidy(self) -> None:
        """Most that lies here counts no more: so what is kept is bounded by the names."""
        if len(self._heap) > 2 * len(self._at) + 64:
            self._heap = [(time, name) for name, time in self._at.items()]
            heapq.heapify(self._heap)
