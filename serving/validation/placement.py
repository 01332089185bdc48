"""How alike two histograms may be, whatever lies where within their buckets.

A histogram says how many values a bucket has, not where in it. Spread evenly, as TFX does it, two
samples of one distribution may look far apart: where their extremes differ, or where many have the
same value. :func:`certain_divergence` is what remains of the distance if both are placed as alike
as their buckets permit: about 0 for two samples of one distribution. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from serving.validation.distances import (
    Floats,
    Histogram,
    jensen_shannon,
    jensen_shannon_of_histograms,
)

# The least is approached from above; what is left after these is below 0.001.
_ROUNDS = 200
# It has been reached where so many more bring it down by less than this part.
_BETWEEN_LOOKS = 10
_REACHED = 0.01
_TINY = 1e-300
# More are joined with their neighbours first, which leaves what they say true.
_MOST_BUCKETS = 64


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
    # Evenly is one way to place them.
    evenly = jensen_shannon_of_histograms(a, b)
    a, b = _coarse(a), _coarse(b)
    edges = np.unique(np.concatenate([a.lows, a.highs, b.lows, b.highs]))
    left, right = _evenly(a, edges), _evenly(b, edges)
    found = jensen_shannon(left.cells, right.cells) or 0.0
    for _ in range(_ROUNDS // _BETWEEN_LOOKS):
        before = found
        for _ in range(_BETWEEN_LOOKS):
            middle = (left.cells + right.cells) / 2
            left.move_to(middle)
            right.move_to(middle)
        found = jensen_shannon(left.cells, right.cells) or 0.0
        if found <= enough or found > before * (1 - _REACHED):
            break
    return found if evenly is None else min(found, evenly)


def _coarse(histogram: Histogram) -> Histogram:
    count = len(histogram.counts)
    if count <= _MOST_BUCKETS:
        return histogram
    starts = np.arange(0, count, -(-count // _MOST_BUCKETS))
    return Histogram(
        np.minimum.reduceat(histogram.lows, starts),
        np.maximum.reduceat(histogram.highs, starts),
        np.add.reduceat(histogram.counts, starts),
    )


def _evenly(histogram: Histogram, edges: Floats) -> _Placement:
    reach = np.zeros((len(histogram.counts), 2 * len(edges) - 1))
    starts = 2 * np.searchsorted(edges, histogram.lows)
    ends = 2 * np.searchsorted(edges, histogram.highs)
    for row, (start, end) in enumerate(zip(starts, ends, strict=True)):
        reach[row, start : end + 1] = 1.0 / (end + 1 - start)
    shares = histogram.counts[:, np.newaxis] / histogram.total
    return _Placement(reach * shares, shares)
