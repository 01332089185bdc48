"""Versions that count what they did, and targets of windows, for the tests of tracking."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serving.loading import facts
from serving.loading.batching.cost import CostCurve
from serving.models.state import State
from serving.models.views import VersionView
from serving.observe.errors import ExportError
from serving.observe.figures import Counters, Histogram, Key
from serving.observe.tracking.exporter import RunFacts
from serving.observe.windows import Window
from serving.registry.folder_origin import FolderOrigin
from serving.registry.manifest import Manifest

BOUNDS = (0.001, 0.01, 0.1)


@dataclass
class SlotFacts:
    """What one version did: observations, and answers by (protocol, code)."""

    model: str
    version: int
    answers: dict[tuple[str, str], int] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    rows: list[float] = field(default_factory=list)

    def ask(self, seconds: float, answer: tuple[str, str] = ("http", "200"), rows: int = 1) -> None:
        self.answers[answer] = self.answers.get(answer, 0) + 1
        self.seconds.append(seconds)
        self.rows.append(rows)

    def counters(self) -> Counters:
        return counters(
            *self.seconds,
            outcomes=dict(self.answers),
            rows=float(sum(self.rows)),
            runs=float(len(self.rows)),
        )


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
    manifest: Manifest | None = None,
    cost: CostCurve | None = None,
) -> VersionView:
    return VersionView(
        number=number,
        state=state,
        origin=FolderOrigin(Path("/models/m/1"), manifest=manifest),
        facts=facts.VersionFacts(
            max_rows=64,
            batching="batched, up to 64 rows: proven",
            provider="CPUExecutionProvider",
            provider_nodes={"CPUExecutionProvider": 1},
            threads=2,
            instances=1,
            load_seconds=0.25,
            cost=cost,
        ),
        ready_since=since,
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
        self, windows: Sequence[Window], facts: Mapping[Key, RunFacts]
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
