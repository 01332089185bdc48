"""Interleaved runs: what drifts on the machine hits every contender alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median
from typing import TypeVar

Result = TypeVar("Result")


def interleaved(rounds: int, runs: Mapping[str, Callable[[], Result]]) -> dict[str, list[Result]]:
    """Run every contender once a round, in turns that begin with another one each time."""
    results: dict[str, list[Result]] = {name: [] for name in runs}
    names = list(runs)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            results[name].append(runs[name]())
    return results


def ratio(ours: list[float], other: list[float]) -> float:
    """The median of the rounds' own ratios."""
    return median(one / two for one, two in zip(ours, other, strict=True))
