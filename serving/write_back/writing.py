"""One thing written to MLflow's registry: what is there is read, then what is missing is set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from serving.gates.verdict import WORDS
from serving.write_back.judgement import Judgement
from serving.write_back.promotion import (
    AliasMark,
    AliasStep,
    Outcome,
    Promotion,
    TagsMark,
    alias_step,
    tags_step,
)


class Calls(Protocol):
    """See ``MlflowWriter``."""

    def close(self) -> None: ...
    def aliases(self, model: str) -> Mapping[str, int]: ...
    def set_alias(self, model: str, alias: str, version: int | None) -> None: ...
    def tags(self, model: str, version: int) -> Mapping[str, str]: ...
    def set_tag(self, model: str, version: int, key: str, value: str | None) -> None: ...
    def log_metrics(self, run: str, metrics: Sequence[Mapping[str, object]]) -> None: ...


# Keeps the promotion as it is now; False: another one has taken its place, so nothing is changed.
Keep = Callable[[Promotion], bool]


def write_alias(calls: Calls, promotion: Promotion, mark: AliasMark, keep: Keep) -> AliasStep:
    """Raises MlflowError."""
    found = calls.aliases(promotion.model).get(mark.name)
    step = alias_step(promotion, mark, found)
    if step.begun is not None:
        if not keep(step.begun):
            return replace(step, outcome=Outcome.UNCHANGED)
        calls.set_alias(promotion.model, mark.name, step.to)
    return step


def write_tags(
    calls: Calls, promotion: Promotion, mark: TagsMark, keep: Keep
) -> tuple[Promotion, Outcome, str]:
    """The promotion afterwards, and what came of it, in words. Raises MlflowError."""
    model, version = promotion.model, promotion.candidate
    step = tags_step(promotion, mark, calls.tags(model, version))
    if step.changes:
        if not keep(step.begun):
            return step.after, Outcome.UNCHANGED, ""
        for key, value in step.changes.items():
            calls.set_tag(model, version, key, value)
    return step.after, step.outcome, step.words


def write_judgement(calls: Calls, one: Judgement, tag: str) -> tuple[Outcome, str]:
    """What came of it, in words. ``tag``: the key of the version's tag, "" for none; where it says
    what no gate says, it is somebody else's, and stays. Raises MlflowError."""
    outcome, words = Outcome.UNCHANGED, one.word
    if tag:
        found = calls.tags(one.model, one.version).get(tag)
        if found not in (None, *WORDS):
            outcome = Outcome.LEFT_ALONE
            words = f"{one.word}; tag '{tag}' is '{found[:64]}': somebody else set it, and it stays"
        elif found != one.word:
            calls.set_tag(one.model, one.version, tag, one.word)
            outcome = Outcome.WRITTEN
    if one.run and one.metrics:
        calls.log_metrics(one.run, [_point(one, key, value) for key, value in one.metrics])
        outcome = Outcome.WRITTEN if outcome is Outcome.UNCHANGED else outcome
    return outcome, words


def _point(one: Judgement, key: str, value: float) -> Mapping[str, object]:
    return {"key": key, "value": value, "timestamp": int(one.at * 1000), "step": 0}
