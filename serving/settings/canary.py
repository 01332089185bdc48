"""The section of settings for rollouts: their steps, and by what a canary is judged."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from serving.settings.sections import Count, Seconds, SecondsOrZero, Section, Share
from serving.step_shares import WHOLE, why_no_steps


def _numbers(value: object) -> object:
    """A list may be written as one string with commas (environment, flags)."""
    if not isinstance(value, str):
        return tuple(value) if isinstance(value, list) else value
    return tuple(_number(word.strip()) for word in value.split(","))


def _number(word: str) -> int:
    if not (word.isascii() and word.isdecimal() and len(word) <= len(str(WHOLE))):
        raise ValueError(f"a step is a share in percent, 1 to 100, got '{word[:64]}'")
    return int(word)


def _checked(shares: tuple[int, ...]) -> tuple[int, ...]:
    why = why_no_steps(shares)
    if why is not None:
        raise ValueError(why)
    return shares


StepShares = Annotated[
    tuple[Annotated[int, Field(strict=True)], ...],
    BeforeValidator(_numbers),
    AfterValidator(_checked),
]
_Factor = Annotated[float, Field(gt=1, le=1000)]


class DriftSettings(Section):
    classes: Share = Field(
        default=0.0,
        description="How far the share of any class among a new version's answers may be from that"
        " of the one before, 0 to 1; 0: not looked at.",
    )
    scores: Share = Field(
        default=0.0,
        description="The same for scores: the largest difference of their cumulative distributions"
        " (Kolmogorov's distance), over a fixed histogram; 0: not looked at.",
    )
    inputs: Share = Field(
        default=0.0,
        description="How far any feature of what a new version is asked may be from what the one"
        " before is asked, by statistics (`statistics.enabled`): TFX's distances, 0 to 1; 0: not"
        " looked at.",
    )
    outputs: Share = Field(
        default=0.0,
        description="The same for each feature of what they answer.",
    )
    min_answers: Count = Field(
        default=500,
        description="Answers of each version in a step, of features those that statistics were made"
        " of, before distributions are compared; the next step waits for them.",
    )

    @property
    def by_statistics(self) -> bool:
        return self.inputs > 0 or self.outputs > 0


class CanarySettings(Section):
    automatic: bool = Field(
        default=False,
        description="Have every new version of every model take over by a rollout, never at once:"
        " the version that answers stays until the new one is promoted.",
    )
    newer: Literal["waits", "replaces"] = Field(
        default="waits",
        description="What a version does that comes while a rollout of an older one is under way,"
        " where `canary.automatic` is on.",
    )
    steps: StepShares = Field(
        default=(1, 5, 25, 50, WHOLE),
        description="Percent of the requests that the new version answers, step by step; at 100 it"
        " is promoted.",
    )
    every_s: SecondsOrZero = Field(
        default=600.0, description="How long a step lasts, at least (seconds)."
    )
    sticky: Annotated[str, Field(pattern=r"^[!-~]{0,255}$")] = Field(
        default="",
        description="What keeps a client on its version in rollouts that name nothing else: a"
        " header, a key of gRPC's metadata or a request's parameter.",
    )
    min_requests: Count = Field(
        default=50, description="How many requests the new version answers in a step, at least."
    )
    window_s: Annotated[Seconds, Field(ge=0.1, le=3600)] = Field(
        default=5.0,
        description="Between two judgements: both versions' figures of that time are compared"
        " (seconds).",
    )
    confidence: Annotated[Share, Field(ge=0.5, lt=1)] = Field(
        default=0.995,
        description="In so many of all rollouts a version that is as good as the one before is not"
        " rolled back, and one that is too bad not promoted, at least (0.5 to below 1).",
    )
    errors_factor: _Factor = Field(
        default=2.0,
        description="Too bad is a version whose odds to fail are so many times those of the one"
        " before, or more.",
    )
    errors_tolerated: Annotated[Share, Field(gt=0, lt=1)] = Field(
        default=0.001,
        description="No version is too bad while fewer of its requests fail than this share; the"
        " smaller it is, the more requests a promotion takes (0 to 1).",
    )
    errors_floor: Count = Field(
        default=3, description="With fewer errors a version is never rolled back for them."
    )
    p50_factor: _Factor = Field(
        default=2.0,
        description="Too slow is a version of which more than half of the requests take longer than"
        " so many times the median of the one before.",
    )
    p99_factor: _Factor = Field(
        default=3.0,
        description="Or one in a hundred longer than so many times its 99th percentile.",
    )
    latency_slack_s: SecondsOrZero = Field(
        default=0.001, description="And longer than either by so much, at least (seconds)."
    )
    p50_requests: Count = Field(
        default=100,
        description="Requests of each version between two comparisons of medians; two at least"
        " decide.",
    )
    p99_requests: Count = Field(
        default=1000,
        description="The same for 99th percentiles.",
    )
    failing_requests: Count = Field(
        default=5,
        description="So many requests in a row that all fail end a rollout at once, where those of"
        " the version before do not.",
    )
    nonfinite: bool = Field(
        default=True,
        description="Roll a version back that gives answers with NaN or infinity in a floating"
        " output more often than the one before.",
    )
    drift: DriftSettings = DriftSettings()
