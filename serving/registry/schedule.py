"""When a source is looked at next. Pure."""

from __future__ import annotations

# The share of time that scans may take; beyond it they come less often, but never so
# seldom that a new version misses its five seconds (settle time 3 s).
_SCAN_SHARE = 0.003
_LONGEST_STRETCH_S = 1.5
# Where changes are reported, those of everything only find what no report was made of.
_REPORTED_SHARE = 0.002
_LONGEST_REPORTED_S = 60.0
# Scans hurried because something is about to settle keep this distance.
_SHORTEST_WAIT_S = 0.05
# Hurried scans may take at most this share of a core.
_HURRIED_SHARE = 0.05


class Schedule:
    """``next``: of the next scan; ``everything_at``: from when on one goes through everything.
    Times are monotonic seconds, ``interval_s`` and ``cost`` seconds (of a core)."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self.next = self.everything_at = float("-inf")
        self._soonest = float("-inf")
        self._reported = False
        # Of the last scan of everything.
        self._began, self._cost = float("-inf"), 0.0

    def hurry(self, now: float) -> None:
        """Something changed: look as soon as looks may follow one another."""
        self.next = min(self.next, max(self._soonest, now))

    def reports(self, reported: bool) -> None:
        """Whether the system reports changes."""
        if reported != self._reported:
            self._reported = reported
            self._plan_everything()
            self.next = min(self.next, self.everything_at)

    def looked(
        self, began: float, cost: float, settles_in: float | None, *, everything: bool = True
    ) -> None:
        if everything:
            self._began, self._cost = began, cost
            self._plan_everything()
        interval = max(self._interval_s, min(cost / _SCAN_SHARE, _LONGEST_STRETCH_S))
        if settles_in is not None:
            interval = min(interval, max(settles_in, _SHORTEST_WAIT_S))
        self.next = began + interval
        self._soonest = began + max(_SHORTEST_WAIT_S, cost / _HURRIED_SHARE)

    def _plan_everything(self) -> None:
        if self._reported:
            stretch = min(self._cost / _REPORTED_SHARE, _LONGEST_REPORTED_S)
        else:
            stretch = min(self._cost / _SCAN_SHARE, _LONGEST_STRETCH_S)
        self.everything_at = self._began + max(self._interval_s, stretch)
