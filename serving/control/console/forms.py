"""What travels over the console's calls; see ``control.schemas``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from serving.control.rollout_schemas import RolloutInfo
from serving.control.schemas import ModelsQuery, Version
from serving.operations import Form

MOST_MODELS = 500
MOST_VERSIONS = 8
MOST_CURVES = 8
_State = Literal["NEW", "LOADING", "WARMING", "READY", "DRAINING", "GONE", "FAILED"]


class OverviewQuery(ModelsQuery):
    limit: int = Field(default=100, ge=1, le=MOST_MODELS, description="So many models at most.")


class FiguresInfo(Form):
    """What a version did in the last step of ten seconds."""

    request_rate: float = Field(description="Requests answered a second.")
    error_rate: float = Field(description="Those of them that failed, a second.")
    p50_ms: float | None = Field(description="Of whole requests; null where none was answered.")
    p99_ms: float | None
    batch_rows: float | None = Field(description="Rows of a run, on average; null without a run.")
    queue_requests: float = Field(description="Waiting at the step's end.")


class OverviewVersion(Form):
    version: int
    state: _State
    reason: str
    share: float | None = Field(
        description="Its part of the requests that name no version, from 0 to 1; null: none."
    )
    shadow: float | None = Field(
        description="The share of these requests of which it runs a copy that nobody gets the"
        " answer of; null: of none."
    )
    queue: int | None = Field(description="Requests that wait now; null: it has no queue.")
    figures: FiguresInfo | None = Field(
        description="Of the last ten seconds; null: nobody asked it, or no curves are kept of it."
    )


class OverviewModel(Form):
    name: str
    states: list[Literal["ready", "loading", "failed", "unloaded"]]
    default: int | None
    pinned: int | None
    reason: str
    aliases: dict[str, int]
    rollout: RolloutInfo | None = Field(description="The one under way; null: none is.")
    versions: list[OverviewVersion] = Field(
        description=f"{MOST_VERSIONS} at most: first those that answer or take part in a rollout,"
        " then those that were asked, that are loading or that failed, the newest first."
    )
    versions_total: int = Field(description="Of the model, on disk or loaded.")


class ModelCounts(Form):
    """Models of which each is true; one may be several."""

    total: int
    ready: int
    loading: int
    failed: int
    unloaded: int


class Overview(Form):
    at: float = Field(description="Seconds since the epoch.")
    name: str
    version: str
    ready: bool = Field(description="Whether requests should be sent here.")
    http_port: int = Field(description="Where models answer.")
    statistics: bool = Field(
        description="Whether statistics of what goes in and comes out are kept."
    )
    counts: ModelCounts
    request_rate: float = Field(description="Of all models, in the last ten seconds.")
    error_rate: float
    models: list[OverviewModel]
    next: str | None = Field(description="The `after` that goes on from here; null: that was all.")


class CurvesQuery(Form):
    model: Annotated[str, Field(min_length=1, max_length=255)] = Field(description="Its name.")
    version: int | None = Field(
        default=None,
        ge=1,
        le=2**63 - 1,
        description=f"One version; without it the {MOST_CURVES} newest that were asked.",
    )
    span: Literal["1h", "1d"] = Field(
        default="1h",
        description="The last hour in steps of ten seconds, or the last day in steps of two"
        " minutes.",
    )


_Values = list[float | None]


class Curve(Form):
    """Lists of the same length, oldest first. Steps in which nobody asked are left out."""

    version: int
    at: list[float] = Field(description="The end of each step, seconds since the epoch.")
    request_rate: _Values
    error_rate: _Values
    p50_ms: _Values
    p99_ms: _Values
    batch_rows: _Values
    queue_requests: _Values


class MemoryCurve(Form):
    """What one version took. Lists of the same length, oldest first: where it changed."""

    version: int
    measured: bool = Field(
        description="Whether it is what the version's own process has taken, without files that it"
        " maps. Else the estimate that was set aside for it: versions in one process can't be told"
        " apart."
    )
    at: list[float] = Field(
        description="The end of the step in which it changed, seconds since the epoch; in the day"
        " a step tells the most of its two minutes."
    )
    bytes: list[float] = Field(description="Since then; 0: it was not loaded.")


class CurvesAnswer(Form):
    model: str
    span: Literal["1h", "1d"]
    step_s: int
    end: float = Field(description="Where the span ends (now), seconds since the epoch.")
    curves: list[Curve]
    memory: list[MemoryCurve] = Field(
        description=f"Of the {MOST_CURVES} newest versions that were loaded, asked or not."
    )


class StreamQuery(Form):
    seconds: float | None = Field(
        default=None, gt=0, le=86400, description="End after so long; without it, never by itself."
    )


class PredictBody(Form):
    version: Version | None = Field(
        default=None, description="The version that is to answer; without it the route decides."
    )
    request: dict[str, Any] = Field(
        description="As on the HTTP port: the body of an Open Inference Protocol request in JSON."
    )


class Prediction(Form):
    """What the HTTP port answered, as a client would have got it."""

    status: int
    version: str = Field(description='The version that answered; "": none did.')
    route: str = Field(description='Why that one; "": none did.')
    seconds: float = Field(description="From asking to the whole answer.")
    text: str = Field(description="The answer's body.")
    cut: bool = Field(description="The answer is longer than what is shown.")


class ErrorInfo(Form):
    at: float = Field(description="Seconds since the epoch.")
    protocol: Literal["grpc", "http"]
    word: str = Field(description="The kind of error, as metrics and the log call it.")
    message: str = Field(description="What the client was told, its beginning.")
    request_id: str = Field(description="Under which the log tells more.")


class ModelErrors(Form):
    name: str
    errors: list[ErrorInfo] = Field(
        description="The newest first; only the last ones are kept, and of mistakes and refusals"
        " that come by the hundred a second not all."
    )
