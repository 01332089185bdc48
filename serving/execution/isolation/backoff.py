"""When a child that died is started again: at once, but not again and again."""

from __future__ import annotations


class Backoff:
    """Pure but for its count. ``first`` and ``longest`` are waits in seconds.

    The first start after a death is immediate. A child that dies again soon waits ``first``,
    then twice as long each time. Those that die while the members of a failed batch are run
    alone are looked for on purpose: a few such deaths don't count.
    """

    # Halves of halves of 256 requests.
    SEARCHES = 8

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self.deaths = 0
        self._searches = 0

    def wait(self, lived: float, searching: bool) -> float:
        """Seconds until the next start, after a child that lived so long. ``searching``: it
        died while it ran members of a failed batch again."""
        if lived >= self._calm():
            self.deaths = self._searches = 0
        if searching and self.deaths and self._searches < self.SEARCHES:
            self._searches += 1
            return 0.0
        if not searching:
            self._searches = 0
        self.deaths += 1
        return self._delay()

    def _delay(self) -> float:
        if self.deaths <= 1:
            return 0.0
        return min(self._longest, self._first * 2.0 ** min(self.deaths - 2, 64))

    def _calm(self) -> float:
        """A child that lives so long has come through what killed the one before."""
        return max(self._first * 10, self._delay() * 2)
