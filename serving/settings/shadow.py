"""The settings of shadows: versions that run copies of requests and answer nobody."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from serving.settings.sections import Count, CountOrAuto, Factor, Seconds, SecondsOrZero, Section


class ShadowSettings(Section):
    copies: Annotated[Count, Field(le=65_536)] = Field(
        default=64,
        description="Copies of requests that a version has at once, from the moment that they are"
        " made until their answers are compared; further ones are dropped.",
    )
    bytes: Count = Field(
        default=64 * 1024 * 1024,
        description="What all copies may hold of requests and answers together, and no more than an"
        " eighth of `limits.process_bytes`.",
    )
    timeout_s: Annotated[Seconds, Field(le=3600)] = Field(
        default=10.0,
        description="How long a copy waits and runs, and an answer is kept to be compared"
        " (seconds).",
    )
    absolute_tolerance: Factor = Field(
        default=1e-5,
        description="Two numbers differ where they are further apart than this and"
        " `shadow.relative_tolerance` allow together.",
    )
    relative_tolerance: Factor = Field(
        default=1e-3, description="So many times the number that was answered."
    )
    examples: Annotated[CountOrAuto, Field(le=1000)] = Field(
        default=10, description="Requests with different answers that are kept of each version."
    )
    example_bytes: Count = Field(
        default=64 * 1024,
        description="Inputs and both answers of one example; of a larger one no tensors are kept.",
    )
    event_every_s: SecondsOrZero = Field(
        default=300.0,
        description="Between two events that tell of a version's differences, at least (seconds).",
    )
