"""Expositions as the core writes them, and targets of windows, for the tests of tracking."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serving.models.loading.cost import CostCurve
from serving.models.state import State
from serving.models.views import VersionView
from serving.observe.errors import ExportError
from serving.observe.tracking.counters import Counters, Histogram, Key
from serving.observe.tracking.exporter import VersionFacts
from serving.observe.tracking.windows import Window

BOUNDS = (0.001, 0.01, 0.1)
_TIMES = {
    "serving_request_duration_seconds": ("protocol",),
    "serving_queue_duration_seconds": (),
    "serving_compute_duration_seconds": (),
    "serving_batch_size": (),
}
_SIMPLE = (
    "serving_inference_total",
    "serving_execution_total",
    "serving_execution_failed_total",
    "serving_dropped_expired_total",
    "serving_dropped_cancelled_total",
    "serving_queue_requests",
    "serving_queue_rows",
    "serving_in_flight_requests",
)


@dataclass
class Served:
    """What one version did: observations, and answers by (protocol, code)."""

    model: str
    version: int
    answers: dict[tuple[str, str], int] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    rows: list[float] = field(default_factory=list)
    waiting: int = 0

    def ask(self, seconds: float, answer: tuple[str, str] = ("http", "200"), rows: int = 1) -> None:
        self.answers[answer] = self.answers.get(answer, 0) + 1
        self.seconds.append(seconds)
        self.rows.append(rows)


def exposition(*served: Served) -> bytes:
    """The families of versions, in the core's layout."""
    lines: list[str] = []
    _head(lines, "serving_request_total", "counter")
    for one in served:
        for (protocol, code), count in {
            ("grpc", "OK"): 0,
            ("http", "200"): 0,
            **one.answers,
        }.items():
            labels = f'{_labels(one)},protocol="{protocol}",code="{code}"'
            lines.append(f"serving_request_total{{{labels}}} {count}")
    for name, more in _TIMES.items():
        _head(lines, name, "histogram")
        for one in served:
            observed = one.rows if name == "serving_batch_size" else one.seconds
            if more:
                _histogram(lines, name, f'{_labels(one)},protocol="grpc"', [])
                _histogram(lines, name, f'{_labels(one)},protocol="http"', observed)
            else:
                _histogram(lines, name, _labels(one), observed)
    for name in _SIMPLE:
        _head(lines, name, "counter" if name.endswith("_total") else "gauge")
        values: dict[str, Callable[[Sequence[float]], float]]
        values = {"serving_inference_total": sum, "serving_execution_total": len}
        for one in served:
            value = values[name](one.rows) if name in values else 0
            if name == "serving_queue_requests":
                value = one.waiting
            lines.append(f"{name}{{{_labels(one)}}} {int(value)}")
    _head(lines, "serving_connections", "gauge")
    return ("\n".join([*lines, "serving_connections 3"]) + "\n").encode()


def _head(lines: list[str], name: str, kind: str) -> None:
    lines.extend((f"# HELP {name} Something that is counted.", f"# TYPE {name} {kind}"))


def _labels(one: Served) -> str:
    name = one.model.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'model="{name}",version="{one.version or ""}"'


def _histogram(lines: list[str], name: str, labels: str, observed: Sequence[float]) -> None:
    for bound in BOUNDS:
        count = sum(1 for value in observed if value <= bound)
        lines.append(f'{name}_bucket{{{labels},le="{bound}"}} {count}')
    lines.append(f'{name}_bucket{{{labels},le="+Inf"}} {len(observed)}')
    lines.append(f"{name}_sum{{{labels}}} {sum(observed)}")
    lines.append(f"{name}_count{{{labels}}} {len(observed)}")


def histogram(*observed: float, bounds: tuple[float, ...] = BOUNDS) -> Histogram:
    counts = [0] * (len(bounds) + 1)
    for value in observed:
        counts[bisect_left(bounds, value)] += 1
    running = [sum(counts[: place + 1]) for place in range(len(counts))]
    return Histogram(bounds, tuple(running), float(sum(observed)))


def counters(
    *observed: float, outcomes: Mapping[tuple[str, str], int] | None = None, **simple: float
) -> Counters:
    times = histogram(*observed)
    answers = {("http", "200"): len(observed)} if outcomes is None else outcomes
    return Counters(answers, times, times, times, histogram(*observed), simple)


def version(
    number: int = 1,
    *,
    since: float = 1.0,
    state: State = State.READY,
    path: Path = Path("/models/m/1"),
    cost: CostCurve | None = None,
) -> VersionView:
    return VersionView(
        number=number,
        state=state,
        reason="",
        signature=None,
        config=None,
        max_rows=64,
        batching_words="batched, up to 64 rows: proven",
        provider="CPUExecutionProvider",
        provider_nodes={"CPUExecutionProvider": 1},
        threads=2,
        instances=1,
        ready_since=since,
        stats=None,
        queue=None,
        path=path,
        left_out=(),
        load_seconds=0.25,
        cost=cost,
    )


def window(number: int = 1, model: str = "m", of: int = 1, **figures: float) -> Window:
    return Window(model, of, number, 100.0 + number, 101.0 + number, figures or {"requests": 1.0})


class FakeExporter:
    """Takes what ``broken`` lets through."""

    name = "fake"
    target = "nowhere"

    def __init__(self) -> None:
        self.broken: str = ""
        self.taken: list[Any] = []
        self.settled = self.closed = 0
        self.kept: set[Key] | None = None
        self.before_send: Callable[[], None] = lambda: None
        self.refuse = 0

    def prepare(
        self, windows: Sequence[Window], facts: Mapping[Key, VersionFacts]
    ) -> list[dict[str, Any]]:
        return [one.to_json() for one in windows]

    def keep(self, present: Collection[Key], now: float) -> None:
        self.kept = set(present)

    def send(self, prepared: Sequence[dict[str, Any]]) -> int:
        self.before_send()
        if self.broken:
            raise ExportError(self.broken)
        self.taken.extend(one["number"] for one in prepared)
        return self.refuse

    def settle(self) -> None:
        self.settled += 1

    def close(self) -> None:
        self.closed += 1
