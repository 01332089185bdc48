"""The judge of a canary: a pure function of what was seen, the rules and the time.

It may be asked after every window: its tests stay valid at whichever window they are stopped (see
``martingales``). Two of them race. One refutes that the canary is as good as the base and rolls it
back; the other refutes that it is too bad (see ``Rules``), and it is not promoted before that is
done. So at any rate of errors of the base's own a canary as good is rolled back, and a bad one
promoted, in ``1 - confidence`` of all rollouts at most. How many requests that takes follows from
the rate: see docs/rollout.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from serving.rollout import drift
from serving.rollout import evidence as found
from serving.rollout import features as by_features
from serving.rollout.evidence import ANY, Evidence
from serving.rollout.figures import KINDS
from serving.rollout.martingales import Counted
from serving.rollout.rules import Rules


class Decision(Enum):
    KEEP = "keep"
    ADVANCE = "advance"
    PROMOTE = "promote"
    ROLL_BACK = "roll back"


@dataclass(frozen=True, slots=True)
class Verdict:
    decision: Decision
    reason: str


@dataclass(frozen=True, slots=True)
class Progress:
    """Of the step that a rollout is in. ``seconds``, ``requests``: how long it has lasted, and how
    many answers the canary gave; ``every_s``, ``min_requests``: how much of both it takes;
    ``is_last``: after it the canary answers all."""

    seconds: float
    requests: int
    every_s: float
    min_requests: int
    is_last: bool


def judge(evidence: Evidence, rules: Rules, progress: Progress) -> Verdict:
    """What is to be done with the canary. Its reason is words for people."""
    fault = hard_signal(evidence, rules) or _soft_signal(evidence, rules)
    if fault is not None:
        return Verdict(Decision.ROLL_BACK, fault)
    waits = _waits(evidence, rules, progress)
    if waits is not None:
        return Verdict(Decision.KEEP, waits)
    if progress.is_last:
        return Verdict(Decision.PROMOTE, "it is shown to be sound")
    return Verdict(Decision.ADVANCE, "nothing speaks against it")


def hard_signal(evidence: Evidence, rules: Rules) -> str | None:
    """What ends a rollout at once, without waiting for a window's end, in words."""
    if evidence.deaths:
        times = "once" if evidence.deaths == 1 else f"{evidence.deaths} times"
        return f"its process died {times}"
    in_row = evidence.failed_in_row
    if in_row >= rules.all_fail and not (_all_fail(evidence) or _by_chance(evidence, rules)):
        return f"every request failed: the last {in_row}"
    return None


def _all_fail(evidence: Evidence) -> bool:
    """Whether most of the base's failed meanwhile: then it is not the canary."""
    base = evidence.base_in_row
    return base.errors * 2 > base.requests


def _by_chance(evidence: Evidence, rules: Rules) -> bool:
    """Whether a row as long may come up in a rollout of a canary that fails as often as the base.

    At its n-th request one does with a chance of (rate of errors) ** length. Where that has to be
    below alpha / n**2 the chances of all n together stay below the risk, however long it goes on.
    """
    base, requests = evidence.base.counted(tuple(KINDS)), evidence.canary.requests
    return requests**2 * base.rate**evidence.failed_in_row > rules.alpha


def _soft_signal(evidence: Evidence, rules: Rules) -> str | None:
    kind = found.worse_errors(evidence, rules)
    if kind is not None:
        return _told(kind, evidence)
    if found.more_nonfinite(evidence, rules):
        canary, base = evidence.canary.counted_nonfinite, evidence.base.counted_nonfinite
        return (
            f"too many answers with NaN or infinity: {_share(canary, 'answers')}, against"
            f" {_share(base, 'answers')}"
        )
    slow = found.slower(evidence, rules)
    if slow is not None:
        return f"its {slow} is too far above that of the version that answers"
    return drift.drifted(evidence.drift, rules)


def _told(kind: str, evidence: Evidence) -> str:
    kinds = tuple(KINDS) if kind == ANY else (kind,)
    words = "errors" if kind == ANY else KINDS[kind][0]
    canary, base = evidence.canary.counted(kinds), evidence.base.counted(kinds)
    return f"too many {words}: {_share(canary)}, against {_share(base)}"


def _share(counted: Counted, of: str = "requests") -> str:
    return f"{counted.errors} of {counted.requests} {of} ({counted.rate:.3%})"


def _waits(evidence: Evidence, rules: Rules, progress: Progress) -> str | None:
    """Why it stays where it is; None: it need not."""
    few = progress.requests < progress.min_requests
    if progress.seconds < progress.every_s:
        left = progress.every_s - progress.seconds
        return f"{left:.0f} s of this step are left"
    if few:
        return (
            f"waits for traffic: it answered {progress.requests} of the {progress.min_requests}"
            " requests that this step takes"
        )
    few_outputs = drift.too_few(evidence.drift, rules)
    if few_outputs is not None:
        return f"waits for traffic: {few_outputs}"
    features = by_features.waits(evidence.drift.features, rules)
    if features is not None:
        return features
    missing = found.missing(evidence, rules)
    if progress.is_last and missing > 0:
        return (
            f"waits for traffic: {evidence.canary.requests} requests are too few to show that it is"
            f" sound ({1 - missing:.0%})"
        )
    return None
