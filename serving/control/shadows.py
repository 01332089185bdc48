"""What shadows answered, over the admin port: counts, and requests whose two answers differ."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from serving.control.naming import Models, view_of
from serving.errors import ErrorCode, ServingError
from serving.models.views import ModelView
from serving.observe.shadows import ShadowReport, examples, reports
from serving.operations import Form, Operation
from serving.settings import Settings

# Where the version stands in "/api/v1/models/NAME/shadows/VERSION".
_VERSION_AT = 6
_Element = float | int | bool | str


class OutputDifferences(Form):
    """One output over all answers that were compared."""

    name: str
    datatype: str
    compared: int = Field(description="Answers.")
    different: int = Field(description="Answers in which it differs.")
    missing: int = Field(description="As the shadow has none.")
    datatypes: int = Field(description="As it is of another datatype.")
    shapes: int = Field(description="As it has another shape; its elements are not compared then.")
    elements: int = Field(description="Elements compared.")
    different_elements: int = Field(
        description="Numbers further apart than the tolerance, other labels, texts or truths."
    )
    nonfinite: int = Field(description="Of these, NaN or infinite in one answer alone.")
    max_difference: float | None = Field(
        description="The largest distance of two finite floating point numbers; null: none."
    )
    mean_difference: float | None = Field(description="The mean of these distances.")
    rows: int = Field(description="Rows along the last axis of scores.")
    classes: int = Field(description="Of these rows, those whose largest score is another one.")


class ShadowInfo(Form):
    """One version. Counts begin with its load."""

    version: int
    share: float = Field(description="Of the requests that name no version; 0: none any more.")
    state: str
    copies: int = Field(description="Requests that fell to its share.")
    dropped: dict[str, int] = Field(
        description="Of these, those never run, by reason: `full`, `memory`, `inputs`,"
        " `shared_memory`, `late`, `leaving`."
    )
    failed: dict[str, int] = Field(description="Of these, those that it failed, by error.")
    uncompared: dict[str, int] = Field(
        description="Of these, those whose answers were compared with nothing, by reason: `failed`"
        " (the request itself), `late`, `memory`."
    )
    compared: int
    different: int = Field(description="Of those compared, the ones that differ in any output.")
    outputs: list[OutputDifferences]


class Shadows(Form):
    name: str
    shadows: list[ShadowInfo] = Field(
        description="Versions that are shadows, or were since they were loaded."
    )


class DifferenceInfo(Form):
    """How one output differs."""

    missing: bool
    datatype: bool
    shape: bool
    different_elements: int
    nonfinite: int
    classes: int
    max_difference: float | None


class ExampleTensor(Form):
    """As the request log has it."""

    name: str
    datatype: str
    shape: list[int]
    encoding: Literal["base64"] | None = None
    data: list[_Element] | str | None = None
    redacted: bool = False


class ExampleInfo(Form):
    """A request whose two answers differ."""

    at: float = Field(description="Seconds since the epoch.")
    id: str
    request_id: str
    version: int = Field(description="The version that answered.")
    too_large: bool = Field(description="Its tensors were not kept.")
    outputs: dict[str, DifferenceInfo] = Field(description="Those that differ.")
    inputs: list[ExampleTensor]
    given: list[ExampleTensor] = Field(description="What was answered.")
    shadow: list[ExampleTensor] = Field(description="What the shadow would have answered.")


class Differences(ShadowInfo):
    name: str
    examples: list[ExampleInfo] = Field(description="The newest first.")


class ShadowApi:
    """The operations about shadows. The gate has been passed already."""

    def __init__(self, models: Models, settings: Settings) -> None:
        self._models, self._settings = models, settings

    def operations(self) -> tuple[Operation, ...]:
        base = "/api/v1/models/{name}/shadows"
        return (
            Operation(
                *("GET", base, "modelShadows"),
                "What became of the copies that a model's shadows got",
                self._list,
                {200: Shadows},
            ),
            Operation(
                *("GET", f"{base}/{{version}}", "shadowDifferences"),
                "How a shadow's answers differ from those given, with examples",
                self._differences,
                {200: Differences},
            ),
        )

    async def _list(self, request: Request) -> Response:
        view = await view_of(request, self._models)
        told = [report_json(one) for one in reports(view)]
        return JSONResponse({"name": view.name, "shadows": told})

    async def _differences(self, request: Request) -> Response:
        view = await view_of(request, self._models)
        return JSONResponse(await run_in_threadpool(self._told, view, _version_of(request)))

    def _told(self, view: ModelView, number: str) -> dict[str, Any]:
        report = next((one for one in reports(view) if str(one.version) == number), None)
        if report is None:
            raise ServingError(
                ErrorCode.NOT_FOUND, f"version {number} of model '{view.name}' is no shadow"
            )
        version = next((one for one in view.versions if one.number == report.version), None)
        found = examples(version, self._settings) if version is not None else []
        return {**report_json(report), "name": view.name, "examples": found}


def report_json(report: ShadowReport) -> dict[str, Any]:
    told = asdict(report)
    return {**told.pop("counts"), **told}


def _version_of(request: Request) -> str:
    """Raises ServingError."""
    number = request.scope["raw_path"].decode("latin-1").split("/")[_VERSION_AT]
    if not (number.isascii() and number.isdecimal() and len(number) < 19):
        raise ServingError(ErrorCode.BAD_REQUEST, "a version is a positive integer")
    return str(int(number))
