"""Distances between two distributions, as TensorFlow Data Validation defines them.

Source of the contract: ``metrics.cc`` of tensorflow/data-validation, by which the thresholds in
TFX's schemas are meant. Distances of shares lie in [0, 1]. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Histogram:
    """Buckets of numbers, ascending: ``lows``, ``highs`` and ``counts`` are float64 of shape
    [buckets]. ``nans``: how many values were NaN, and are in no bucket."""

    lows: Floats
    highs: Floats
    counts: Floats
    nans: float = 0.0

    @property
    def total(self) -> float:
        """Without NaN."""
        return float(self.counts.sum())


@dataclass(frozen=True, slots=True)
class _Parts:
    """``spread``: the buckets with a width. ``points``: value -> mass of those without one.
    ``endless``: mass of those with an infinite bound."""

    spread: Histogram
    points: dict[float, float]
    endless: float


def l_infinity(a: Mapping[str, float], b: Mapping[str, float]) -> tuple[float, str]:
    """The largest difference of the shares that one value has in ``a`` and in ``b`` (value ->
    count), and the value; of several the last in order. Nothing counted is 0 of each."""
    return _largest(_shares(a), _shares(b))


def normalized_difference(a: Mapping[str, float], b: Mapping[str, float]) -> tuple[float, str]:
    """The largest difference of one value's counts, as a part of all that was counted in both."""
    everything = (sum(a.values()) + sum(b.values())) or 1.0
    return _largest(
        {value: count / everything for value, count in a.items()},
        {value: count / everything for value, count in b.items()},
    )


def jensen_shannon_of_values(a: Mapping[str, float], b: Mapping[str, float]) -> float | None:
    """The Jensen-Shannon divergence, in bits, of values with their counts; None where one is
    empty or a count isn't positive."""
    if not a or not b or min(a.values()) <= 0 or min(b.values()) <= 0:
        return None
    values = sorted(a.keys() | b.keys())
    return jensen_shannon(
        np.array([a.get(value, 0.0) for value in values]),
        np.array([b.get(value, 0.0) for value in values]),
    )


def jensen_shannon_of_histograms(a: Histogram, b: Histogram) -> float | None:
    """The same of two histograms, over their :func:`aligned` buckets; None where one is empty."""
    return jensen_shannon(*aligned(a, b))


def jensen_shannon(a: Floats, b: Floats) -> float | None:
    """The divergence, in bits, of two counts over the same cells, float64 of shape [cells] each;
    None where one counts nothing."""
    if not a.sum() > 0 or not b.sum() > 0:
        return None
    p, q = a / a.sum(), b / b.sum()
    middle = (p + q) / 2
    bits = (_divergence(p, middle) + _divergence(q, middle)) / 2
    return min(max(bits, 0.0), 1.0)


def aligned(a: Histogram, b: Histogram) -> tuple[Floats, Floats]:
    """Counts of both over the same cells, float64 of shape [cells].

    The buckets are cut at all bounds of both, and a bucket's mass is spread evenly over its
    parts. A bucket without a width is a cell of its own, one for each value. Mass in buckets
    with an infinite bound is never the same as the other's. So is NaN, but only where the bounds
    of both are the same: TensorFlow Data Validation loses it where buckets are cut.
    """
    left, right = _parts(a), _parts(b)
    edges = np.unique(
        np.concatenate([left.spread.lows, left.spread.highs, right.spread.lows, right.spread.highs])
    )
    at = sorted(left.points.keys() | right.points.keys())
    nans = (a.nans, b.nans) if _same_bounds(left.spread, right.spread) else (0.0, 0.0)
    return (
        np.concatenate(
            [
                _rebinned(left.spread, edges),
                [left.points.get(value, 0.0) for value in at],
                [left.endless, 0.0, nans[0], 0.0],
            ]
        ),
        np.concatenate(
            [
                _rebinned(right.spread, edges),
                [right.points.get(value, 0.0) for value in at],
                [0.0, right.endless, 0.0, nans[1]],
            ]
        ),
    )


def _shares(counts: Mapping[str, float]) -> dict[str, float]:
    total = sum(counts.values()) or 1.0
    return {value: count / total for value, count in counts.items()}


def _largest(a: Mapping[str, float], b: Mapping[str, float]) -> tuple[float, str]:
    best = (0.0, "")
    for value in sorted(a.keys() | b.keys()):
        difference = abs(a.get(value, 0.0) - b.get(value, 0.0))
        if difference >= best[0]:
            best = (difference, value)
    return best


def _divergence(p: Floats, q: Floats) -> float:
    """Kullback and Leibler's, in bits, over the cells where ``p`` has mass."""
    there = p > 0
    return float(np.sum(p[there] * np.log2(p[there] / q[there])))


def _parts(histogram: Histogram) -> _Parts:
    lows, highs, counts = histogram.lows, histogram.highs, histogram.counts
    finite = np.isfinite(lows) & np.isfinite(highs)
    wide = finite & (lows != highs)
    points: dict[float, float] = {}
    for value, count in zip(lows[finite & ~wide], counts[finite & ~wide], strict=True):
        points[float(value)] = points.get(float(value), 0.0) + float(count)
    return _Parts(
        Histogram(lows[wide], highs[wide], counts[wide]), points, float(counts[~finite].sum())
    )


def _same_bounds(a: Histogram, b: Histogram) -> bool:
    bounds = [np.union1d(each.lows, each.highs) for each in (a, b)]
    return np.array_equal(bounds[0], bounds[1])


def _rebinned(histogram: Histogram, edges: Floats) -> Floats:
    """The mass between neighbours of ``edges``, which hold all bounds of ``histogram``."""
    if len(edges) < 2:
        return np.zeros(0)
    # Halved, a width is finite whatever the bounds are.
    half = edges / 2
    masses = np.zeros(len(edges) - 1)
    starts = np.searchsorted(edges, histogram.lows)
    ends = np.searchsorted(edges, histogram.highs)
    for start, end, count in zip(starts, ends, histogram.counts, strict=True):
        width = half[end] - half[start]
        # Below what a number holds, one part is as good as another.
        parts = np.diff(half[start : end + 1]) / width if width else 1 / (end - start)
        masses[start:end] += count * parts
    return masses
