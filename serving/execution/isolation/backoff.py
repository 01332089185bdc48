"""When a child that died is started again: at once, but not again and again."""

from __future__ import annotations

from serving.backoff import wait_s


class Backoff:
    """Keeps a count and no time. ``first`` and ``longest`` are waits in seconds.

    The first start after a death is immediate. Where the child dies again soon, the next start
    waits for ``first``, then twice as long each time. A failed batch is run again in halves to
    find the request that ends the child: a few deaths on that search don't count.
    """

    # Halves that it takes to find one of 256 requests.
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
        return wait_s(self.deaths - 1, self._first, self._longest)

    def _calm(self) -> float:
        """Seconds after which a child counts as well, and earlier deaths count no more."""
        return max(self._first * 10, self._delay() * 2)
