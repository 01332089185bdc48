"""What the windows of a rollout have shown so far: sums, and how far each test has come. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from serving.rollout.drift import NO_DRIFT, Drift, begun_anew, compared
from serving.rollout.figures import (
    FAULTS,
    KINDS,
    NO_ANSWERS,
    NO_SPREAD,
    NONE_OBSERVED,
    OF_INPUTS,
    Answers,
    Latencies,
    Window,
)
from serving.rollout.martingales import (
    NONE_COUNTED,
    Counted,
    Logs,
    added,
    mixed,
    odds,
    rate,
)
from serving.rollout.rules import Rules

ANY = "any"
# What is tested for being worse, with the part of the risk that each may take.
_WORSE: Mapping[str, tuple[tuple[str, ...], float]] = {
    ANY: (tuple(KINDS), 0.5),
    **{kind: ((kind,), 0.5 / len(KINDS)) for kind in KINDS},
}
# What has to be shown to be sound before the canary answers all.
SOUND: Mapping[str, tuple[str, ...]] = {"faults": FAULTS, "inputs": OF_INPUTS}

# How the odds of a canary that is worse relate to the base's: most weight lies at about twice, and
# some at what shows at a base that never fails.
_MORE = (1.5, 2.0, 3.0, 5.0, 10.0, 100.0, 10_000.0)
_MORE_WEIGHTS = (0.15, 0.3, 0.15, 0.1, 0.1, 0.1, 0.1)
# A sound one's, and what its rate of errors is of the one that is tolerated.
_SAME = (1.0, 0.5)
_FEW = (0.5, 0.1, 0.001)
_SOUND_WEIGHTS = (0.35, 0.15, 0.15, 0.1, 0.25)
# Of requests slower than a bound that a share of them may exceed: how large that share is else.
_SLOWER = {"p50": (0.6, 0.75, 0.95), "p99": (0.02, 0.05, 0.2, 0.6)}
_QUANTILES = {"p50": 0.5, "p99": 0.99}
_NAMES = {"p50": "median latency", "p99": "99th percentile of latency"}
# Of all the risk of rolling a good one back, what each rule may take; latencies share theirs. The
# rest is that of drift.
_ERRORS_PART = 0.5
_NONFINITE_PART = 0.1
_SLOWER_PART = 0.3
DRIFT_PART = 0.1
# Of the proof that a version is too slow, what one comparison may add: requests of one moment are
# slow together, so that two at least have to show it. A ratio that is cut stays below its mean.
_MOST_OF_ONE = 0.55


@dataclass(frozen=True, slots=True)
class Comparison:
    """Of one quantile of latency. ``logs``: how far the test has come; ``canary``, ``base``: since
    there were enough to compare last."""

    logs: Logs
    canary: Latencies = NONE_OBSERVED
    base: Latencies = NONE_OBSERVED


@dataclass(frozen=True, slots=True)
class Evidence:
    """``canary``, ``base``: all that they did in the rollout; latencies are not kept in them.
    ``worse``, ``nonfinite``, ``sound``, ``slower``: how far each test has come. ``drift``: of its
    outputs, in this step."""

    canary: Answers = NO_ANSWERS
    base: Answers = NO_ANSWERS
    deaths: int = 0
    # Requests to the canary, all in a row, that failed; and the base's since the first of them.
    failed_in_row: int = 0
    base_in_row: Counted = NONE_COUNTED
    worse: Mapping[str, Logs] = field(
        default_factory=lambda: {name: (0.0,) * len(_MORE) for name in _WORSE}
    )
    nonfinite: Logs = (0.0,) * len(_MORE)
    sound: Mapping[str, Logs] = field(
        default_factory=lambda: {name: (0.0,) * len(_SOUND_WEIGHTS) for name in SOUND}
    )
    slower: Mapping[str, Comparison] = field(
        default_factory=lambda: {
            name: Comparison((0.0,) * len(shares)) for name, shares in _SLOWER.items()
        }
    )
    drift: Drift = NO_DRIFT


NO_EVIDENCE = Evidence()


def after(evidence: Evidence, window: Window, rules: Rules) -> Evidence:
    """The evidence with another window, which began where the last one ended."""
    canary, base = window.canary, window.base
    return Evidence(
        canary=_summed(evidence.canary, canary),
        base=_summed(evidence.base, base),
        deaths=evidence.deaths + window.deaths,
        **_in_row(evidence, window),
        worse={
            name: added(logs, _worse(kinds, window))
            for (name, logs), (kinds, _) in zip(
                evidence.worse.items(), _WORSE.values(), strict=True
            )
        },
        nonfinite=added(
            evidence.nonfinite,
            odds(canary.counted_nonfinite, base.counted_nonfinite, _MORE, 1.0),
        ),
        sound={
            name: added(logs, _sound(SOUND[name], window, rules))
            for name, logs in evidence.sound.items()
        },
        slower={
            name: _compared(name, comparison, window, rules)
            for name, comparison in evidence.slower.items()
        },
        drift=compared(evidence.drift, window, rules, rules.alpha * DRIFT_PART),
    )


def in_next_step(evidence: Evidence) -> Evidence:
    """Of another share of the requests: what outputs are like is compared anew, for both versions
    have other parts of the day's requests then."""
    return replace(evidence, drift=begun_anew(evidence.drift))


