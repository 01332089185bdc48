"""Whether a canary's outputs are distributed otherwise than the base's. Pure.

Two distances, each between 0 and 1: of classes the largest difference of any class's share
(L-infinity, as TFX compares categories); of scores the largest difference of the two cumulative
distributions (Kolmogorov), over the core's fixed histogram. Answers of one step alone are compared,
in which both versions got the same mixture of requests.

What chance may add to a distance is bounded by W. Hoeffding, Probability inequalities for sums of
bounded random variables (JASA 58, 1963), for every class or edge of the histogram at once: an
answer counts with as many rows or elements as it has, which may all depend on each other. It is
looked at whenever there are twice as many as at the look before, and the look k of a rollout takes
``1 / (k (k + 1))`` of the risk: so all looks together take no more than all of it. Looks at
features by statistics (``serving.rollout.features``) are among them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

from serving.rollout import features as by_features
from serving.rollout.features import NO_FEATURES, Features
from serving.rollout.figures import NO_SPREAD, Answers, Spread, Window
from serving.rollout.rules import Rules


@dataclass(frozen=True, slots=True)
class Distance:
    """At the last look: how far apart the distributions were, and how much of that may be chance;
    ``canary``, ``base``: how many independent answers they were worth."""

    apart: float
    chance: float
    canary: int
    base: int


@dataclass(frozen=True, slots=True)
class Compared:
    """``canary``, ``base``: what was seen in this step; ``last``: None before a first look."""

    canary: Spread = NO_SPREAD
    base: Spread = NO_SPREAD
    last: Distance | None = None

    @property
    def worth(self) -> float:
        return min(self.canary.worth, self.base.worth)


NOT_COMPARED = Compared()


@dataclass(frozen=True, slots=True)
class Drift:
    """``answers``: the canary's and the base's in this step; ``looks``: in the whole rollout.
    ``features``: by statistics."""

    classes: Compared = NOT_COMPARED
    scores: Compared = NOT_COMPARED
    features: Features = NO_FEATURES
    answers: tuple[int, int] = (0, 0)
    looks: int = 0


NO_DRIFT = Drift()


def class_distance(canary: Sequence[int], base: Sequence[int]) -> float:
    """Of counts by class; both have some."""
    all_canary, all_base = sum(canary), sum(base)
    return max(abs(a / all_canary - b / all_base) for a, b in zip(canary, base, strict=True))


def score_distance(canary: Sequence[int], base: Sequence[int]) -> float:
    """Of counts by size, ascending; both have some."""
    return max(
        abs(a / sum(canary) - b / sum(base))
        for a, b in zip(accumulate(canary), accumulate(base), strict=True)
    )


@dataclass(frozen=True, slots=True)
class _Measure:
    name: str
    of: Callable[[Answers], Spread]
    distance: Callable[[Sequence[int], Sequence[int]], float]


_MEASURES: Mapping[str, _Measure] = {
    "classes": _Measure("classes", lambda answers: answers.classes, class_distance),
    "scores": _Measure("scores", lambda answers: answers.scores, score_distance),
}


def thresholds(rules: Rules) -> dict[str, float]:
    """Those that are on."""
    both = {"classes": rules.drift_classes, "scores": rules.drift_scores}
    return {name: most for name, most in both.items() if most > 0}


def compared(drift: Drift, window: Window, rules: Rules, risk: float) -> Drift:
    """With another window. ``risk``: of calling what is no farther apart than it may be drift, in
    the whole rollout."""
    found: dict[str, Any] = {}
    looks = drift.looks
    for name in thresholds(rules):
        measure, before = _MEASURES[name], getattr(drift, name)
        now = replace(
            before,
            canary=before.canary + measure.of(window.canary),
            base=before.base + measure.of(window.base),
        )
        if now.worth >= _next_look(before.last, rules):
            looks += 1
            now = replace(now, last=_looked(measure, now, risk / (looks * (looks + 1))))
        found[name] = now
    if window.features is not None:
        found["features"] = by_features.after(drift.features, window.features)
        looks = looks if window.features.farthest is None else _look_at_features(drift, rules)
    if not found:
        return drift
    canary, base = drift.answers
    answers = canary + window.canary.requests, base + window.base.requests
    return replace(drift, answers=answers, looks=looks, **found)


def risk_at_features(drift: Drift, rules: Rules, risk: float) -> float:
    """What a look at features may take of ``risk`` with the window that comes."""
    look = _look_at_features(drift, rules)
    return risk / (look * (look + 1))


def _look_at_features(drift: Drift, rules: Rules) -> int:
    """Its number: after those that the same window may bring."""
    return drift.looks + len(thresholds(rules)) + 1


def begun_anew(drift: Drift) -> Drift:
    return Drift(looks=drift.looks)


def _next_look(last: Distance | None, rules: Rules) -> float:
    return rules.drift_count if last is None else 2 * min(last.canary, last.base)


def _looked(measure: _Measure, now: Compared, risk: float) -> Distance:
    places = len(now.canary.counts)
    spread = 1 / now.canary.worth + 1 / now.base.worth
    return Distance(
        apart=measure.distance(now.canary.counts, now.base.counts),
        chance=math.sqrt(math.log(2 * places / risk) / 2 * spread),
        canary=int(now.canary.worth),
        base=int(now.base.worth),
    )


# What it comes to.


def drifted(drift: Drift, rules: Rules) -> str | None:
    """What is farther apart than it may be, in words."""
    for name, most in thresholds(rules).items():
        last = getattr(drift, name).last
        if last is not None and last.apart - last.chance > most:
            return (
                f"its {name} are distributed otherwise: {last.apart:.3f} apart, of which"
                f" {last.chance:.3f} may be chance, and {most:g} is allowed ({last.canary} answers"
                f" against {last.base})"
            )
    return by_features.drifted(drift.features, rules)


def too_few(drift: Drift, rules: Rules) -> str | None:
    """Which outputs can't be compared yet in this step, in words; None: all that are to be. A model
    whose answers have none of them is not held up for that."""
    enough = min(drift.answers) >= rules.drift_count
    for name in thresholds(rules):
        found: Compared = getattr(drift, name)
        if found.last is None and not (enough and found.worth == 0):
            return (
                f"{int(found.worth)} answers are too few to compare {name}, which takes"
                f" {rules.drift_count}"
            )
    return None
