"""What may be asked of statistics over the admin port. They show values: the token guards them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from serving.errors import ErrorCode, ServingError
from serving.observe.figures import Key
from serving.observe.statistics.damaged import DamagedError
from serving.observe.statistics.rollup import Span
from serving.observe.statistics.taker import Statistics
from serving.operations import Form, Operation
from serving.queries import query_of

if TYPE_CHECKING:
    from serving.observe.statistics.book import Page

_OFF = (
    "statistics are off: they are made where the extra 'serving[statistics]' is installed and the"
    " setting 'statistics.enabled' says so"
)
_NO_VERSION = "no such version: it takes a model's name and the number of a version"
_NO_WINDOW = "no window is kept that holds that moment"
_NOTHING_YET = "nothing is known of it yet: it was asked for nothing since statistics are made"


# Of a baseline that is told: as JSON two and a half times as much. Its file may have 64 MiB.
_MOST_TOLD_BYTES = 4 * 1024 * 1024
# Read from their files and told at once: each takes some hundred megabytes at most meanwhile.
_AT_ONCE = 2


class StatisticsQuery(Form):
    window: Literal["live", "minute", "hour", "day", "baseline"] = Field(
        default="live",
        description="`live`: the short window that goes on, or the last with anything in it;"
        " `minute`: the last short one that is"
        " over, however long `statistics.window_s` makes it; `hour`, `day`: those that go on, with"
        " what is over of them; `baseline`: what the version came with.",
    )
    at: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="Of `minute`, `hour` and `day`: the one that holds this moment (seconds since"
        " the epoch).",
    )


class StatisticsInfo(Form):
    """``datasets`` is JSON of TFX's `DatasetFeatureStatisticsList`: of the inputs, named `inputs`,
    and of the outputs, named `outputs`; a baseline's are all `inputs`. Files of TFX's
    are read from it: other fields than `datasets` are ours."""

    window: str
    start: float | None = Field(description="Seconds since the epoch; None of a baseline.")
    end: float | None = Field(description="The same.")
    samples: int | None = Field(description="Requests that it was made of; None of a baseline.")
    labels: dict[str, dict[str, str]] = Field(
        description="What classes are called, by the file of labels in the model's configuration:"
        " feature -> top value -> its label. Nothing of a baseline, and of values without one."
    )
    datasets: list[dict[str, Any]]


class AnomalyInfo(Form):
    at: float = Field(description="End of the window that showed it (seconds since the epoch).")
    feature: str = Field(description='"": of no feature, but of the whole.')
    type: str = Field(description="TFX's name, of `AnomalyInfo.Type`.")
    description: str
    severity: str = Field(description="TFX's: `WARNING` or `ERROR`.")
    window: str = Field(description="`minute`, `hour` or `day`.")


class AnomaliesInfo(Form):
    anomalies: list[AnomalyInfo] = Field(description="Those that last, as last seen.")
    recent: list[AnomalyInfo] = Field(description="The last that began, oldest first.")


class DistanceInfo(Form):
    name: str = Field(description="The feature's.")
    kind: Literal["skew", "drift", "versions"] = Field(
        description="From the baseline, from the window before, or from the version that answers"
        " beside this one."
    )
    distance: float | None
    threshold: float | None = Field(description="None: the schema has none.")
    measure: str = Field(description="TFX's name of the distance.")
    samples: int = Field(description="Rows of the window that have the feature.")
    too_few: bool = Field(description="So few that nothing follows of it.")
    at: float = Field(description="End of the window (seconds since the epoch).")
    window: str = Field(description="`minute`, `hour` or `day`.")


class DriftInfo(Form):
    features: list[DistanceInfo] = Field(description="Of the last window that was compared.")


def operations(statistics: Statistics | None) -> tuple[Operation, ...]:
    """None: they are off, and each call says so."""
    base = "/api/v1/models/{name}/versions/{version}"
    return (
        Operation(
            *("GET", f"{base}/statistics", "versionStatistics"),
            "Statistics of what a version is asked and answers, feature by feature",
            partial(_statistics, statistics, asyncio.Semaphore(_AT_ONCE)),
            {200: StatisticsInfo},
            query=StatisticsQuery,
        ),
        Operation(
            *("GET", f"{base}/anomalies", "versionAnomalies"),
            "What stands out in it, held against the model's schema",
            partial(_told, statistics, _anomalies, {"anomalies": [], "recent": []}),
            {200: AnomaliesInfo},
        ),
        Operation(
            *("GET", f"{base}/drift", "versionDrift"),
            "How far its features are from the baseline, the window before, another version",
            partial(_told, statistics, _drift, {"features": []}),
            {200: DriftInfo},
        ),
    )


async def _statistics(
    statistics: Statistics | None, places: asyncio.Semaphore, request: Request
) -> Response:
    asked = query_of(request, StatisticsQuery)
    there, key = _there(statistics), _key(request)
    if asked.window == "baseline":
        return await _baseline_told(there, places, key, request)
    body = await run_in_threadpool(_statistics_json, there, key, asked)
    return Response(body, media_type="application/json")


async def _baseline_told(
    statistics: Statistics, places: asyncio.Semaphore, key: Key, request: Request
) -> Response:
    """Whoever waits for its turn holds nothing, and is skipped once it has left."""
    async with places:
        if await request.is_disconnected():
            return Response()
        body = await run_in_threadpool(_baseline_json, statistics, key)
    return Response(body, media_type="application/json")


def _baseline_json(statistics: Statistics, key: Key) -> str:
    """Raises ServingError."""
    message = _baseline(statistics, key)
    if (size := message.ByteSize()) > _MOST_TOLD_BYTES:
        raise ServingError(
            ErrorCode.TOO_LARGE,
            f"the baseline has {size:,} bytes, and {_MOST_TOLD_BYTES:,} at most are told here:"
            " 'serving stats show' reads its file",
        )
    times = {"start": None, "end": None, "samples": None}
    return _joined({"window": "baseline", **times, "labels": {}}, message)


def _statistics_json(statistics: Statistics, key: Key, asked: StatisticsQuery) -> str:
    span = None if asked.window == "live" else Span(asked.window)
    found = statistics.collector.read(key, partial(_window, span, asked.at))
    if found is None:
        if asked.at is not None and statistics.is_there(key):
            raise ServingError(ErrorCode.NOT_FOUND, _NO_WINDOW)
        raise _unknown(statistics, key)
    message, start, end, samples = found
    message = _shown(message, statistics.hides(key))
    head = {"window": asked.window, "start": start, "end": end, "samples": samples}
    return _joined({**head, "labels": statistics.labels(key, message)}, message)


def _baseline(statistics: Statistics, key: Key) -> Any:
    from serving.observe.statistics.window import INPUTS
    from serving.statistics.metadata import messages

    trained = statistics.collector.baseline(key)
    if trained is None:
        raise ServingError(ErrorCode.NOT_FOUND, "the version came with no baseline")
    message = messages.DatasetFeatureStatisticsList(datasets=[trained])
    message.datasets[0].name = INPUTS
    return message


def _window(span: Span | None, at: float | None, page: Page) -> Any:
    try:
        return page.series.message(span, at)
    except DamagedError as error:
        raise ServingError(ErrorCode.INTERNAL, str(error)) from None


def _joined(head: dict[str, Any], message: Any) -> str:
    from serving.statistics.metadata import to_json

    told = to_json(message, indent=None)
    inner = told.strip()[1:-1].strip()
    return (
        f"{json.dumps(head)[:-1]}, {inner}}}"
        if inner
        else f'{json.dumps(head)[:-1]}, "datasets": []}}'
    )


async def _told(
    statistics: Statistics | None, of: Any, nothing: dict[str, Any], request: Request
) -> Response:
    there, key = _there(statistics), _key(request)
    found = await run_in_threadpool(_read, there, key, of)
    if found is None:
        if not there.is_there(key):
            raise _unknown(there, key)
        found = nothing
    hides = there.hides(key)
    rows = {
        what: [one for one in given if not hides(one.get("feature", one.get("name")))]
        for what, given in found.items()
    }
    return JSONResponse(rows)


def _shown(message: Any, hides: Callable[[str], bool]) -> Any:
    """A ``DatasetFeatureStatisticsList`` without the features that are redacted by now: windows
    from before may have them."""
    shown = type(message)()
    shown.CopyFrom(message)
    for whole, dataset in zip(message.datasets, shown.datasets, strict=True):
        kept = [one for one in whole.features if not hides(one.name or ".".join(one.path.step))]
        if len(kept) < len(whole.features):
            del dataset.features[:]
            dataset.features.extend(kept)
    return shown


def _read(statistics: Statistics, key: Key, of: Any) -> Any:
    return statistics.collector.read(key, of)


def _anomalies(page: Page) -> dict[str, Any]:
    alarms = page.alarms
    return {
        "anomalies": [one.to_json() for one in alarms.standing],
        "recent": [one.to_json() for one in alarms.recent],
    }


def _drift(page: Page) -> dict[str, Any]:
    return {"features": [one.to_json() for one in page.distances.values()]}


def _there(statistics: Statistics | None) -> Statistics:
    if statistics is None:
        raise ServingError(ErrorCode.UNAVAILABLE, _OFF)
    return statistics


def _key(request: Request) -> Key:
    text = str(request.path_params["version"])
    if not (text.isascii() and text.isdecimal() and len(text) <= 19):
        raise ServingError(ErrorCode.NOT_FOUND, _NO_VERSION)
    return str(request.path_params["name"]), int(text)


def _unknown(statistics: Statistics, key: Key) -> ServingError:
    words = _NOTHING_YET if statistics.is_there(key) else _NO_VERSION
    return ServingError(ErrorCode.NOT_FOUND, words)
