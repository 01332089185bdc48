"""What a run costs by its rows, and how many rows are cheapest. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# What a run costs beside the model itself: gathering, waking, Python. Seconds, measured on
# `tiny`; without it a model that costs nothing would seem as cheap at one row as at 64.
OVERHEAD = 50e-6
# Sizes this much dearer than the cheapest count as cheap: of two equal sizes the smaller
# answers sooner, and timings flatter large ones, whose input is in the cache each time.
SLACK = 1.1
# Smaller runs are never preferred: between them others have the core and its caches, which no
# timing of runs back to back shows. (The OCR classifier timed cheapest at 2 rows served 502
# rows a second so, and 675 at 8.)
FEWEST = 8
# A size must save this share of a row's cost for the next one to be worth measuring.
WORTH = 0.03


@dataclass(frozen=True, slots=True)
class CostCurve:
    """A run of n rows takes about ``fixed_s + n * per_row_s`` seconds; ``best_rows`` are
    cheapest per row, None where too few sizes were measured to say."""

    fixed_s: float
    per_row_s: float
    best_rows: int | None


def best_rows(seconds: Mapping[int, float]) -> int | None:
    """The number of rows a run should have: the smallest of the cheapest per row.

    ``seconds``: rows -> the best time of a run of so many. None where none of at least
    ``FEWEST`` rows was measured.
    """
    costs = {rows: cost for rows, cost in _per_row(seconds).items() if rows >= FEWEST}
    if not costs:
        return None
    limit = min(costs.values()) * SLACK
    return min(rows for rows, cost in costs.items() if cost <= limit)


def curve(seconds: Mapping[int, float]) -> CostCurve | None:
    """The line through the measured sizes, neither part of it negative; None without any.

    Least squares of relative errors: the few microseconds of a run of one row say more about
    what a run costs at least than the same few of a long one.
    """
    points = [(rows, time) for rows, time in seconds.items() if time > 0]
    if not points:
        return None
    fixed, per_row = _line(points)
    return CostCurve(fixed, per_row, best_rows(seconds))


def cheaper_still(seconds: Mapping[int, float]) -> bool:
    """Whether larger runs may be cheaper per row than those measured: not once two sizes in
    turn, beyond ``FEWEST`` rows, saved nothing worth it."""
    costs = sorted(_per_row(seconds).items())
    last, before = costs[-2:], costs[:-2]
    if not before or last[0][0] <= FEWEST:
        return True
    cheapest = min(cost for _, cost in before)
    return min(cost for _, cost in last) < cheapest * (1 - WORTH)


def _per_row(seconds: Mapping[int, float]) -> dict[int, float]:
    return {rows: (time + OVERHEAD) / rows for rows, time in seconds.items()}


def _line(points: list[tuple[int, float]]) -> tuple[float, float]:
    """(seconds at no rows, seconds a row), weighted by 1 / time squared."""
    weights = [1 / time**2 for _, time in points]
    total = sum(weights)
    mean_rows = sum(w * rows for w, (rows, _) in zip(weights, points, strict=True)) / total
    mean_time = sum(w * time for w, (_, time) in zip(weights, points, strict=True)) / total
    spread = sum(w * (rows - mean_rows) ** 2 for w, (rows, _) in zip(weights, points, strict=True))
    if not spread:
        return 0.0, mean_time / mean_rows
    both = sum(
        w * (rows - mean_rows) * (time - mean_time)
        for w, (rows, time) in zip(weights, points, strict=True)
    )
    per_row = both / spread
    fixed = mean_time - per_row * mean_rows
    if per_row < 0:
        return mean_time, 0.0
    if fixed < 0:
        squares = sum(w * rows**2 for w, (rows, _) in zip(weights, points, strict=True))
        products = sum(w * rows * time for w, (rows, time) in zip(weights, points, strict=True))
        return 0.0, products / squares
    return fixed, per_row
