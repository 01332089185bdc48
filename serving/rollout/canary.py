"""One rollout as a value, and what becomes of it: pure functions of it, of what was seen and of
what commands say.

```
            ready                  judged                     judged
 WAITING ----------> RUNNING (step 1) ----> ... (step n) ----------> PROMOTED
    |                |      ^  |
    |          pause v      |  | judged: bad; its process died; every request fails
    |              PAUSED --+  +--> ROLLED_BACK
    +--> ABORTED by command, ENDED by what else changes the route
```
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from serving.rollout.evidence import NO_EVIDENCE, Evidence, after, in_next_step
from serving.rollout.figures import Window
from serving.rollout.judge import Decision, Progress, Verdict, hard_signal, judge
from serving.rollout.rules import BY_DEFAULT, Rules, Steps
from serving.step_shares import WHOLE


class Phase(Enum):
    WAITING = "waiting"
    RUNNING = "running"
    PAUSED = "paused"
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled back"
    ABORTED = "aborted"
    ENDED = "ended"


UNDER_WAY = frozenset({Phase.WAITING, Phase.RUNNING, Phase.PAUSED})


@dataclass(frozen=True, slots=True)
class Rollout:
    """Of ``candidate`` in place of ``base``, which answers by default until it is promoted.

    ``step``: the place in ``steps.shares``; ``spent_s``, ``answered``: of this step, how long it
    lasted, pauses left out, and how many answers the canary gave. ``reason``: why it is where it
    is. ``leaves_route``: it has ended because the route is somebody else's matter now. ``holds``:
    once it is promoted it has a weight, so that no other takes over by itself. ``by``: who started
    it; ``started``, ``changed``: seconds since the epoch.
    """

    model: str
    candidate: int
    base: int
    steps: Steps = BY_DEFAULT
    sticky: str = ""
    by: str = ""
    phase: Phase = Phase.WAITING
    step: int = 0
    spent_s: float = 0.0
    answered: int = 0
    reason: str = ""
    leaves_route: bool = False
    holds: bool = True
    started: float = 0.0
    changed: float = 0.0
    evidence: Evidence = NO_EVIDENCE

    @property
    def under_way(self) -> bool:
        return self.phase in UNDER_WAY

    @property
    def share(self) -> int:
        """Percent of the requests that the canary answers."""
        if self.phase is Phase.PROMOTED:
            return WHOLE
        shares = self.steps.shares
        return shares[self.step] if self.phase in (Phase.RUNNING, Phase.PAUSED) else 0

    @property
    def weights(self) -> dict[int, int] | None:
        """What the model's route is to be divided by: once it is over the version that stays has
        all, so that no other takes over by itself; {}: it is not, for the one that was promoted
        answers without. None: as it is."""
        if self.leaves_route:
            return None
        if self.phase is Phase.PROMOTED:
            return {self.candidate: WHOLE} if self.holds else {}
        if not self.under_way:
            return {self.base: WHOLE}
        return {self.base: WHOLE - self.share, self.candidate: self.share}


@dataclass(frozen=True, slots=True)
class Facts:
    """Of a model, as it stands. ``held``: versions that may not answer, for their signature.
    ``gone``: which of a rollout's versions are not there any more, and why; ``unloaded``: those of
    them by command; ``failed``: version -> why it can't answer; ``weights``: of its route, as they
    were set last, None while the last command about them is under way."""

    ready: frozenset[int] = frozenset()
    held: frozenset[int] = frozenset()
    gone: Mapping[int, str] = field(default_factory=dict)
    unloaded: frozenset[int] = frozenset()
    failed: Mapping[int, str] = field(default_factory=dict)
    pinned: int | None = None
    weights: Mapping[int, int] | None = None


def turn(
    rollout: Rollout,
    facts: Facts,
    window: Window | None,
    seconds: float,
    rules: Rules,
    now: float,
) -> Rollout:
    """The rollout after ``seconds`` more. ``window``: what both versions did in them, None while
    it is not over yet. ``facts``: of after the last weights came into force."""
    if not rollout.under_way:
        return rollout
    ended = _ended(rollout, facts, now)
    if ended is not None:
        return ended
    if rollout.candidate in facts.failed:
        reason = f"version {rollout.candidate} can't answer: {facts.failed[rollout.candidate]}"
        return _to(rollout, Phase.ROLLED_BACK, reason, now)
    if rollout.phase is Phase.WAITING:
        return _begun(rollout, facts, now)
    if window is None:
        return rollout
    return _judged(_seen(rollout, window, seconds, rules), rules, now)


def at_once(rollout: Rollout, window: Window, rules: Rules, now: float) -> Rollout:
    """The rollout, rolled back where ``window``, which goes on, shows what ends it at once."""
    if rollout.phase not in (Phase.RUNNING, Phase.PAUSED):
        return rollout
    signal = hard_signal(after(rollout.evidence, window, rules), rules)
    if signal is None:
        return rollout
    return _to(_seen(rollout, window, 0.0, rules), Phase.ROLLED_BACK, signal, now)


def _ended(rollout: Rollout, facts: Facts, now: float) -> Rollout | None:
    """As it ends by what else was done to the model; None: by nothing."""
    if facts.pinned is not None:
        return _to(rollout, Phase.ENDED, f"version {facts.pinned} was pinned", now)
    if facts.weights is not None and facts.weights != rollout.weights:
        return left(rollout, _set_otherwise(facts.weights), now)
    if rollout.base in facts.gone:
        return _without_base(rollout, facts, now)
    if rollout.candidate in facts.gone:
        return _to(rollout, Phase.ENDED, facts.gone[rollout.candidate], now)
    return None


def _without_base(rollout: Rollout, facts: Facts, now: float) -> Rollout:
    """What is not shown to be sound answers nobody for that: the base comes back, where only a
    command took it, and not all of the model."""
    why = facts.gone[rollout.base]
    if rollout.base not in facts.unloaded or rollout.candidate in facts.gone:
        return left(rollout, why, now)
    reason = f"{why}: it is loaded again, for version {rollout.candidate} was not promoted"
    return _to(rollout, Phase.ROLLED_BACK, reason, now)


def _set_otherwise(weights: Mapping[int, int]) -> str:
    if not weights:
        return "the route's weights were taken away"
    told = " ".join(f"{version}={weight}" for version, weight in weights.items())
    return f"the route's weights were set to {told}"


def left(rollout: Rollout, reason: str, now: float) -> Rollout:
    """It ends, and the route stays as it is."""
    return replace(_to(rollout, Phase.ENDED, reason, now), leaves_route=True)


def _begun(rollout: Rollout, facts: Facts, now: float) -> Rollout:
    if rollout.candidate in facts.held:
        reason = f"waits until the signature of version {rollout.candidate} is accepted"
        return replace(rollout, reason=reason)
    if rollout.candidate not in facts.ready:
        return replace(rollout, reason=f"waits until version {rollout.candidate} is ready")
    if rollout.steps.shares[0] == WHOLE:
        return _to(rollout, Phase.PROMOTED, "its only step is 100", now)
    return _to(rollout, Phase.RUNNING, f"version {rollout.candidate} is ready", now)


def _seen(rollout: Rollout, window: Window, seconds: float, rules: Rules) -> Rollout:
    """In a pause the evidence grows, the step does not."""
    evidence = after(rollout.evidence, window, rules)
    if rollout.phase is Phase.PAUSED:
        return replace(rollout, evidence=evidence)
    return replace(
        rollout,
        evidence=evidence,
        spent_s=rollout.spent_s + seconds,
        answered=rollout.answered + window.canary.requests,
    )


def _judged(rollout: Rollout, rules: Rules, now: float) -> Rollout:
    verdict = judge(rollout.evidence, rules, _progress(rollout))
    if verdict.decision is Decision.ROLL_BACK:
        return _to(rollout, Phase.ROLLED_BACK, verdict.reason, now)
    if rollout.phase is Phase.PAUSED:
        return rollout
    return _moved(rollout, verdict, now)


def _moved(rollout: Rollout, verdict: Verdict, now: float) -> Rollout:
    if verdict.decision is Decision.KEEP:
        return replace(rollout, reason=verdict.reason)
    if verdict.decision is Decision.PROMOTE:
        return _to(rollout, Phase.PROMOTED, verdict.reason, now)
    next_step = replace(
        rollout,
        step=rollout.step + 1,
        spent_s=0.0,
        answered=0,
        evidence=in_next_step(rollout.evidence),
    )
    return _to(next_step, Phase.RUNNING, verdict.reason, now)


def _progress(rollout: Rollout) -> Progress:
    steps = rollout.steps
    return Progress(
        rollout.spent_s,
        rollout.answered,
        steps.every_s,
        steps.min_requests,
        is_last=steps.shares[rollout.step + 1] == WHOLE,
    )


def _to(rollout: Rollout, phase: Phase, reason: str, now: float) -> Rollout:
    return replace(rollout, phase=phase, reason=reason, changed=now)


# What commands do.


def pause(rollout: Rollout, by: str, now: float) -> Rollout:
    """Raises ValueError, in words, where it can't be."""
    if rollout.phase is not Phase.RUNNING:
        raise ValueError(f"the rollout is {rollout.phase.value}: only one that runs can be paused")
    return _to(rollout, Phase.PAUSED, f"paused by {by}", now)


