"""What Prometheus and operators are told of requests that are not as their model's schema says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from serving.errors import ErrorCode, ServingError
from serving.models.views import ModelView, VersionView
from serving.observe import families
from serving.observe.families import Sample
from serving.observe.prometheus import Exposition
from serving.operations import Form, Operation

# Features and types that are told of a version, those with most requests.
MOST_TOLD = 1000
_Find = Callable[[str], ModelView | None]


class RequestAnomaly(Form):
    feature: str
    type: str = Field(
        description="`missing`, `nan`, `infinite`, `too_small`, `too_large`, `fraction`,"
        " `unexpected_text` or `value_count`."
    )
    mode: Literal["log", "reject"] = Field(description="What became of these requests.")
    requests: int = Field(description="That had it since the version was loaded.")


class RequestAnomalies(Form):
    anomalies: list[RequestAnomaly] = Field(
        description=f"Those that most requests had first, at most {MOST_TOLD:,}."
    )
    left_out: int = Field(description="Features and types beyond these.")


def add_request_anomalies(exposition: Exposition, views: Callable[[], Iterable[ModelView]]) -> None:
    """Models and versions are labels while they are there; features, of which there may be many,
    are none."""
    exposition.add(families.REQUEST_ANOMALIES, lambda: _samples(views()))


def _samples(views: Iterable[ModelView]) -> Iterator[Sample]:
    for view in views:
        for version in view.versions:
            counts: Counter[tuple[str, str]] = Counter()
            for _, kind, refused, count in _counts(version):
                counts[kind, _mode(refused)] += count
            for (kind, mode), count in sorted(counts.items()):
                labels = {"model": view.name, "version": str(version.number)}
                yield {**labels, "type": kind, "mode": mode}, count


def operations(find: _Find) -> tuple[Operation, ...]:
    """``find``: the model of a name."""

    async def handler(request: Request) -> Response:
        return JSONResponse(_told(_version(find, request)))

    return (
        Operation(
            *(
                "GET",
                "/api/v1/models/{name}/versions/{version}/requests/anomalies",
            ),
            "versionRequestAnomalies",
            "Requests of a version that were not as its model's schema says, by feature",
            handler,
            {200: RequestAnomalies},
        ),
    )


def _version(find: _Find, request: Request) -> VersionView:
    name, number = request.path_params["name"], str(request.path_params["version"])
    view = find(str(name))
    versions = view.versions if view is not None else ()
    found = next((one for one in versions if str(one.number) == number), None)
    if found is None:
        words = "no such version: it takes a model's name and the number of a version"
        raise ServingError(ErrorCode.NOT_FOUND, words)
    return found


def _told(version: VersionView) -> dict[str, object]:
    counts = sorted(_counts(version), key=lambda one: (-one[3], one[0], one[1]))
    told = [
        {"feature": feature, "type": kind, "mode": _mode(refused), "requests": count}
        for feature, kind, refused, count in counts[:MOST_TOLD]
    ]
    return {"anomalies": told, "left_out": max(0, len(counts) - MOST_TOLD)}


def _counts(version: VersionView) -> list[tuple[str, str, bool, int]]:
    return version.queue.anomalies() if version.queue else []


def _mode(refused: bool) -> Literal["log", "reject"]:
    return "reject" if refused else "log"
