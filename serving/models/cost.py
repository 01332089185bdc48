"""What a run costs by its rows, and how many rows are cheapest. Pure."""

from __future__ import annotations

from collections.abc import Mapping

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


def best_rows(seconds: Mapping[int, float]) -> int | None:
    """The number of rows a run should have: the smallest of the cheapest per row.

    ``seconds``: rows -> the best time of a run of so many. None where none of at least
    ``FEWEST`` rows was measured.
    """
    costs = {rows: (time + OVERHEAD) / rows for rows, time in seconds.items() if rows >= FEWEST}
    if not costs:
        return None
    limit = min(costs.values()) * SLACK
    return min(rows for rows, cost in costs.items() if cost <= limit)
