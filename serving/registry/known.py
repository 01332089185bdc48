"""A model's folder as the last look found it."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass, field, replace

from serving.registry.look import Place
from serving.registry.settling import Seen
from serving.registry.snapshot import FoundModel, Ignored
from serving.registry.tree import Row

# Scans of everything between two full looks at a model where all has settled.
FULL_LOOK = 10
# More versions than so many a scan make them rarer.
_PER_SCAN = 50
_NO_ROW: Row = ("", 0, 0, 0, 0, 0)


@dataclass(slots=True)
class Known:
    """``found``: the model, as far as it is one."""

    place: Place
    found: FoundModel
    ignored: tuple[Ignored, ...]
    directory: Row
    # The look before it had found the directory with the same row: a second change
    # within the file system's clock tick would not show in the row.
    confirmed: bool
    turns: int
    seen: dict[str, Seen]
    links: tuple[tuple[str, str], ...]
    # The folder itself was reached by a link.
    linked: bool = False
    # Until the next of its trees may count as whole, seconds; None when all have settled.
    settles_in: float | None = None
    # Why it is no model; "" where it is one.
    passed_over: str = ""
    # Whether nothing is left to wait for: asked in every scan.
    settled: bool = field(init=False)

    def __post_init__(self) -> None:
        self.settled = self.confirmed and self._has_settled()

    def may_stand(self, directory: Row) -> bool:
        """Whether one look at the folder's own row will do."""
        return (
            self.turns > 0
            and self.directory == directory
            and self.settled
            and all(os.path.realpath(link) == target for link, target in self.links)
        )

    @property
    def rests(self) -> bool:
        """Whether nothing about it changes but what shows in its folder: its row, or a file
        beside the versions."""
        return self.settled and not self.linked and not self.links

    def _has_settled(self) -> bool:
        if self.passed_over:
            # A file in a numbered folder, which doesn't show in the row, may change that.
            return not self.found.versions
        found = self.found
        return found.config_settled and not found.error and all(v.whole for v in found.versions)

    def says_as(self, other: Known) -> bool:
        """Whether a snapshot is the same with the one as with the other."""
        return (
            self.found is other.found
            and self.ignored == other.ignored
            and self.settles_in == other.settles_in
            and self.passed_over == other.passed_over
        )

    def unreadable(self, why: str) -> Known:
        """A model as long as it was one before: what is there is unknown, not absent."""
        lost = replace(self, directory=_NO_ROW, confirmed=False, settles_in=None)
        if self.passed_over:
            lost.passed_over = f"it {why}"
        else:
            lost.found = unreadable(self.place, why)
        return lost

    def next_turns(self, *, deep: bool) -> int:
        """Scans of everything until the next full look, after a look that was ``deep`` or not."""
        most = max(FULL_LOOK, len(self.found.versions) // _PER_SCAN)
        return most if deep else self.turns - 1


def unreadable(place: Place, why: str) -> FoundModel:
    return FoundModel(place.name, place.path, error=f"its directory {why}")


def first_turns(name: str) -> int:
    """Other than the next model's, so that full looks spread over the scans."""
    return zlib.crc32(name.encode(errors="replace")) % FULL_LOOK
