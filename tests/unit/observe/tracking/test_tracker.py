"""The tracker: whose windows there are, what is told of versions, what each setting does."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from serving.authorization import open_gates
from serving.cli.track import track
from serving.control.admin import Admin
from serving.errors import ConfigError
from serving.loading.batching.cost import CostCurve
from serving.models.state import State
from serving.models.views import ModelView, VersionView
from serving.observe import operations
from serving.observe.figures import Counters, Key
from serving.observe.history import KEPT
from serving.observe.prometheus import Exposition
from serving.observe.tracing.exporter import TraceStatus
from serving.observe.tracking.gauges import add_tracking
from serving.observe.tracking.tracker import Tracker, exporters
from serving.observe.windows import Window
from serving.registry.manifest import FileEntry, Manifest
from serving.settings import Settings, load_settings
from serving.state_dir import StateDir
from tests.clients.gateway import wait_until
from tests.unit.control_fakes import Commander, ask, operations_of
from tests.unit.tracking_world import SlotFacts, version


def _settings(tmp_path: Path, **given: object) -> Settings:
    flags = {
        "tracking.window_s": 1,
        "tracking.jsonl.path": tmp_path / "windows",
        **{key.replace("__", "."): value for key, value in given.items()},
    }
    return load_settings(flags, None, {})[0]


class World:
    """A core and a manager that say what a test wants, and a tracker of them."""

    def __init__(self, tmp_path: Path, **given: object) -> None:
        self.served = [SlotFacts("m", 1)]
        self.views: tuple[ModelView, ...] = ()
        self.show(version())
        self.broken = False
        self.tmp_path = tmp_path
        state = StateDir(tmp_path / "state")
        self.tracker = Tracker(
            _settings(tmp_path, **given), state, self.counted, lambda: self.views
        )

    def show(self, *versions: VersionView) -> None:
        self.views = (ModelView("m", versions),)

    def counted(self) -> dict[Key, Counters]:
        if self.broken:
            raise RuntimeError("no figures")
        return {(one.model, one.version): one.counters() for one in self.served}

    def close_window(self) -> tuple[Window, ...]:
        """As its thread does at the end of each window."""
        self.tracker._close_window(last=False)
        return self.tracker.windows("m", 1)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_window_holds_what_happened_in_it(world: World) -> None:
    world.served[0].ask(0.005)
    (first,) = world.close_window()
    assert (first.number, first.figures["requests"]) == (1, 1.0)
    world.served[0].ask(0.005, ("grpc", "INTERNAL"))
    world.served[0].ask(0.005)
    second = world.close_window()[-1]
    assert (second.number, second.figures["requests"], second.figures["errors"]) == (2, 2.0, 1.0)
    assert second.start == first.end < second.end
    third = world.close_window()[-1]
    assert third.figures["requests"] == 0.0
    assert "total_ms/p50" not in third.figures


def test_the_versions_cost_curve_and_the_machines_figures_are_in_it(world: World) -> None:
    world.show(version(cost=CostCurve(0.002, 0.0, None)))
    (window,) = world.close_window()
    assert window.figures["cost/fixed_ms"] == 2.0
    assert "cost/best_rows" not in window.figures
    if Path("/proc/meminfo").exists():
        assert window.figures["system/system_memory_usage_megabytes"] > 0


def test_only_versions_that_serve_have_windows(world: World) -> None:
    world.served.append(SlotFacts("m", 2))
    for state in (State.LOADING, State.FAILED):
        world.show(version(), version(2, state=state))
        world.close_window()
    assert not world.tracker.windows("m", 2)
    world.show(version(), version(2, state=State.DRAINING))
    world.close_window()
    assert len(world.tracker.windows("m", 2)) == 1
    assert world.tracker.windows("nothing", 1) == ()


def test_a_version_that_goes_and_comes_back_is_not_counted_twice(world: World) -> None:
    world.served[0].ask(0.005)
    world.close_window()
    gone, world.served = world.served, []
    world.views = ()
    assert len(world.close_window()) == 1, "what it did can still be read"
    world.served = gone
    world.show(version(since=9.0))
    world.served[0].ask(0.005)
    back = world.close_window()[-1]
    assert (back.number, back.figures["requests"]) == (2, 1.0)


def test_a_version_that_goes_has_its_last_window_with_its_origin(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.tracker.start()
    world.close_window()
    world.served[0].ask(0.005)
    world.views = ()
    world.close_window()
    world.close_window()
    world.tracker.stop()
    found = _lines(tmp_path)
    assert sum(one["figures"]["requests"] for one in found) == 1.0
    assert found[-1]["figures"]["requests"] == 1.0, "and none after it"
    assert found[-1]["server"].startswith("serving@")


def test_counters_that_began_anew_are_taken_as_they_are(world: World) -> None:
    for _ in range(5):
        world.served[0].ask(0.005)
    world.close_window()
    world.served = [SlotFacts("m", 1)]
    world.served[0].ask(0.005)
    assert world.close_window()[-1].figures["requests"] == 1.0


def test_windows_in_memory_are_bounded(world: World) -> None:
    for _ in range(KEPT + 3):
        found = world.close_window()
    assert [window.number for window in found] == list(range(4, KEPT + 4))


def test_figures_that_cannot_be_had_cost_one_window(world: World) -> None:
    world.served[0].ask(0.005)
    world.broken = True
    assert world.close_window() == ()
    world.broken = False
    assert world.close_window()[-1].figures["requests"] == 1.0


def _lines(tmp_path: Path) -> list[dict[str, Any]]:
    files = sorted((tmp_path / "windows").glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def test_the_thread_closes_windows_and_stop_closes_the_last(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.tracker.start()
    wait_until(lambda: _lines(tmp_path), 10, "a window is written")
    for _ in range(3):
        world.served[0].ask(0.005)
    world.tracker.stop()
    found = _lines(tmp_path)
    assert sum(one["figures"]["requests"] for one in found) == 3.0
    assert [one["number"] for one in found] == list(range(1, len(found) + 1))
    (status,) = world.tracker.status()
    assert (status.name, status.sent, status.buffered) == ("jsonl", len(found), 0)


def test_the_length_of_a_window_is_the_settings(tmp_path: Path) -> None:
    world = World(tmp_path, tracking__window_s=3600)
    world.tracker.start()
    assert not world.tracker._stopping.wait(1.2)
    assert world.tracker.windows("m", 1) == ()
    world.tracker.stop()
    (only,) = _lines(tmp_path)
    assert only["figures"]["window_s"] == pytest.approx(only["end"] - only["start"], abs=0.1)


def test_stop_without_start_ends(tmp_path: Path) -> None:
    World(tmp_path).tracker.stop(0.1)


def test_the_manifest_of_a_version_goes_along(tmp_path: Path) -> None:
    files = {"f": FileEntry(0, "0" * 64)}
    created = "2026-01-01T00:00:00+00:00"
    manifest = Manifest("m", 1, created, files, git_commit="abc", run_id="r1")
    world = World(tmp_path)
    world.show(version(manifest=manifest))
    world.tracker.start()
    world.tracker.stop()
    assert {(one["git_commit"], one["mlflow_run_id"]) for one in _lines(tmp_path)} == {
        ("abc", "r1")
    }
    assert _lines(tmp_path)[0]["server"].startswith("serving@")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"tracking__jsonl__path": None}, []),
        ({}, ["jsonl"]),
        ({"tracking__mlflow__uri": "http://127.0.0.1:1"}, ["mlflow", "jsonl"]),
        (
            {"tracking__otlp__endpoint": "http://127.0.0.1:1", "tracking__jsonl__path": None},
            ["otlp"],
        ),
    ],
)
def test_each_target_is_on_when_it_is_set(
    tmp_path: Path, given: dict[str, object], expected: list[str]
) -> None:
    found = exporters(_settings(tmp_path, **given), StateDir(None))
    assert [one.name for one in found] == expected


def test_an_address_that_cannot_be_used_is_told_at_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tracking\.mlflow\.uri"):
        World(tmp_path, tracking__mlflow__uri="databricks")


@pytest.fixture
def failing(tmp_path: Path) -> Iterator[World]:
    """Its targets: one that works and one where nobody is."""
    world = World(
        tmp_path,
        tracking__mlflow__uri="http://me:hush@127.0.0.1:1",
        tracking__mlflow__experiment="mine",
        tracking__buffer_bytes=3000,
    )
    world.tracker.start()
    try:
        yield world
    finally:
        world.tracker.stop(1.0)


def test_the_buffers_bound_is_the_settings(failing: World) -> None:
    def dropped() -> int:
        return failing.tracker.status()[0].dropped

    wait_until(lambda: (failing.close_window(), dropped() > 0)[1], 20, "the oldest are dropped")
    status = failing.tracker.status()[0]
    assert 0 < status.buffered_bytes <= 3000
    assert failing.tracker.status()[1].dropped == 0


def test_prometheus_the_admin_port_and_the_command_tell_what_goes_wrong(
    failing: World, capsys: pytest.CaptureFixture[str]
) -> None:
    tracker = failing.tracker
    wait_until(lambda: tracker.status()[0].failures and tracker.status()[1].sent, 20, "both tried")
    page = Exposition()
    add_tracking(page, tracker)
    text = page.render(b"", ()).decode()
    assert 'serving_tracking_failure_total{target="mlflow"}' in text
    assert 'serving_tracking_windows_sent_total{target="jsonl"}' in text
    assert 'serving_tracking_windows_sent_total{target="mlflow"} 0\n' in text
    assert 'last_success_timestamp_seconds{target="mlflow"}' not in text
    with _admin(tracker) as admin:
        status, answer, _ = ask(admin, "GET", "/api/v1/tracking")
        assert status == 200
        operations.Tracking.model_validate(answer)
        assert "/api/v1/tracking" in ask(admin, "GET", "/api/openapi.json")[1]["paths"]
        track(f"http://127.0.0.1:{admin.address[1]}", None, as_json=False)
    mlflow, jsonl = answer["targets"]
    assert answer["window_s"] == 1.0
    assert mlflow["target"] == "http://127.0.0.1:1, experiment mine"
    assert mlflow["error"].startswith("no answer")
    assert (jsonl["error"], jsonl["last_failure"]) == ("", None)
    printed = capsys.readouterr().out
    assert "mlflow: failing; last error at 20" in printed
    assert "a window covers 1 s" in printed
    assert "jsonl:" not in printed
    assert "hush" not in json.dumps(answer) + printed


def test_where_nothing_is_sent_the_command_says_what_to_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with _admin(World(tmp_path, tracking__jsonl__path=None).tracker) as admin:
        url = f"http://127.0.0.1:{admin.address[1]}"
        track(url, None, as_json=False)
        printed = capsys.readouterr().out
        assert "tracking.mlflow.uri" in printed
        assert "tracing.endpoint" in printed
        track(url, None, as_json=True)
        empty = {"window_s": 1.0, "targets": [], "traces": None, "write_back": None}
        assert json.loads(capsys.readouterr().out) == empty


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (TraceStatus("c:1", 7, 0, 1.7e9, ""), "7 spans sent, 0 dropped, last success 2023-11-1"),
        (TraceStatus("c:1", 0, 4, None, "status 401"), "last success never; failing: status 401"),
    ],
)
def test_the_command_tells_where_spans_go(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], status: TraceStatus, words: str
) -> None:
    with _admin(World(tmp_path).tracker, status) as admin:
        url = f"http://127.0.0.1:{admin.address[1]}"
        track(url, None, as_json=False)
        printed = " ".join(capsys.readouterr().out.split())
        assert "traces to c:1" in printed
        assert words in printed
        _, answer, _ = ask(admin, "GET", "/api/v1/tracking")
        assert operations.Tracking.model_validate(answer).traces == operations.TraceTarget(
            **asdict(status)
        )


def test_what_versions_did_lately_is_told_on_the_admin_port(world: World) -> None:
    world.served.append(SlotFacts("m", 2))
    world.show(version(), version(2))
    world.close_window()
    world.served[0].ask(0.005)
    world.close_window()
    with _admin(world.tracker) as admin:
        status, answer, _ = ask(admin, "GET", "/api/v1/models/m/windows")
        found = operations.Windows.model_validate(answer)
        unknown, said, _ = ask(admin, "GET", "/api/v1/models/other/windows")
    assert status == 200
    assert found.window_s == world.tracker.window_s
    told = [(one.version, one.number, one.figures["requests"]) for one in found.windows]
    assert told == [(1, 1, 0.0), (1, 2, 1.0), (2, 1, 0.0), (2, 2, 0.0)]
    assert (unknown, said) == (404, {"error": "no version of that model has a window yet"})


@contextlib.contextmanager
def _admin(tracker: Tracker, traces: TraceStatus | None = None) -> Iterator[Admin]:
    settings = load_settings({"admin_port": 0}, None, {})[0]
    rows = operations_of(settings, Commander(), tracker=tracker, traces=lambda: traces)
    one = Admin(settings, rows, open_gates(settings).admin)
    one.start()
    try:
        yield one
    finally:
        one.stop()


def test_no_thread_is_left_behind(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    world = World(tmp_path)
    world.tracker.start()
    world.tracker.stop()
    assert set(threading.enumerate()) <= before
