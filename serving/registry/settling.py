"""How long a tree has been quiet, by what we saw of it ourselves."""

from __future__ import annotations

from dataclasses import dataclass

from serving.registry.snapshot import FoundVersion
from serving.registry.tree import Row, Rows, digest


@dataclass(frozen=True, slots=True)
class Clocks:
    """One scan's moment, and how long ago the scan before it was (all in seconds)."""

    mono: float
    wall: float
    settle_s: float
    since_last: float

    def age(self, rows: Rows) -> float:
        """Seconds of quiet to believe at first sight."""
        newest = max((row[4] for row in rows), default=0) / 1e9
        return min(max(self.wall - newest, 0.0), self.settle_s, self.since_last)


@dataclass(slots=True)
class Seen:
    """A tree as the looks found it. ``looks``: how many in a row found these rows."""

    rows: Rows
    fingerprint: str
    since: float
    settled: bool
    looks: int = 1
    found: FoundVersion | None = None

    def stands(self, own: Row) -> bool:
        """Whether a glance at the version's own folder will do: it is whole, and its row was
        found twice (a second change within the file system's clock tick does not show)."""
        return self.looks > 1 and self.rows[0] == own and self.found is not None and self.whole

    @property
    def whole(self) -> bool:
        return self.found is not None and self.found.whole


def observe(seen: Seen | None, rows: Rows, clocks: Clocks) -> Seen:
    """What is known of a tree after this look at it; ``seen`` is changed in place where its
    rows are still the same."""
    if seen is None:
        seen = Seen(rows, digest(rows), clocks.mono - clocks.age(rows), settled=False)
    elif seen.rows != rows:
        # Not the wall clock here: it may have jumped since the last look.
        seen = Seen(rows, digest(rows), clocks.mono, settled=not rows)
    else:
        seen.looks += 1
    seen.settled = seen.settled or left(seen, clocks) <= 0
    return seen


def left(seen: Seen, clocks: Clocks) -> float:
    """Seconds until the tree has been quiet for long enough."""
    return seen.since + clocks.settle_s - clocks.mono
