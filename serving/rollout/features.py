"""Whether what a canary is asked and answers differs from the base's, feature by feature, by the
statistics of both. Pure.

The distances are TFX's (``serving.validation``): L-infinity of values, the Jensen-Shannon
divergence of numbers. What chance may add to one is told with it, for all features of a look
together; of each request the rows count as one. Answers of one step alone are compared. Looks are
taken as those at distributions are, and share their risk (``serving.rollout.drift``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from serving.rollout.rules import Rules


@dataclass(frozen=True, slots=True)
class Apart:
    """One feature: ``distance``, 0 to 1, and how much of it neither chance nor rough buckets
    explain. ``measure``: in words."""

    feature: str
    measure: str
    distance: float
    sure: float


@dataclass(frozen=True, slots=True)
class FeatureLook:
    """``canary``, ``base``: the requests of this step that statistics were made of. ``farthest``:
    "inputs" and "outputs", as far as anything could be compared, and the feature that is surely
    farthest; None: nobody looked. ``why_not``: why nobody can, in words."""

    canary: int = 0
    base: int = 0
    farthest: Mapping[str, Apart] | None = None
    why_not: str = ""

    @property
    def requests(self) -> int:
        return min(self.canary, self.base)


NO_LOOK = FeatureLook()


@dataclass(frozen=True, slots=True)
class Features:
    """In this step. ``now``: as the last window left it; ``last``: the last look; None before."""

    now: FeatureLook = NO_LOOK
    last: FeatureLook | None = None


NO_FEATURES = Features()


def thresholds(rules: Rules) -> dict[str, float]:
    """Those that are on."""
    both = {"inputs": rules.drift_inputs, "outputs": rules.drift_outputs}
    return {name: most for name, most in both.items() if most > 0}


def after(before: Features, now: FeatureLook) -> Features:
    return Features(now, now if now.farthest is not None else before.last)


def needed(features: Features, rules: Rules) -> int:
    """Requests of each version before the next look."""
    return rules.drift_count if features.last is None else 2 * features.last.requests


def drifted(features: Features, rules: Rules) -> str | None:
    """The feature that is farther away than it may be, in words."""
    last = features.last
    for name, most in thresholds(rules).items():
        found = (last.farthest or {}).get(name) if last is not None else None
        if last is not None and found is not None and found.sure > most:
            return (
                f"its {name} are distributed otherwise: feature {found.feature[:64]!r} is"
                f" {found.distance:.3f} apart ({found.measure}), of which"
                f" {found.distance - found.sure:.3f} may be chance, and {most:g} is allowed"
                f" ({last.canary} requests against {last.base})"
            )
    return None


def waits(features: Features, rules: Rules) -> str | None:
    """Why they can't be compared yet in this step, in words; None: they were, or need not be."""
    kinds = " and ".join(thresholds(rules))
    if not kinds or features.last is not None:
        return None
    if features.now.why_not:
        return f"waits: {features.now.why_not}"
    return (
        f"waits for traffic: statistics of {features.now.requests} requests are too few to compare"
        f" {kinds}, which takes {rules.drift_count}"
    )
