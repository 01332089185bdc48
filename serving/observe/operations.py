"""What operators may ask about figures: those of now, and what is sent where."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial

from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from serving.errors import ErrorCode, ServingError
from serving.observe.prometheus import CONTENT_TYPE
from serving.observe.tracing.exporter import TraceStatus
from serving.observe.tracking.tracker import Tracker
from serving.observe.write_back import WriteBackTarget, told
from serving.operations import Form, Operation, telling
from serving.write_back.writer import WriteBack


class TrackingTarget(Form):
    """One place that windows are sent to. Counters are windows since the gateway started."""

    name: str
    target: str = Field(description="Where it sends to, without secrets.")
    sent: int
    dropped: int = Field(description="Given up: the buffer was full, or the target refused them.")
    failures: int = Field(description="Attempts that failed.")
    buffered: int = Field(description="Waiting to be sent.")
    buffered_bytes: int
    last_success: float | None = Field(description="Seconds since the epoch.")
    last_failure: float | None = Field(description="Seconds since the epoch.")
    error: str = Field(description='Why it does not work now; "": it does.')
    last_error: str = Field(description="The last failure's words, also when it works again.")


class TraceTarget(Form):
    """Where spans are sent to. Counters are spans since the gateway started."""

    target: str = Field(description="Where it sends to, without secrets.")
    exported: int
    dropped: int = Field(description="Given up; those that never left the core's buffer besides.")
    last_success: float | None = Field(description="Seconds since the epoch.")
    error: str = Field(description='Why it does not work now; "": it does.')


class Tracking(Form):
    window_s: float = Field(description="What one window covers.")
    targets: list[TrackingTarget]
    traces: TraceTarget | None = Field(description="None: no traces are sent.")
    write_back: WriteBackTarget | None = Field(
        description="What is written to MLflow's registry. None: it is not followed, or nothing is."
    )


class WindowInfo(Form):
    """What a version did in so many seconds. What has no value (a percentile of nothing) is
    absent."""

    model: str
    version: int
    number: int = Field(description="Of the version's windows, from 1.")
    start: float = Field(description="Seconds since the epoch.")
    end: float = Field(description="Seconds since the epoch.")
    figures: dict[str, float]


class Windows(Form):
    name: str
    window_s: float = Field(description="What one window covers.")
    windows: list[WindowInfo] = Field(
        description="Each version's together, oldest first; only the last ones are kept."
    )


def scrape(metrics: Callable[[], bytes]) -> tuple[Operation, ...]:
    """``metrics`` is asked anew by every request, on a worker thread."""

    async def handler(_: Request) -> Response:
        return Response(await run_in_threadpool(metrics), headers={"content-type": CONTENT_TYPE})

    return (
        Operation(
            *("GET", "/metrics", "metrics"), "Prometheus", handler, {200: None}, control=False
        ),
    )


def operations(
    tracker: Tracker,
    traces: Callable[[], TraceStatus | None],
    write_back: Callable[[], WriteBack | None],
) -> tuple[Operation, ...]:
    """``traces`` None: none are sent; ``write_back`` None: nothing is."""

    def tell() -> dict[str, object]:
        listed, traced = [asdict(one) for one in tracker.status()], traces()
        sent = traced and asdict(traced)
        back = write_back()
        return {
            "window_s": tracker.window_s,
            "targets": listed,
            "traces": sent,
            "write_back": back and told(back),
        }

    return (
        telling(
            *("/api/v1/tracking", "tracking"),
            "What is sent where: windows and spans sent and dropped, what is written to MLflow's"
            " registry, the last success and error",
            Tracking,
            tell,
        ),
        Operation(
            *("GET", "/api/v1/models/{name}/windows", "modelWindows"),
            "What a model's versions did lately, window by window",
            partial(_windows, tracker),
            {200: Windows},
        ),
    )


async def _windows(tracker: Tracker, request: Request) -> Response:
    body = await run_in_threadpool(_windows_json, tracker, str(request.path_params["name"]))
    return Response(body, media_type="application/json")


def _windows_json(tracker: Tracker, name: str) -> str:
    """Window by window: thousands of them at once would hold the interpreter's lock for long."""
    windows = [json.dumps(window.to_json(), allow_nan=False) for window in tracker.windows_of(name)]
    if not windows:
        raise ServingError(ErrorCode.NOT_FOUND, "no version of that model has a window yet")
    head = json.dumps({"name": name, "window_s": tracker.window_s})
    return f'{head[:-1]}, "windows": [{", ".join(windows)}]}}'