def resume(rollout: Rollout, by: str, now: float) -> Rollout:
    """Raises ValueError, in words, where it can't be."""
    if rollout.phase is not Phase.PAUSED:
        raise ValueError(f"the rollout is {rollout.phase.value}, not paused")
    return _to(rollout, Phase.RUNNING, f"resumed by {by}", now)


def promote(rollout: Rollout, by: str, now: float) -> Rollout:
    """Without waiting for the judge. Raises ValueError, in words, where it can't be."""
    if rollout.phase not in (Phase.RUNNING, Phase.PAUSED):
        raise ValueError(f"the rollout is {rollout.phase.value}: there is nothing to promote")
    return _to(rollout, Phase.PROMOTED, f"promoted by {by}", now)


def abort(rollout: Rollout, by: str, now: float) -> Rollout:
    """Raises ValueError, in words, where it has ended already."""
    if not rollout.under_way:
        raise ValueError(f"the rollout is {rollout.phase.value} already")
    return _to(rollout, Phase.ABORTED, f"aborted by {by}", now)


def replaced(rollout: Rollout, newer: int, now: float) -> Rollout:
    """A rollout of ``newer`` takes its place."""
    return left(rollout, f"version {newer} takes its place", now)


def refused(rollout: Rollout, why: str, now: float) -> Rollout:
    """The route could not be set as it wants it."""
    return left(rollout, f"the route could not be set: {why}", now)
