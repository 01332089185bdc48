"""The settings of gates: what a new version has to pass before it takes traffic."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from serving.settings.sections import Count, CountOrAuto, Factor, Seconds, Section


class GatesSettings(Section):
    safe_to_serve: bool = Field(
        default=False,
        description="Have every new version run the requests that the answering one had lately,"
        " in a process of its own, before it takes traffic; a model's own configuration may say"
        " otherwise.",
    )
    file: Path | None = Field(
        default=None,
        description="YAML file with gates by model, which go before those of a model's own"
        " configuration. Read at the start.",
    )
    p99_factor: Factor = Field(
        default=2.0,
        description="How many times as long as the answering version a new one may take for the"
        " same requests, by the 99th percentile (0: as long as it likes).",
    )
    min_examples: Count = Field(
        default=100,
        description="Examples that an evaluation set has to have for a version to be blessed.",
    )
    timeout_s: Seconds = Field(
        default=300.0, description="For all gates of one version together (seconds)."
    )
    parallel: CountOrAuto = Field(
        default=0,
        description="Versions that may be judged at once, of different models (0: a quarter of the"
        " CPUs that may be used, 1 to 4).",
    )
    replay: bool = Field(
        default=True,
        description="Keep requests of answering versions in memory for new ones to run, while a"
        " gate asks for them.",
    )
    replay_requests: Annotated[Count, Field(le=4096)] = Field(
        default=64, description="Requests of a model that are kept for that."
    )
    replay_bytes: Annotated[Count, Field(le=2**31)] = Field(
        default=64 * 1024 * 1024,
        description="Bytes that they may have, those of all models together.",
    )
