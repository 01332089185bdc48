"""The core's figures of versions as the judge takes them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from serving import _core
from serving.rollout.figures import FAULTS, KINDS, NO_ANSWERS, UNCOUNTED, Answers, Latencies

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
    own = (outcomes - np.minimum(figures.stood_in, outcomes)).tolist()
    failed = figures.fell_back.tolist()
    total = figures.histograms["total"]
    bounds, counts = tuple(total.bounds.tolist()), total.counts.sum(axis=1).tolist()
    return {
        key: _counted(own[row], _FAULTS)
        + _counted(failed[row], frozenset(KINDS))
        + Answers(latencies=Latencies(bounds, tuple(counts[row])))
        for row, key in enumerate(versions)
    }


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
