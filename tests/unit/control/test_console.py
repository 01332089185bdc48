"""The console's calls and its page, without a browser."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serving.control.console import forms, overview
from serving.control.console.opening import Console
from serving.control.console.pages import Pages, wants_page
from serving.control.console.predictions import MOST_AT_ONCE, Predictions
from serving.control.console.stream import MOST_NAMES, Listener, Stream
from serving.errors import ErrorCode, ServingError
from serving.models.views import ModelView
from serving.observe.curves.ring import Point
from serving.rollout.canary import Phase, Rollout
from serving.rollout.rules import Rules
from tests.unit.control_fakes import Line, settings
from tests.unit.protocol_views import failed, model, version

STATIC = Path(overview.__file__).parent / "static"
POINT = Point(10.0, 1.0, 2.0, 20.0, float("nan"), 0.0)


# The overview


def test_of_a_thousand_versions_those_that_matter_are_shown() -> None:
    many = tuple(version(number, queue=Line()) for number in range(1, 1000))
    view = model("m", *many, failed(1000, "it is broken"))
    assert view.default is not None
    rollout = Rollout("m", candidate=17, base=3, phase=Phase.RUNNING)
    found = overview.model_json(view, {("m", 500): POINT}, rollout)
    shown = [one["version"] for one in found["versions"]]
    assert shown[: len({17, 3, view.default})] == sorted({17, 3, view.default}, reverse=True)
    assert {500, 1000} <= set(shown)
    assert len(shown) == forms.MOST_VERSIONS
    assert found["versions_total"] == 1000
    by_number = {one["version"]: one for one in found["versions"]}
    assert by_number[500]["figures"] == {
        **POINT._asdict(),
        "batch_rows": None,  # and no NaN, which is no JSON
    }
    assert by_number[1000]["reason"] == "it is broken"
    forms.OverviewModel.model_validate({**found, "rollout": None})


def test_states_and_rates_are_of_all_models() -> None:
    views = [model("a", version(1)), model("b", failed(1, "x")), ModelView("c", ())]
    assert overview.counts_json(views) == {
        "total": 3,
        "ready": 1,
        "loading": 0,
        "failed": 1,
        "unloaded": 1,
    }
    figures = {("a", 1): POINT, ("b", 1): POINT}
    assert overview.rates_json(figures) == {"request_rate": 20.0, "error_rate": 2.0}


def test_a_shadow_is_shown_with_what_it_copies() -> None:
    view = model("m", *(version(number, queue=Line()) for number in range(1, 20)))
    view = replace(view, route=replace(view.route, shadows=((3, 0.25),)))
    found = {one["version"]: one for one in overview.model_json(view, {}, None)["versions"]}
    assert (found[3]["shadow"], found[19]["shadow"]) == (0.25, None)


# The stream


def _told(stream: Stream, seconds: float | None, until: str) -> str:
    async def listen() -> str:
        found, listener = "", stream.follow()
        async for text in stream.events(listener, seconds):
            found += text
            if until in found:
                break
        stream.leave(listener)
        return found

    return asyncio.run(asyncio.wait_for(listen(), 10))


def test_a_listener_that_is_slow_holds_names_and_no_more_than_so_many() -> None:
    async def fill() -> dict[str, Any]:
        listener = Listener(asyncio.get_running_loop())
        for number in range(3 * MOST_NAMES):
            listener.note("models", [f"m{number}"])
        listener.note("figures", ["a"])
        return listener.take()

    found = asyncio.run(fill())
    assert len(found["models"]["models"]) == MOST_NAMES
    assert found["models"]["more"]
    assert found["figures"] == {"models": ["a"], "more": False}


def test_what_changes_is_told_and_rollouts_once_each_time_that_they_change() -> None:
    rollouts: dict[str, Any] = {"rollouts": [1], "more": False}
    stream = Stream(1, lambda: dict(rollouts), every_s=0.02)
    threading.Timer(0.1, lambda: stream.note("models", ["m"])).start()
    text = _told(stream, None, "event: models")
    assert text.startswith("event: hello\n")
    assert text.count("event: rollouts") == 1
    assert 'event: models\ndata: {"models": ["m"], "more": false}\n\n' in text


def test_listeners_are_few_and_let_go_when_the_gateway_stops() -> None:
    async def listen() -> str:
        stream = Stream(1, dict, every_s=5)
        events = stream.events(stream.follow(), None)
        first = await anext(events)
        with pytest.raises(ServingError) as error:
            stream.follow()
        assert error.value.code is ErrorCode.FULL
        asyncio.get_running_loop().call_later(0.05, stream.stop)
        assert [one async for one in events] == []
        with pytest.raises(ServingError):
            stream.follow()
        return first

    assert "hello" in asyncio.run(asyncio.wait_for(listen(), 2))


def test_a_stream_of_so_many_seconds_ends() -> None:
    assert "hello" in _told(Stream(1, dict, every_s=0.02), 0.05, "never")


# The page


def test_browsers_ask_for_the_page_and_programs_do_not() -> None:
    assert wants_page("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
    assert wants_page("application/json, TEXT/HTML ; q=0.5")
    for accept in ("", "*/*", "application/json", "text/html;q=0", "text/html; q=0.000", "text/*"):
        assert not wants_page(accept), accept


def test_nothing_is_inline_and_all_that_is_named_is_there(tmp_path: Path) -> None:
    text = (STATIC / "index.html").read_text()
    assert not re.search(r"<style|style=|\son\w+=|javascript:", text)
    names = {path.name for path in STATIC.iterdir()}
    for name in re.findall(r'(?:src|href)="console/([^"]+)"', text):
        assert name in names
    for script in STATIC.glob("*.js"):
        code = script.read_text()
        assert set(re.findall(r'from "\./([^"]+)"', code)) <= names
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|\beval\(|new Function", code)
        # Nothing from another host.
        assert "://" not in code.replace("http://${", "").replace("http://www.w3.org/2000/svg", "")


def test_without_the_chart_library_the_page_does_not_ask_for_it(tmp_path: Path) -> None:
    plain = Pages(tmp_path)
    assert "uPlot.iife.min.js" not in plain.names
    assert b"uPlot" not in plain._files["index.html"].content
    # Half of it is none of it.
    (tmp_path / "uPlot.iife.min.js").write_text("x")
    assert Pages(tmp_path).names == plain.names
    for name in ("uPlot.min.css", "LICENSE.txt"):
        (tmp_path / name).write_text("x")
    assert b"uPlot.iife.min.js" in Pages(tmp_path)._files["index.html"].content


def test_a_setting_turns_the_page_and_another_the_curves_off() -> None:
    class Nothing:
        def figures(self, select: object = None) -> Any:
            raise AssertionError("nobody is to look")

        def views(self) -> tuple[ModelView, ...]:
            return ()

        def all(self) -> tuple[Rollout, ...]:
            return ()

        def view(self, model: str) -> ModelView | None:
            return None

        def rules_of(self, model: str) -> Rules:
            return Rules()

        def on_change(self, listener: object) -> None:
            pass

    chosen = settings(**{"console.enabled": "false", "console.curve_versions": "0"})
    nothing = Nothing()
    console = Console(chosen, nothing, nothing, nothing, lambda: True, ("127.0.0.1", 1))
    assert console.pages is None
    console.start()
    assert "curves" not in {thread.name for thread in threading.enumerate()}
    console.stop()
    assert {row.path for row in console.operations()} == {
        "/api/v1/overview",
        "/api/v1/curves",
        "/api/v1/events/stream",
        "/api/v1/models/{name}/errors",
        "/api/v1/models/{name}/predict",
    }


# A prediction


def test_a_prediction_that_nobody_answers_says_so_and_few_are_asked_at_once() -> None:
    asked = Predictions(("0.0.0.0", 1), 0.2)
    body = forms.PredictBody(request={"inputs": []})
    with pytest.raises(ServingError, match="the HTTP port does not answer"):
        asked._ask("m", body)
    for _ in range(MOST_AT_ONCE):
        assert asked._places.acquire(blocking=False)
    with pytest.raises(ServingError) as error:
        asked._ask("m", body)
    assert error.value.code is ErrorCode.FULL
    assert json.loads(body.model_dump_json())["version"] is None