def _summed(before: Answers, now: Answers) -> Answers:
    plain = replace(now, latencies=NONE_OBSERVED, classes=NO_SPREAD, scores=NO_SPREAD, ever=0)
    return before + plain


def _in_row(evidence: Evidence, window: Window) -> Mapping[str, Any]:
    failed, base = window.canary.counted(tuple(KINDS)), window.base.counted(tuple(KINDS))
    if failed.errors < failed.requests:
        return {"failed_in_row": 0, "base_in_row": NONE_COUNTED}
    in_row = evidence.failed_in_row + failed.errors
    return {
        "failed_in_row": in_row,
        "base_in_row": evidence.base_in_row + base if in_row else NONE_COUNTED,
    }


def _worse(kinds: tuple[str, ...], window: Window) -> Logs:
    return odds(window.canary.counted(kinds), window.base.counted(kinds), _MORE, 1.0)


def _sound(kinds: tuple[str, ...], window: Window, rules: Rules) -> Logs:
    canary = window.canary.counted(kinds)
    ratios = odds(canary, window.base.counted(kinds), _SAME, rules.errors_factor)
    tolerated = rules.errors_tolerated
    return ratios + rate(canary, [part * tolerated for part in _FEW], tolerated)


def _compared(name: str, before: Comparison, window: Window, rules: Rules) -> Comparison:
    canary, base = before.canary + window.canary.latencies, before.base + window.base.latencies
    needed = rules.p50_count if name == "p50" else rules.p99_count
    if min(canary.count, base.count) < needed:
        return Comparison(before.logs, canary, base)
    factor = rules.p50_factor if name == "p50" else rules.p99_factor
    share = _QUANTILES[name]
    usual = base.bucket_of(share)
    slow = canary.above(max(factor * usual, usual + rules.slack_s))
    if slow is None:
        return Comparison(before.logs)
    more = rate(slow, _SLOWER[name], 1 - share)
    return Comparison(added(before.logs, more, _MOST_OF_ONE * _needed(_slow_risk(rules))))


# What it comes to.


def _needed(risk: float) -> float:
    return -math.log(risk)


def _slow_risk(rules: Rules) -> float:
    return rules.alpha * _SLOWER_PART / len(_SLOWER)


def worse_errors(evidence: Evidence, rules: Rules) -> str | None:
    """The kind of errors (or ``ANY``) of which the canary has too many to be as good as the base;
    the clearest; None: of none."""
    found = {}
    for name, (kinds, part) in _WORSE.items():
        needed = _needed(rules.alpha * _ERRORS_PART * part)
        strength = mixed(evidence.worse[name], _MORE_WEIGHTS)
        enough = evidence.canary.counted(kinds).errors >= rules.errors_floor
        if enough and strength >= needed:
            # A kind of its own says more than all of them together.
            found[name] = (name != ANY, strength)
    return max(found, key=lambda name: found[name], default=None)


def more_nonfinite(evidence: Evidence, rules: Rules) -> bool:
    """Whether the canary gives too many answers with NaN or infinity to be as good as the base."""
    enough = evidence.canary.nonfinite >= rules.errors_floor
    needed = _needed(rules.alpha * _NONFINITE_PART)
    return rules.nonfinite and enough and mixed(evidence.nonfinite, _MORE_WEIGHTS) >= needed


def slower(evidence: Evidence, rules: Rules) -> str | None:
    """What of its latency is too far above the base's, in words."""
    needed = _needed(_slow_risk(rules))
    for name, comparison in evidence.slower.items():
        shares = _SLOWER[name]
        if mixed(comparison.logs, [1 / len(shares)] * len(shares)) >= needed:
            return _NAMES[name]
    return None


def missing(evidence: Evidence, rules: Rules) -> float:
    """How much of the proof is missing that the canary is not too bad, 0 to 1."""
    needed = _needed(rules.alpha)
    found = min(mixed(logs, _SOUND_WEIGHTS) for logs in evidence.sound.values())
    return max(0.0, min(1.0, 1 - found / needed))
