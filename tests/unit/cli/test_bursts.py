"""What ``serving start`` says of a few models, and of a thousand at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from serving.cli import telling
from serving.cli.bursts import FEW, MOMENT_S, Bursts, Kind, Line
from serving.cli.telling import Telling
from serving.models.reasons import Absence
from serving.models.state import State
from serving.models.views import ModelView
from serving.settings import Settings
from tests.unit.protocol_views import failed, model, version


def lines(count: int, kind: Kind = Kind.READY) -> list[Line]:
    return [Line(f"m{at}", "", kind) for at in range(count)]


def test_a_few_are_said_and_the_rest_of_a_moment_is_summed_up() -> None:
    bursts = Bursts()
    assert bursts.take(lines(FEW), 0.0) == lines(FEW)
    due = bursts.due
    assert due is None
    assert bursts.take(lines(1500), 1.0) == []
    assert bursts.take(lines(3, Kind.UNLOADED), 2.0) == []
    # Failures always.
    assert bursts.take(lines(2, Kind.FAILED), 2.0) == lines(2, Kind.FAILED)
    assert bursts.due == MOMENT_S
    words = "versions ready: 1,500, versions unloaded: 3"
    assert bursts.rest(10.0) == f"and more ({words}); 'serving models' lists them"
    assert (bursts.rest(10.0), bursts.due) == ("", None)
    assert bursts.take(lines(1), 11.0) == lines(1)


def test_another_moment_begins_anew() -> None:
    bursts = Bursts()
    for now in (0.0, MOMENT_S, 2 * MOMENT_S):
        assert bursts.take(lines(FEW), now) == lines(FEW)


def test_at_a_start_of_many_only_what_is_no_mere_success_is_said() -> None:
    bursts, remarks, bad = Bursts(), lines(1, Kind.REMARK), lines(30, Kind.FAILED)
    given = [*lines(100), *remarks, *bad]
    assert bursts.take(given, 0.0, starting=True) == [*remarks, *bad]
    assert bursts.due is None, "progress and the summary tell of the rest"


class Console:
    as_text = True

    def __init__(self) -> None:
        self.said: list[str] = []
        self.facts: list[dict[str, Any]] = []

    def line(self, text: str, style: str = "") -> None:
        self.said.append(text)

    def fact(self, event: str, **fields: object) -> None:
        self.facts.append({"event": event, **fields})


class Started:
    """A gateway's console while its models come and go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.timers: list[Callable[[], None]] = []
        monkeypatch.setattr(
            telling, "threading", SimpleNamespace(Timer=self._timer, Lock=threading.Lock)
        )
        self.views: tuple[ModelView, ...] = ()
        self.console = Console()
        gateway = SimpleNamespace(
            settings=Settings(),
            http_address=("127.0.0.1", 8080),
            models=lambda: self.views,
            manager=SimpleNamespace(ignored=(), passed_over=()),
        )
        console: Any = self.console
        self.telling = Telling(console, gateway)  # type: ignore[arg-type]  # a stand-in

    def _timer(self, seconds: float, what: Callable[[], None]) -> Any:
        return SimpleNamespace(daemon=False, start=lambda: self.timers.append(what))

    def change(self, *views: ModelView) -> list[str]:
        """What is said of it."""
        before = len(self.console.said)
        self.views = views
        self.telling.changes({view.name: view for view in views})
        return self.console.said[before:]

    def ready(self) -> list[str]:
        before = len(self.console.said)
        self.telling.ready()
        return self.console.said[before:]


def fleet(count: int, state: State = State.READY) -> list[ModelView]:
    return [model(f"m{at:04d}", version(1, state=state)) for at in range(count)]


def test_a_start_of_three_has_a_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    started = Started(monkeypatch)
    assert started.change(*fleet(3, State.NEW)) == []
    said = started.change(*fleet(3))
    assert [line.split(":")[0] for line in said] == ["m0000 1", "m0001 1", "m0002 1"]
    assert started.ready()[0] == "ready: m0000 1, m0001 1, m0002 1"


def test_a_start_of_a_thousand_has_its_failures_and_a_summary(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started = Started(monkeypatch)
    started.change(*fleet(1000, State.NEW))
    bad = model("m0007", failed(1, "it is broken"))
    done = [bad if view.name == bad.name else view for view in fleet(1000)]
    for at in range(0, 1000, 100):
        started.change(*done[at : at + 100])
    assert started.console.said == ["m0007 1: failed: it is broken"]
    started.views = tuple(done)
    said = started.ready()
    assert said[0].startswith("ready: 999 models: m0000 1, m0001 1, ")
    assert said[0].endswith(" and 979 more")
    assert said[1] == "failed: m0007 1"
    (fact,) = started.console.facts
    assert (fact["count"], len(fact["models"]), fact["failed"]) == (999, 200, ["m0007 1"])
    assert not started.timers


def test_a_thousand_that_go_later_are_twenty_lines_and_a_sum(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started = Started(monkeypatch)
    started.change(*fleet(1000))
    started.ready()
    out = [
        replace(model(view.name, reason=Absence.BY_COMMAND.value), held_out=True)
        for view in fleet(1000)
    ]
    gone = started.change(*out)
    assert gone[:2] == ["m0000 1: unloaded", "m0000: unloaded by command"]
    assert len(gone) == FEW
    (rest,) = started.timers
    rest()
    words = "versions unloaded: 990, models with a reason to look at: 990"
    assert started.console.said[-1] == f"and more ({words}); 'serving models' lists them"
