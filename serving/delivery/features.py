"""What statistics say of both versions of a rollout, asked where its rules want it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from serving.rollout import drift, features
from serving.rollout.canary import Rollout
from serving.rollout.evidence import DRIFT_PART
from serving.rollout.features import Apart, FeatureLook
from serving.rollout.rules import Rules

# Model, candidate and base.
Pair = tuple[str, int, int]
# When a rollout was started, and its step.
Step = tuple[float, int]
_OFF = "statistics, by which it is to be compared, are off (statistics.enabled)"
_NO_ROOM = "statistics have no room to compare it: as many rollouts are compared as there may be"


class StepStatistics(Protocol):
    """Statistics of both versions since a rollout's step began."""

    def follow(self, steps: Mapping[Pair, Step]) -> None:
        """These and no others; what is known of a step before goes."""

    def counted(self, pair: Pair) -> tuple[int, int] | None:
        """Requests of the candidate and of the base; None where there is no room for them."""

    def farthest(self, pair: Pair, chance: float) -> Mapping[str, Apart]:
        """See ``FeatureLook``. ``chance``: of a false alarm in all features together."""


class FeatureLooks:
    """``statistics`` None: they are off. For one thread."""

    def __init__(self, statistics: StepStatistics | None) -> None:
        self._statistics = statistics
        self._follows = False

    def follow(self, judged: Sequence[Rollout], rules_of: Callable[[str], Rules]) -> None:
        """Have statistics made for those that are judged by them, and for no others."""
        steps = {
            _pair(one): (one.started, one.step)
            for one in judged
            if rules_of(one.model).watches_features
        }
        if self._statistics is not None and (steps or self._follows):
            self._statistics.follow(steps)
        self._follows = bool(steps)

    def look(self, rollout: Rollout, rules: Rules) -> FeatureLook | None:
        """At the end of a window; None where the rules don't ask for it."""
        if not rules.watches_features:
            return None
        if self._statistics is None:
            return FeatureLook(why_not=_OFF)
        counted = self._statistics.counted(_pair(rollout))
        if counted is None:
            return FeatureLook(why_not=_NO_ROOM)
        before = rollout.evidence.drift
        if min(counted) < features.needed(before.features, rules):
            return FeatureLook(*counted)
        risk = drift.risk_at_features(before, rules, rules.alpha * DRIFT_PART)
        return FeatureLook(*counted, self._statistics.farthest(_pair(rollout), risk))


def _pair(rollout: Rollout) -> Pair:
    return rollout.model, rollout.candidate, rollout.base
