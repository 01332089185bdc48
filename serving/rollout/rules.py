"""By what a canary is judged, and in which steps its share grows. Pure data."""

from __future__ import annotations

from dataclasses import dataclass

from serving.settings.canary import CanarySettings
from serving.step_shares import WHOLE


@dataclass(frozen=True, slots=True)
class Rules:
    """``confidence``: a canary as good as the base is rolled back in ``1 - confidence`` of all
    rollouts at most, and one that is too bad is promoted in as many.

    Too bad: the odds that a request fails are ``errors_factor`` times the base's or more, and its
    rate of errors is not below ``errors_tolerated``. ``errors_floor``: errors of a canary that
    count for nothing. Too slow: half of its requests take more than ``p50_factor`` times the
    base's median, or one in a hundred more than ``p99_factor`` times its 99th percentile, and
    ``slack_s`` more at least; compared once each version has the ``p50_count`` or ``p99_count``
    requests. ``all_fail``: so many requests in a row that all fail end it at once. ``nonfinite``:
    whether answers with NaN or infinity count. ``drift_classes``, ``drift_scores``: how far the
    distributions of outputs may be apart, 0 to 1, 0: as far as they like; compared once those of
    each are worth ``drift_count`` independent answers. ``drift_inputs``, ``drift_outputs``: the
    same of each feature by statistics, once those are made of as many requests.
    """

    confidence: float = 0.995
    errors_factor: float = 2.0
    errors_tolerated: float = 0.001
    errors_floor: int = 3
    p50_factor: float = 2.0
    p99_factor: float = 3.0
    p50_count: int = 100
    p99_count: int = 1000
    slack_s: float = 0.001
    all_fail: int = 5
    nonfinite: bool = True
    drift_classes: float = 0.0
    drift_scores: float = 0.0
    drift_inputs: float = 0.0
    drift_outputs: float = 0.0
    drift_count: int = 500

    @property
    def alpha(self) -> float:
        return 1 - self.confidence

    @property
    def watches_drift(self) -> bool:
        """By what the core counts of outputs."""
        return self.drift_classes > 0 or self.drift_scores > 0

    @property
    def watches_features(self) -> bool:
        """By statistics."""
        return self.drift_inputs > 0 or self.drift_outputs > 0


@dataclass(frozen=True, slots=True)
class Steps:
    """``shares``: percent of the requests, ascending, the last one 100: there it is promoted.
    Each lasts ``every_s`` seconds, and ``min_requests`` answers of the canary, at least."""

    shares: tuple[int, ...] = (1, 5, 25, 50, WHOLE)
    every_s: float = 600.0
    min_requests: int = 50


BY_DEFAULT = Steps()


def rules_of(settings: CanarySettings) -> Rules:
    return Rules(
        confidence=settings.confidence,
        errors_factor=settings.errors_factor,
        errors_tolerated=settings.errors_tolerated,
        errors_floor=settings.errors_floor,
        p50_factor=settings.p50_factor,
        p99_factor=settings.p99_factor,
        p50_count=settings.p50_requests,
        p99_count=settings.p99_requests,
        slack_s=settings.latency_slack_s,
        all_fail=settings.failing_requests,
        nonfinite=settings.nonfinite,
        drift_classes=settings.drift.classes,
        drift_scores=settings.drift.scores,
        drift_inputs=settings.drift.inputs,
        drift_outputs=settings.drift.outputs,
        drift_count=settings.drift.min_answers,
    )


def steps_of(settings: CanarySettings) -> Steps:
    return Steps(settings.steps, settings.every_s, settings.min_requests)
