"""Which rows have a feature, how many values they have, and in which shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from serving.statistics.features import Flat
from serving.statistics.packing import fields_of
from serving.statistics.sizes import MOST_SHAPES


@dataclass(slots=True)
class Presence:
    """``shapes``: of a row's values, as ``3x224x224`` ("" is a single value) -> rows, of the first
    few there were; ``other_shapes``: rows of any other. ``least``, ``most``: values in a row."""

    non_missing: int = 0
    missing: int = 0
    least: int = 0
    most: int = 0
    total: int = 0
    shapes: dict[str, int] = field(default_factory=dict)
    other_shapes: int = 0

    def add(self, flat: Flat) -> None:
        self.missing += flat.missing
        if not flat.lengths.size:
            return
        low, high = int(flat.lengths.min()), int(flat.lengths.max())
        self.least = min(self.least, low) if self.non_missing else low
        self.most = max(self.most, high)
        self.total += flat.values.size
        self.non_missing += flat.lengths.size
        self._count({shape_text(shape): rows for shape, rows in flat.shapes.items()})

    def _count(self, shapes: Mapping[str, int]) -> None:
        for shape, rows in shapes.items():
            if shape in self.shapes or len(self.shapes) < MOST_SHAPES:
                self.shapes[shape] = self.shapes.get(shape, 0) + rows
            else:
                self.other_shapes += rows

    def merge(self, other: Presence) -> None:
        self.missing += other.missing
        if other.non_missing:
            self.least = min(self.least, other.least) if self.non_missing else other.least
        self.most = max(self.most, other.most)
        self.total += other.total
        self.non_missing += other.non_missing
        self._count(other.shapes)
        self.other_shapes += other.other_shapes

    def facts(self) -> dict[str, Any]:
        return fields_of(self)

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Self:
        return cls(**facts)


def shape_text(shape: tuple[int, ...]) -> str:
    return "x".join("?" if size < 0 else str(size) for size in shape[:8])
