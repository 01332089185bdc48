"""One request that a version has been seen to run on, for who wants to show how it is asked.

Values are generated, or MLflow's example, which is there to be shown; the user's other samples
stay his own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from serving.loading.inputs.generated import Feeds, Plan
from serving.loading.inputs.samples import Sample

# Kept of values that can't be made again.
MOST_KEPT = 4096


@dataclass(frozen=True, slots=True)
class Example:
    """``feeds``: values to be shown; without, ``plan`` makes them."""

    feeds: Feeds | None = None
    plan: Plan | None = None

    @property
    def elements(self) -> int:
        """Of all inputs together, without making them."""
        if self.feeds is not None:
            return _elements(self.feeds)
        return sum(map(math.prod, self.plan.shapes())) if self.plan is not None else 0

    def make(self) -> Feeds:
        """One row where axis 0 may be rows; the same each time."""
        if self.feeds is not None:
            return self.feeds
        return self.plan.make() if self.plan is not None else {}


def example_of(samples: Sequence[Sample], plan: Plan | None) -> Example | None:
    """``plan``: of generated input that ran, None where none did."""
    for sample in samples:
        if sample.shown and _elements(sample.feeds) <= MOST_KEPT:
            return Example(feeds=sample.feeds)
    return None if plan is None else Example(plan=plan)


def _elements(feeds: Feeds) -> int:
    return sum(array.size for array in feeds.values())
