"""The core's figures of versions as the judge takes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from serving import _core
from serving.rollout.figures import (
    FAULTS,
    KINDS,
    NO_ANSWERS,
    NO_SPREAD,
    UNCOUNTED,
    Answers,
    Latencies,
    Spread,
)

# (model, version)
Key = tuple[str, int]

_FAULTS = frozenset(FAULTS)
_KINDS_OF = {word: kind for kind, (_, words) in KINDS.items() for word in words}


def answers_of(figures: _core.Figures) -> dict[Key, Answers]:
    """Of each version, since the process began.

    What a version failed and the default version then answered is the failing one's, and none of
    the other's. Inputs that a version refuses speak against it only where the default version
    takes them, so only among those.
    """
    versions = figures.versions
    # Both protocols together: (versions, outcomes), (versions, bounds + 1).
    outcomes = figures.outcomes.sum(axis=1)
    ever = outcomes.sum(axis=1).tolist()
    own = (outcomes - np.minimum(figures.stood_in, outcomes)).tolist()
    failed = figures.fell_back.tolist()
    latencies, looked_at = _latencies(figures), _looked_at(figures)
    return {
        key: _counted(own[row], _FAULTS)
        + _counted(failed[row], frozenset(KINDS))
        + replace(looked_at[row], latencies=latencies[row], ever=ever[row])
        for row, key in enumerate(versions)
    }


def _latencies(figures: _core.Figures) -> list[Latencies]:
    """Without those of requests that another version had failed first, which took its time, too."""
    times = figures.fine_times
    counts, stood_in = times.counts[:, 0], times.counts[:, 1]
    counts = counts - np.minimum(stood_in, counts)
    # What is counted a moment apart makes no step down.
    counts = np.maximum.accumulate(counts, axis=1)
    bounds = tuple(times.bounds.tolist())
    return [Latencies(bounds, tuple(row)) for row in counts.tolist()]


def _looked_at(figures: _core.Figures) -> list[Answers]:
    """What is known of the versions' outputs."""
    counts, squares = figures.counts, figures.squares.tolist()
    found = [
        Answers(inspected=inspected, nonfinite=nonfinite)
        for inspected, nonfinite in zip(
            counts["inspected"].tolist(), counts["nonfinite"].tolist(), strict=True
        )
    ]
    if not any(map(any, squares)):
        return found
    classes, scores = figures.classes.tolist(), figures.scores.tolist()
    return [
        replace(
            one,
            classes=_spread(classes[row], squares[row][0]),
            scores=_spread(scores[row], squares[row][1]),
        )
        for row, one in enumerate(found)
    ]


def _spread(counts: list[int], squares: int) -> Spread:
    return Spread(tuple(counts), squares) if squares else NO_SPREAD


def _counted(outcomes: list[int], kinds: frozenset[str]) -> Answers:
    """``outcomes``: as many requests of each of ``OUTCOMES``; errors of other kinds than ``kinds``
    are none."""
    requests, errors = 0, dict[str, int]()
    for word, count in zip(_core.OUTCOMES, outcomes, strict=True):
        if not count or word in UNCOUNTED:
            continue
        requests += count
        kind = _KINDS_OF.get(word)
        if kind in kinds:
            errors[kind] = errors.get(kind, 0) + count
    return Answers(requests, errors)


def since(before: Mapping[Key, Answers], now: Mapping[Key, Answers], key: Key) -> Answers:
    """What a version did between two looks."""
    return now.get(key, NO_ANSWERS) - before.get(key, NO_ANSWERS)
