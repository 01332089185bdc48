"""How alike two histograms may be, whatever lies where within their buckets.

A histogram says how many values a bucket has, not where in it. Spread evenly, as TFX does it, two
samples of one distribution may look far apart: where their extremes differ, or where many have the
same value. :func:`certain_divergence` is what remains of the distance if both are placed as alike
as their buckets permit: about 0 for two samples of one distribution. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from serving.validation.distances import Floats, Histogram, jensen_shannon

# The least is approached from above; what is left after these is below 0.001.
_ROUNDS = 200
_BETWEEN_LOOKS = 10
_TINY = 1e-300


@dataclass(slots=True)
class _Placement:
    """``masses``: float64 of shape [buckets, cells]; 0 where a bucket has no part in a cell.
    ``shares``: float64 of shape [buckets, 1], what each bucket places."""

    masses: Floats
    shares: Floats

    @property
    def cells(self) -> Floats:
        return np.asarray(self.masses.sum(axis=0))

    def move_to(self, middle: Floats) -> None:
        """Place more where ``middle`` has more than this, within each bucket."""
        there = self.cells
        self.masses *= middle / np.maximum(there, _TINY)
        self.masses *= self.shares / np.maximum(self.masses.sum(axis=1, keepdims=True), _TINY)


def certain_divergence(a: Histogram, b: Histogram, enough: float = 0.0) -> float | None:
    """The least Jensen-Shannon divergence, in bits, of any two distributions that have these
    buckets; None where one is empty. Found by moving both towards their middle by turns, and not
    farther than to ``enough``.

    A cell is a bound of either, or what lies between two: a value on a bound may belong to
    either neighbour, as approximate quantiles have it.
    """
    if not a.total > 0 or not b.total > 0:
        return None
    edges = np.unique(np.concatenate([a.lows, a.highs, b.lows, b.highs]))
    left, right = _evenly(a, edges), _evenly(b, edges)
    for turn in range(_ROUNDS):
        if turn % _BETWEEN_LOOKS == 0:
            found = jensen_shannon(left.cells, right.cells)
            if found is not None and found <= enough:
                return found
        middle = (left.cells + right.cells) / 2
        left.move_to(middle)
        right.move_to(middle)
    return jensen_shannon(left.cells, right.cells)


def _evenly(histogram: Histogram, edges: Floats) -> _Placement:
    reach = np.zeros((len(histogram.counts), 2 * len(edges) - 1))
    starts = 2 * np.searchsorted(edges, histogram.lows)
    ends = 2 * np.searchsorted(edges, histogram.highs)
    for row, (start, end) in enumerate(zip(starts, ends, strict=True)):
        reach[row, start : end + 1] = 1.0 / (end + 1 - start)
    shares = histogram.counts[:, np.newaxis] / histogram.total
    return _Placement(reach * shares, shares)
