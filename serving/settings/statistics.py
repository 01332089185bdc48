"""The settings of statistics of what is served: whether they are made, of how much, and what is
kept."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from serving.settings.sections import Count, Factor, Seconds, Section

_MIB = 1024 * 1024


class StatisticsSettings(Section):
    enabled: bool | Literal["auto"] = Field(
        default="auto",
        description="Make statistics of the requests and answers of every version. `auto`: where"
        " the extra `serving[statistics]` is installed.",
    )
    samples_per_second: Factor = Field(
        default=50.0,
        description="Requests of a version that are sampled for them, at most, a second (0: all,"
        " whatever that costs, also beyond the two settings below).",
    )
    max_samples_per_second: Annotated[Factor, Field(gt=0)] = Field(
        default=500.0, description="The same of all versions together."
    )
    max_values_per_second: Annotated[Factor, Field(gt=0)] = Field(
        default=250_000.0,
        description="Elements of all their tensors, at most, a second; a text counts for sixteen."
        " A request with more is sampled now and then, and none for a while after.",
    )
    max_features: Annotated[Count, Field(le=4096)] = Field(
        default=256,
        description="Features of a version's inputs, and of its outputs; what is beyond is left"
        " out and counted.",
    )
    max_window_bytes: Annotated[Count, Field(ge=64 * 1024, le=_MIB)] = Field(
        default=_MIB, description="Memory for a window of one version."
    )
    memory_bytes: Annotated[Count, Field(ge=_MIB)] = Field(
        default=256 * _MIB,
        description="Memory for the windows of all versions, of which up to a quarter keeps the"
        " schemas and baselines that they are held against; samples beyond are left out until"
        " other versions are idle.",
    )
    window_s: Annotated[Seconds, Field(ge=1, le=3600)] = Field(
        default=60.0,
        description="How long a window is, the shortest that is checked (seconds). Hours and days"
        " are made of them.",
    )
    keep_windows: Annotated[Count, Field(le=1440)] = Field(
        default=60, description="Windows of each version that are kept."
    )
    keep_hours: Annotated[Count, Field(le=24 * 31)] = Field(
        default=48, description="Hours of each version that are kept."
    )
    keep_days: Annotated[Count, Field(le=366)] = Field(
        default=30,
        description="Days of each version that are kept; for so long also what is known of"
        " versions that are gone.",
    )
