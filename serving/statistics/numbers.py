"""Numbers as they come in: exact counts and extremes, mean and deviation, and quantiles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from serving.statistics.features import Array
from serving.statistics.library import datasketches
from serving.statistics.packing import fields_of

# The library holds the interpreter's lock meanwhile: a quarter of a millisecond.
_AT_ONCE = 8192


@dataclass(slots=True)
class Moments:
    """Mean and sum of squared differences of finite numbers, merged batch by batch (Chan).

    Kept for the numbers divided by ``2**exponent``, that of the largest there was: so neither 1e308
    nor 1e-308 leaves what a float holds while it is squared. Dividing by powers of two rounds
    nothing.
    """

    count: int = 0
    exponent: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, numbers: Array) -> None:
        """``numbers``: float64, finite, one axis."""
        if not numbers.size:
            return
        exponent = _exponent(float(np.abs(numbers).max()))
        scaled = np.ldexp(numbers, -exponent)
        mean = float(scaled.mean())
        squares = float(np.square(scaled - mean).sum())
        self.merge(Moments(numbers.size, exponent, mean, squares))

    def merge(self, other: Moments) -> None:
        if not other.count:
            return
        exponent = other.exponent if not self.count else max(self.exponent, other.exponent)
        mine, its = self._scaled(exponent), other._scaled(exponent)
        count = self.count + other.count
        part = other.count / count
        difference = its[0] - mine[0]
        self.mean = mine[0] + difference * part
        self.squares = mine[1] + its[1] + difference * difference * self.count * part
        self.count, self.exponent = count, exponent

    def _scaled(self, exponent: int) -> tuple[float, float]:
        down = self.exponent - exponent
        return math.ldexp(self.mean, down), math.ldexp(self.squares, 2 * down)

    def facts(self) -> dict[str, Any]:
        return fields_of(self)

    def result(self) -> tuple[float, float]:
        """Mean and standard deviation (of the population, as numpy's); zeros where there is
        none."""
        if not self.count:
            return 0.0, 0.0
        deviation = math.sqrt(max(0.0, self.squares) / self.count)
        return math.ldexp(self.mean, self.exponent), math.ldexp(deviation, self.exponent)


def _exponent(largest: float) -> int:
    return math.frexp(largest)[1] if largest else -1074


class Quantiles:
    """Of finite numbers, by Apache DataSketches' KLL: a rank asked for is within the sketch's own
    stated error, and right as long as there are no more numbers than its k."""

    __slots__ = ("_sketch",)

    def __init__(self, k: int, sketch: Any = None) -> None:
        self._sketch = datasketches().kll_doubles_sketch(k) if sketch is None else sketch

    def add(self, numbers: Array) -> None:
        given = np.ascontiguousarray(numbers, np.float64)
        for at in range(0, len(given), _AT_ONCE):
            self._sketch.update(given[at : at + _AT_ONCE])

    def merge(self, other: Quantiles) -> None:
        self._sketch.merge(other._sketch)

    @property
    def error(self) -> float:
        """Of ranks, as a share of all: exceeded once in a hundred times at most."""
        return float(self._sketch.normalized_rank_error(False))

    @property
    def estimates(self) -> bool:
        """Whether it does not hold every number any more."""
        return bool(self._sketch.is_estimation_mode())

    @property
    def nbytes(self) -> int:
        return 8 * int(self._sketch.num_retained)

    def at(self, ranks: Sequence[float]) -> list[float]:
        """The numbers below which those shares of all are; none where there is no number."""
        return list(self._sketch.get_quantiles(list(ranks))) if self._sketch.n else []

    @property
    def median(self) -> float:
        """numpy's, the middle of two where there are two, as long as it holds every number; 0 where
        there is none."""
        if not self._sketch.n:
            return 0.0
        low, high = (
            float(self._sketch.get_quantile(0.5, inclusive)) for inclusive in (True, False)
        )
        return low if low == high else low / 2 + high / 2

    def below(self, points: Sequence[float]) -> list[float]:
        """Shares of all that are less than each point. ``points``: rising."""
        if not self._sketch.n or not len(points):
            return [0.0] * len(points)
        return list(self._sketch.get_cdf(list(points)))[:-1]

    def to_bytes(self) -> bytes:
        return bytes(self._sketch.serialize())

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises ValueError."""
        try:
            return cls(0, datasketches().kll_doubles_sketch.deserialize(data))
        except (ValueError, IndexError, RuntimeError) as error:
            raise ValueError("a sketch of quantiles is damaged") from error


@dataclass(slots=True)
class Extremes:
    """Exact, over all numbers but NaN; integers as they are, also beyond 2^53. ``finite_*``:
    without infinities. None: there is none."""

    least: float | None = None
    most: float | None = None
    finite_least: float | None = None
    finite_most: float | None = None
    zeros: int = 0
    nans: int = 0
    infinities: int = 0

    def add(self, numbers: Array) -> Array:
        """``numbers``: of any dtype of numbers. Returns the finite ones as float64."""
        if numbers.dtype.kind in "biu":
            numbers = numbers.view(np.uint8) if numbers.dtype.kind == "b" else numbers
            self.zeros += numbers.size - int(np.count_nonzero(numbers))
            self._within(numbers, finite=True)
            return numbers.astype(np.float64)
        # Of NaN that signal the cast warns.
        with np.errstate(invalid="ignore"):
            found = numbers.astype(np.float64)
        finite = found[np.isfinite(found)]
        if finite.size < found.size:
            nans = int(np.isnan(found).sum())
            self.nans += nans
            self.infinities += found.size - finite.size - nans
            self._within(found[np.isinf(found)], finite=False)
        self.zeros += finite.size - int(np.count_nonzero(finite))
        self._within(finite, finite=True)
        return finite

    def _within(self, numbers: Array, *, finite: bool) -> None:
        if not numbers.size:
            return
        low, high = numbers.min().item(), numbers.max().item()
        self.least = low if self.least is None else min(self.least, low)
        self.most = high if self.most is None else max(self.most, high)
        if finite:
            self.finite_least = low if self.finite_least is None else min(self.finite_least, low)
            self.finite_most = high if self.finite_most is None else max(self.finite_most, high)

    def merge(self, other: Extremes) -> None:
        self.least = _joined(min, self.least, other.least)
        self.most = _joined(max, self.most, other.most)
        self.finite_least = _joined(min, self.finite_least, other.finite_least)
        self.finite_most = _joined(max, self.finite_most, other.finite_most)
        self.zeros += other.zeros
        self.nans += other.nans
        self.infinities += other.infinities

    def facts(self) -> dict[str, Any]:
        return fields_of(self)


def _joined(which: Any, one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    found: float = which(one, other)
    return found
