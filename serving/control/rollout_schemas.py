"""What calls about rollouts take and give; see ``schemas``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from serving.control.schemas import Version
from serving.operations import Form
from serving.step_shares import MOST_STEPS, why_no_steps


def _checked(shares: list[int]) -> list[int]:
    why = why_no_steps(tuple(shares))
    if why is not None:
        raise ValueError(why)
    return shares


_Shares = Annotated[
    list[Annotated[int, Field(strict=True, ge=1, le=100)]],
    Field(min_length=1, max_length=MOST_STEPS),
    AfterValidator(_checked),
]


class StartBody(Form):
    """What is left out is as the model's configuration or the settings say (`canary`)."""

    version: Version = Field(description="The version that is to take over.")
    base: Version | None = Field(
        default=None,
        description="The version that it takes over from, and that answers until then; without it"
        " the one that answers now.",
    )
    steps: _Shares | None = Field(
        default=None,
        description="Percent of the requests that the version answers, step by step; the last one"
        " is 100, where it is promoted.",
    )
    every: float | None = Field(
        default=None, ge=0, le=1e9, description="How long a step lasts, at least (seconds)."
    )
    min_requests: int | None = Field(
        default=None,
        ge=1,
        le=2**53,
        strict=True,
        description="How many requests the version answers in a step, at least.",
    )
    sticky: Annotated[str, Field(max_length=255)] | None = Field(
        default=None,
        description="Name of a header, a key of gRPC's metadata or a request's parameter: who sends"
        " the same value again gets the same version.",
    )


class AnswersInfo(Form):
    """What a version did in the rollout."""

    requests: int = Field(description="Answered; those whose callers left are not counted.")
    errors: dict[str, int] = Field(
        description="By kind, where there were any: `internal`, `bad_data` (operators that failed"
        " on their inputs), `unavailable`, `refused` (queue full), `late`, `input`."
    )
    inspected: int = Field(
        description="Answers with floating outputs that were looked at for NaN and infinity."
    )
    nonfinite: int = Field(description="Those of them with any.")


class DriftInfo(Form):
    """How far both versions' distributions are apart in this step, at the last look; null before
    there are answers enough."""

    allowed: float = Field(description="How far they may be, 0 to 1.")
    apart: float | None
    chance: float | None = Field(description="How much of that chance may have made.")
    answers: int = Field(description="Independent answers of the version that has fewer.")
    needed: int = Field(description="How many of each it takes.")
    feature: str | None = Field(
        description="Of `inputs` and `outputs` the feature that is surely farthest; null of others."
    )


class RolloutInfo(Form):
    model: str
    version: int = Field(description="The one that is to take over.")
    base: int = Field(description="The one that it takes over from.")
    phase: Literal["waiting", "running", "paused", "promoted", "rolled back", "aborted", "ended"]
    share: int = Field(description="Percent of the requests that the version answers.")
    step: int = Field(description="The step that it is in, from 1.")
    steps: list[int]
    every: float = Field(description="How long a step lasts, at least (seconds).")
    min_requests: int
    sticky: str = Field(description='What keeps a client on its version; "": nothing does.')
    reason: str = Field(description="Why it is where it is, and what it waits for.")
    by: str = Field(description="Who started it.")
    spent: float = Field(description="Seconds that this step has lasted, without pauses.")
    answered: int = Field(description="Requests that the version answered in this step.")
    proof: float = Field(
        description="How much of the proof there is that it is sound, 0 to 1: it is not promoted"
        " before."
    )
    started: float = Field(description="Seconds since the epoch.")
    changed: float = Field(description="Since when it is in this phase and step.")
    drift: dict[str, DriftInfo] = Field(
        description="By what is compared, `classes`, `scores`, `inputs` and `outputs`, where the"
        " rules say so."
    )
    canary: AnswersInfo
    base_answers: AnswersInfo


class RolloutList(Form):
    rollouts: list[RolloutInfo] = Field(description="The last one of each model, by name.")


class RolloutAnswer(Form):
    """`done` false: the route is still being set, or a version loaded for it."""

    done: bool
    rollout: RolloutInfo
