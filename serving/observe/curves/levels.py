"""A level over time, such as a version's memory, of which only changes are kept. Pure."""

from __future__ import annotations

import struct

from serving.observe.curves.ring import Span

# The step's number, then the level since then.
_ROW = struct.Struct("<IQ")
LEVEL_BYTES = _ROW.size


class Levels:
    """The level of each step of one span, whole numbers from 0 on; before the first it is 0. One
    change a step at most, and with them the level that held when the span began."""

    __slots__ = ("_rows",)

    def __init__(self) -> None:
        self._rows = bytearray()

    @property
    def nbytes(self) -> int:
        return len(self._rows)

    @property
    def last(self) -> int:
        """The level now."""
        return self._at(-1)[1] if self._rows else 0

    def set(self, step: int, level: int) -> bool:
        """Whether it is another than before. Steps ascend."""
        if level == self.last:
            return False
        self._rows += _ROW.pack(step, level)
        return True

    def forget(self, until: int) -> None:
        """What was before the step ``until``, but for the level that it began with."""
        old = 0
        while len(self._rows) >= (old + 2) * _ROW.size and self._at(old + 1)[0] <= until:
            old += 1
        if len(self._rows) == (old + 1) * _ROW.size:
            step, level = self._at(old)
            old += step <= until and not level
        del self._rows[: old * _ROW.size]

    def changes(self, first: int) -> list[tuple[int, int]]:
        """(Step, the level since then), oldest first; of before the step ``first`` the last one,
        as if it were of that."""
        found: list[tuple[int, int]] = []
        for step, level in _ROW.iter_unpack(bytes(self._rows)):
            if step <= first:
                found = [(first, level)] if level else []
            else:
                found.append((step, level))
        return found

    def _at(self, place: int) -> tuple[int, int]:
        return _ROW.unpack_from(self._rows, place % (len(self._rows) // _ROW.size) * _ROW.size)


def columns(changes: list[tuple[int, int]], span: Span) -> dict[str, list[float]]:
    """``at`` (seconds since the epoch, the end of the step in which it changed) and ``bytes``."""
    return {
        "at": [float((step + 1) * span.step_s) for step, _ in changes],
        "bytes": [float(level) for _, level in changes],
    }
