"""Rollouts as the state directory keeps them: JSON, read strictly. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from serving.rollout.canary import Phase, Rollout
from serving.rollout.drift import Drift
from serving.rollout.evidence import NO_EVIDENCE, Comparison, Evidence
from serving.rollout.figures import KINDS, Answers
from serving.rollout.rules import Steps
from serving.step_shares import MOST_STEPS, why_no_steps
from serving.strict import MOST, Strict, StrictError, few

_FORM = 1
# More than any gateway has under way or remembers: no more begin, and of those that have ended the
# oldest are forgotten.
MOST_ROLLOUTS = 1000
_LARGEST = 2**63 - 1

_Version = Annotated[int, Field(gt=0, le=_LARGEST)]
_Count = Annotated[int, Field(ge=0, le=_LARGEST)]
_Seconds = Annotated[float, Field(ge=0, lt=1e12)]
_Text = Annotated[str, Field(max_length=MOST)]
_Logs = Annotated[list[float], few(16)]


class _Answers(Strict):
    requests: _Count
    errors: Annotated[dict[str, _Count], few(len(KINDS))]
    inspected: _Count = 0
    nonfinite: _Count = 0


class _Evidence(Strict):
    canary: _Answers
    base: _Answers
    deaths: _Count
    worse: Annotated[dict[str, _Logs], few(16)]
    nonfinite: _Logs = Field(default_factory=list)
    sound: Annotated[dict[str, _Logs], few(16)]
    slower: Annotated[dict[str, _Logs], few(16)]
    drift_looks: _Count = 0


class _Rollout(Strict):
    model: _Text
    candidate: _Version
    base: _Version
    shares: Annotated[list[int], few(MOST_STEPS)]
    every_s: _Seconds
    min_requests: _Count
    sticky: _Text
    by: _Text
    phase: _Text
    step: _Count
    spent_s: _Seconds
    answered: _Count
    reason: _Text
    leaves_route: bool
    holds: bool = True
    started: _Seconds
    changed: _Seconds
    evidence: _Evidence


def document(rollouts: Mapping[str, Rollout]) -> dict[str, Any]:
    """Of the last rollout of each model; of more than ``MOST_ROLLOUTS`` those under way, and then
    the newest."""
    kept = sorted(rollouts.values(), key=lambda one: (one.under_way, one.changed))
    return {"form": _FORM, "rollouts": [_fields(one) for one in kept[-MOST_ROLLOUTS:]]}


def _fields(one: Rollout) -> dict[str, Any]:
    return {
        "model": one.model,
        "candidate": one.candidate,
        "base": one.base,
        "shares": list(one.steps.shares),
        "every_s": one.steps.every_s,
        "min_requests": one.steps.min_requests,
        "sticky": one.sticky,
        "by": one.by,
        "phase": one.phase.value,
        "step": one.step,
        "spent_s": one.spent_s,
        "answered": one.answered,
        "reason": one.reason,
        "leaves_route": one.leaves_route,
        "holds": one.holds,
        "started": one.started,
        "changed": one.changed,
        "evidence": _evidence_fields(one.evidence),
    }


def _evidence_fields(evidence: Evidence) -> dict[str, Any]:
    """Latencies that were not enough to compare yet, rows of failures, and how outputs are
    distributed, begin anew; looks at the last take what they took of the risk."""
    return {
        "canary": _answers_fields(evidence.canary),
        "base": _answers_fields(evidence.base),
        "deaths": evidence.deaths,
        "worse": {name: list(logs) for name, logs in evidence.worse.items()},
        "nonfinite": list(evidence.nonfinite),
        "sound": {name: list(logs) for name, logs in evidence.sound.items()},
        "slower": {name: list(one.logs) for name, one in evidence.slower.items()},
        "drift_looks": evidence.drift.looks,
    }


def _answers_fields(answers: Answers) -> dict[str, Any]:
    return {
        "requests": answers.requests,
        "errors": dict(answers.errors),
        "inspected": answers.inspected,
        "nonfinite": answers.nonfinite,
    }


def from_document(found: object) -> tuple[dict[str, Rollout], tuple[str, ...]]:
    """The rollouts by model; and in words what could not be taken over."""
    if found is None:
        return {}, ()
    if not isinstance(found, dict) or found.get("form") != _FORM:
        return {}, ("it has another form than this version writes",)
    entries = found.get("rollouts")
    if not isinstance(entries, list):
        return {}, ("its rollouts are not a list",)
    rollouts, wrong = {}, []
    for entry in entries[:MOST_ROLLOUTS]:
        try:
            one = _rollout_of(_Rollout.read(entry, "a rollout"))
        except StrictError as error:
            wrong.append(str(error))
        else:
            rollouts[one.model] = one
    return rollouts, tuple(wrong)


def _rollout_of(read: _Rollout) -> Rollout:
    """Raises StrictError."""
    shares = tuple(read.shares)
    why = why_no_steps(shares)
    if why is not None:
        raise StrictError(f"a rollout's steps: {why}")
    phase = next((one for one in Phase if one.value == read.phase), None)
    if phase is None:
        raise StrictError(f"a rollout has the unknown phase '{read.phase}'")
    if read.step >= max(1, len(shares) - 1) and phase is not Phase.PROMOTED:
        raise StrictError("a rollout's step is beyond its steps")
    return Rollout(
        **{
            **{name: getattr(read, name) for name in _PLAIN},
            "steps": Steps(shares, read.every_s, read.min_requests),
            "phase": phase,
            "evidence": _evidence_of(read.evidence),
        }
    )


_PLAIN = (
    *("model", "candidate", "base", "sticky", "by", "step", "spent_s", "answered"),
    *("reason", "leaves_route", "holds", "started", "changed"),
)


def _evidence_of(read: _Evidence) -> Evidence:
    """Tests that are not this version's begin anew."""
    fresh = NO_EVIDENCE
    slower = {name: tuple(logs) for name, logs in read.slower.items()}
    return replace(
        fresh,
        canary=_answers_of(read.canary),
        base=_answers_of(read.base),
        deaths=read.deaths,
        worse=_taken(fresh.worse, read.worse),
        nonfinite=_taken({"": fresh.nonfinite}, {"": read.nonfinite})[""],
        sound=_taken(fresh.sound, read.sound),
        slower={
            name: Comparison(slower[name]) if len(slower.get(name, ())) == len(one.logs) else one
            for name, one in fresh.slower.items()
        },
        drift=Drift(looks=read.drift_looks),
    )


def _answers_of(read: _Answers) -> Answers:
    return Answers(
        read.requests, dict(read.errors), inspected=read.inspected, nonfinite=read.nonfinite
    )


def _taken(
    fresh: Mapping[str, tuple[float, ...]], kept: Mapping[str, list[float]]
) -> dict[str, tuple[float, ...]]:
    return {
        name: tuple(kept[name]) if len(kept.get(name, ())) == len(logs) else logs
        for name, logs in fresh.items()
    }
