"""Rollouts played through with dice: what requests do is drawn, what is decided is not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from serving.rollout.drift import NO_DRIFT, Drift, compared, drifted
from serving.rollout.evidence import DRIFT_PART, NO_EVIDENCE, after
from serving.rollout.figures import Answers, Latencies, Spread, Window
from serving.rollout.judge import Decision, Progress, judge
from serving.rollout.rules import Rules

SHARES = (1, 5, 25, 50)
# A rollout that has not ended by then counts as one that never does.
MOST_WINDOWS = 4000


@dataclass(frozen=True)
class Play:
    """``base``, ``canary``: the share of their requests that fails. ``window``: requests to both
    in a window, ``windows``: how many of these a step lasts at least."""

    base: float
    canary: float
    window: int
    windows: int = 10


@dataclass(frozen=True)
class Ended:
    """``requests``: to the canary, until it ended; ``share``: percent that it had then."""

    decision: Decision
    requests: int
    share: int
    reason: str


def played(play: Play, rules: Rules, seed: int) -> Ended:
    dice = np.random.default_rng(seed)
    evidence, seen = NO_EVIDENCE, 0
    for step, share in enumerate(SHARES):
        canary = max(1, play.window * share // 100)
        base, requests = play.window - canary, 0
        for window in range(1, MOST_WINDOWS):
            drawn = Window(_answers(dice, canary, play.canary), _answers(dice, base, play.base))
            evidence = after(evidence, drawn, rules)
            requests, seen = requests + canary, seen + 1
            last = step == len(SHARES) - 1
            verdict = judge(evidence, rules, Progress(window, requests, play.windows, 50, last))
            if verdict.decision in (Decision.ROLL_BACK, Decision.PROMOTE) or seen > MOST_WINDOWS:
                total = evidence.canary.requests
                return Ended(verdict.decision, total, share, verdict.reason)
            if verdict.decision is Decision.ADVANCE:
                break
    raise AssertionError("a last step ends or goes on for ever")


def _answers(dice: np.random.Generator, requests: int, failing: float) -> Answers:
    errors = int(dice.binomial(requests, failing))
    return Answers(requests, {"internal": errors} if errors else {})


# Latencies of a window's requests: lognormal, as most services' are; counted as the core does.
BOUNDS = tuple(2.0**-15 * 2 ** (place // 16) * (1 + place % 16 / 16) for place in range(337))


@dataclass(frozen=True)
class Pace:
    """``factor``: how many times as long as the base's the canary's requests take; ``hiccups``: the
    share of windows in which all of its requests take ten times as long. ``canary``: its requests
    in a window, of the base there are as many. ``median``: the base's, in seconds; ``spread``: of
    the logarithm of all."""

    factor: float = 1.0
    median: float = 0.004
    spread: float = 0.5
    hiccups: float = 0.0
    canary: int = 120
    windows: int = 200


def windows_until_too_slow(pace: Pace, rules: Rules, seed: int) -> int | None:
    """None: it never was, to the judge."""
    dice = np.random.default_rng(seed)
    evidence = NO_EVIDENCE
    for number in range(1, pace.windows + 1):
        factor = pace.factor * (10 if dice.random() < pace.hiccups else 1)
        drawn = Window(_took(dice, pace, factor), _took(dice, pace, 1.0))
        evidence = after(evidence, drawn, rules)
        verdict = judge(evidence, rules, Progress(0, 0, 1e9, 50, is_last=False))
        if verdict.decision is Decision.ROLL_BACK:
            return number
    return None


def _took(dice: np.random.Generator, pace: Pace, factor: float) -> Answers:
    seconds = np.sort(factor * pace.median * dice.lognormal(0.0, pace.spread, pace.canary))
    counts = np.searchsorted(seconds, BOUNDS, side="right").tolist()
    return Answers(pace.canary, {}, Latencies(BOUNDS, (*counts, pace.canary)))


@dataclass(frozen=True)
class Scored:
    """``shift``: how much of the canary's first class is its second instead. ``rows``: of one
    answer, all alike."""

    shift: float = 0.0
    rows: int = 1
    canary: int = 200
    base: int = 800
    windows: int = 50


CLASSES = (0.4, 0.3, 0.2, 0.1)


def drift_of(scored: Scored, rules: Rules, seed: int) -> Drift:
    """After all windows, or the one that shows it."""
    dice = np.random.default_rng(seed)
    drift = NO_DRIFT
    moved = np.array(CLASSES) + np.array((-scored.shift, scored.shift, 0, 0))
    for _ in range(scored.windows):
        canary = dice.multinomial(scored.canary, moved) * scored.rows
        base = dice.multinomial(scored.base, CLASSES) * scored.rows
        window = Window(_spread(canary, scored.rows), _spread(base, scored.rows))
        drift = compared(drift, window, rules, rules.alpha * DRIFT_PART)
        if drifted(drift, rules) is not None:
            break
    return drift


def _spread(counts: np.ndarray, rows: int) -> Answers:
    spread = Spread(tuple(counts.tolist()), int(counts.sum()) * rows)
    return Answers(classes=spread, scores=spread)
