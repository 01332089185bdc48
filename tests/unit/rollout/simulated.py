"""Rollouts played through with dice: what requests do is drawn, what is decided is not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from serving.rollout.evidence import NO_EVIDENCE, after
from serving.rollout.figures import Answers, Window
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
