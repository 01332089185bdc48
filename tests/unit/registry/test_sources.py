"""Sources behind their border: threads of their own, and a loop that waits for none of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import structlog

from serving.errors import ErrorCode
from serving.model_config import ModelConfig
from serving.models.commands.command import LoadModel, Outcome, Rollback, UnloadModel
from serving.models.manager import Manager
from serving.registry import source_thread
from serving.registry.configs import Configs
from serving.registry.directory import DirectorySource
from serving.registry.schedule import Schedule
from serving.registry.snapshot import (
    IN_TWO_SOURCES,
    NOBODY_WAITS,
    Closely,
    Fetched,
    Fetching,
    FoundModel,
    FoundVersion,
    Snapshot,
    SourceError,
)
from serving.registry.source import Posted, Request
from serving.registry.sources import Sources, joined
from serving.settings import Settings
from tests.clients.gateway import wait_until
from tests.unit.manager_world import SteppedManager, World


class Hanging(DirectorySource):
    """Directories on a disk that hangs when it is told to."""

    def __init__(self, root: Path, **more: Any) -> None:
        super().__init__([root], 0.0, **more)
        self.answers, self.asked = threading.Event(), threading.Event()
        self.answers.set()
        self.scanned_in: set[str] = set()
        self.error: Exception | None = None

    def scan(self, closely: Closely = (), at_once: Closely = (), **_: object) -> Snapshot:
        self.scanned_in.add(threading.current_thread().name)
        self.asked.set()
        assert self.answers.wait(60.0)
        if self.error is not None:
            raise self.error
        return super().scan(closely, at_once)


class TwoPlaces(World):
    """A manager of two sources, the first of which can hang or fail."""

    def __init__(self, root: Path) -> None:
        super().__init__(root / "good")
        self.bad_root = root / "bad"
        for folder in (self.root, self.bad_root):
            folder.mkdir()
        clocks: dict[str, Any] = {
            "wall": lambda: self.now + self.ahead,
            "mono": lambda: self.now,
        }
        self.bad = Hanging(self.bad_root, **clocks)
        self.manager = SteppedManager(
            Settings(model_control="both", rollout={"keep_previous_s": 0.0}),
            [],
            self.publish,
            self.load,
            sources=[self.bad, DirectorySource([self.root], 0.0, **clocks)],
            new_stats=self.new_stats,
            spawn=lambda name, job: self.jobs.append((name, job)),
            **clocks,
        )
        self.lay(self.bad_root, "far", 1)
        self.write("near", 1)
        self.settle()

    def lay(self, root: Path, model: str, version: int) -> None:
        folder = root / model / str(version)
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_text("weights")

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """The look of the first source does not end; the second one's do."""
        bad = self.manager._sources.threads[0]
        self.bad.answers.clear()
        self.bad.asked.clear()
        bad.ask(Request())
        thread = threading.Thread(target=bad.turn)
        thread.start()
        assert self.bad.asked.wait(60.0)
        try:
            yield
        finally:
            self.bad.answers.set()
            thread.join(60.0)

    def turn(self, seconds: float = 0.0) -> None:
        """Of the loop and the source that does not hang."""
        self.now += seconds
        for _ in range(2):
            self.manager._sources.threads[1].turn()
            Manager.tick(self.manager)
        self.run_jobs()
        Manager.tick(self.manager)


@pytest.fixture
def two(tmp_path: Path) -> TwoPlaces:
    return TwoPlaces(tmp_path)


def routed(world: World) -> dict[str, int | None]:
    return {view.name: view.default for view in world.published[-1]}


def test_fault_86_the_loop_goes_on_beside_a_source_that_hangs(two: TwoPlaces) -> None:
    with two.hanging():
        two.write("near", 2)
        two.turn(3.0)
        assert routed(two) == {"far": 1, "near": 2}


def test_fault_86_a_command_waits_for_a_hanging_source_no_longer_than_it_is_given(
    two: TwoPlaces,
) -> None:
    with two.hanging(), structlog.testing.capture_logs() as records:
        load = two.manager.command(LoadModel("far"))
        two.turn(source_thread.STUCK_S - 1.0)
        assert load.wait(0) is None, "it may answer yet"
        two.turn(2.0)
        outcome = load.wait(0)
        assert outcome is not None
        assert outcome.code is ErrorCode.UNAVAILABLE
        assert "its model directory cannot be read now" in outcome.message
        # What needs no look does not wait any more, nor does what the other source has.
        unload = two.manager.command(UnloadModel("far"))
        near = two.manager.command(LoadModel("near"))
        two.turn()
        two.turn()
        assert (unload.wait(0), near.wait(0)) == (Outcome(), Outcome(version=1))
        assert two.manager.sight.unreadable == 1
    told = [one for one in records if one["event"] == "registry_unreadable"]
    assert [(one["path"], one["reason"]) for one in told] == [
        (str(two.bad_root), "does not answer")
    ]


def test_fault_86_reloads_beside_a_hanging_source_end_in_one_line(two: TwoPlaces) -> None:
    with two.hanging(), structlog.testing.capture_logs() as records:
        (two.root / "near" / "model.yaml").write_text("max_batch_size: 7\n")
        for _ in range(2):
            two.manager.reload()
            two.turn()
        assert not [one for one in records if one["event"] == "configurations_reloaded"]
        two.turn(source_thread.STUCK_S + 1.0)
    told = [one for one in records if one["event"] == "configurations_reloaded"]
    assert [(one["models"], one["changed"]) for one in told] == [(2, ["near"])]


def test_fault_6_what_a_source_had_serves_on_while_it_hangs_and_after(two: TwoPlaces) -> None:
    with two.hanging():
        two.turn(source_thread.STUCK_S + 1.0)
        assert routed(two) == {"far": 1, "near": 1}
        assert two.manager.ignored[0].path == two.bad_root
        assert two.manager.ignored[0].reason == "does not answer"
    two.lay(two.bad_root, "far", 2)
    two.settle(3.0)
    two.settle(3.0)
    assert routed(two) == {"far": 2, "near": 1}
    assert two.manager.sight.unreadable == 0


def test_fault_6_a_source_that_fails_leaves_the_others_and_its_own_models(two: TwoPlaces) -> None:
    two.bad.error = ZeroDivisionError()
    two.write("near", 2)
    two.settle(3.0)
    assert routed(two) == {"far": 1, "near": 2}
    assert two.manager.sight.unreadable == 1
    two.bad.error = None
    two.settle(3.0)
    assert two.manager.sight.unreadable == 0


def test_at_the_start_every_source_is_waited_for_and_the_others_are_loaded(tmp_path: Path) -> None:
    two = TwoPlaces(tmp_path)
    two.table = {}
    again = SteppedManager(
        Settings(),
        [],
        two.publish,
        two.load,
        sources=[two.bad, DirectorySource([two.root], 0.0)],
        new_stats=two.new_stats,
        mono=lambda: two.now,
        spawn=lambda name, job: two.jobs.append((name, job)),
    )
    two.manager = again
    with two.hanging():
        two.turn(source_thread.STUCK_S + 1.0)
        assert routed(two) == {"near": 1}
        assert not again.wait_started(0)
    two.settle()
    two.settle()
    assert routed(two) == {"far": 1, "near": 1}
    assert again.wait_started(0)


def test_a_model_that_two_sources_have_is_an_error_of_that_model_alone() -> None:
    one = Snapshot((FoundModel("a", Path("/1/a")), FoundModel("b", Path("/1/b"))))
    other = Snapshot(
        (FoundModel("b", Path("/2/b")), FoundModel("c", Path("/2/c"))),
        errors=(SourceError(Path("/3"), "does not exist"),),
        settles_in=2.0,
    )
    both = joined([one, other])
    assert [(found.name, found.error) for found in both.models] == [
        ("a", ""),
        ("b", IN_TWO_SOURCES),
        ("c", ""),
    ]
    assert (both.errors, both.settles_in) == (other.errors, 2.0)
    assert joined([one]) is one


def test_hurried_looks_keep_a_distance_and_none_is_put_off() -> None:
    schedule = Schedule(1.0)
    schedule.looked(10.0, cost=0.0, settles_in=None)
    assert schedule.next == 11.0
    schedule.hurry(10.01)
    assert schedule.next == pytest.approx(10.05)
    schedule.hurry(10.5)
    assert schedule.next == pytest.approx(10.05)
    schedule.looked(20.0, cost=0.05, settles_in=0.2)
    schedule.hurry(20.0)
    assert schedule.next == pytest.approx(20.2), "a scan of 50 ms of a core: not before a second"


def test_directories_are_looked_at_in_a_thread_of_their_own_and_commands_ask_it(
    tmp_path: Path,
) -> None:
    world = World(tmp_path / "models")
    world.write("m", 1)
    source = Hanging(world.root)
    settings = Settings(registry={"settle_s": 60.0, "scan_interval_s": 60.0})
    manager = Manager(
        settings, [], world.publish, world.load, sources=[source], new_stats=world.new_stats
    )
    manager.start()
    try:
        assert manager.wait_started(10.0)
        world.write("m", 2)
        assert manager.command(LoadModel("m")).wait(10.0) == Outcome(version=2)
        assert manager.command(Rollback("m")).wait(10.0) == Outcome(version=1)
        assert source.scanned_in == {"source"}
        # What hangs keeps nobody from stopping.
        source.answers.clear()
        source.asked.clear()
        manager.hurry()
        assert source.asked.wait(10.0)
        began = time.monotonic()
        assert manager.stop(20.0)
        assert time.monotonic() - began < 10.0
    finally:
        source.answers.set()
        manager.stop(5.0)


@dataclass(frozen=True)
class FarAway:
    """An origin elsewhere, fetched into ``here``."""

    here: Path
    number: int
    error: OSError | None = None
    manifest: None = None

    def fetch(self, fetching: Fetching = NOBODY_WAITS) -> Fetched:
        if self.error is not None:
            raise self.error
        folder = self.here / str(self.number)
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_text("fetched")
        return Fetched(folder, self.here)

    def fingerprint(self) -> str:
        return f"etag {self.number}"


class ObjectStore:
    place = Path("bucket")

    def __init__(self, *origins: FarAway) -> None:
        versions = tuple(FoundVersion(o.number, o, o.fingerprint(), True) for o in origins)
        self.snapshot = Snapshot((FoundModel("m", Path("bucket/m"), versions),))

    def scan(self, closely: Closely = (), at_once: Closely = (), **_: object) -> Snapshot:
        return self.snapshot


def test_what_a_source_fetches_is_loaded_and_what_it_cannot_is_that_versions_trouble(
    tmp_path: Path,
) -> None:
    world = World(tmp_path / "models")
    origins = FarAway(tmp_path, 1), FarAway(tmp_path, 2, OSError(110, "timed out"))
    read: list[str] = []
    world.during = lambda call: read.append((call["path"] / "model.onnx").read_text())
    world.manager = SteppedManager(
        Settings(),
        [],
        world.publish,
        world.load,
        sources=[ObjectStore(*origins)],
        read_config=lambda folder: ModelConfig(),
        new_stats=world.new_stats,
        mono=lambda: world.now,
        spawn=lambda name, job: world.jobs.append((name, job)),
    )
    world.settle()
    assert world.states() == {1: "READY", 2: "FAILED"}
    assert world.version(2).reason == "its files could not be read"
    assert read == ["fetched"]


def test_a_look_that_took_long_and_ended_gives_the_next_one_longer() -> None:
    now, takes = [0.0], [1.0]

    class Slow:
        place = Path("/slow")

        def scan(self, closely: Closely = (), at_once: Closely = (), **_: object) -> Snapshot:
            now[0] += takes[0]
            return Snapshot()

    configs = Configs(lambda folder: ModelConfig())
    thread = source_thread.SourceThread(
        Slow(), configs, 5.0, lambda posted: None, lambda: now[0], lambda: 0.0
    )
    for takes[0], patience in (
        (1.0, 20.0),
        (30.0, 60.0),
        (70.0, 140.0),
        (500.0, 200.0),
        (1.0, 20.0),
    ):
        thread.ask(Request())
        thread.turn()
        assert thread.stuck_at() - now[0] == patience


def test_what_was_asked_for_is_answered_by_the_look_after_one_that_broke() -> None:
    """Also where that one finds what was known before: somebody waits for it."""

    class Breaking(Schedule):
        broken = False

        def looked(
            self, began: float, cost: float, settles_in: float | None, *, everything: bool = True
        ) -> None:
            if self.broken:
                raise RuntimeError("a bug of ours")
            super().looked(began, cost, settles_in)

    class Empty:
        place = Path("/empty")
        last = Snapshot()

        def scan(self, closely: Closely = (), at_once: Closely = (), **_: object) -> Snapshot:
            return self.last

    posted: list[Posted] = []
    thread = source_thread.SourceThread(
        Empty(),
        Configs(lambda folder: ModelConfig()),
        0.01,
        posted.append,
        time.monotonic,
        time.thread_time,
    )
    thread.turn()
    schedule = thread._schedule = Breaking(0.01)
    schedule.broken = True
    number = thread.ask(Request())
    with mock.patch.object(source_thread, "_AGAIN_S", 0.01):
        thread.start()
        time.sleep(0.1)
        schedule.broken = False
        wait_until(lambda: posted[-1].answers == number, 10, "the request is answered")
        thread.stop()


def test_what_one_source_has_no_other_is_asked_for() -> None:
    class Asked:
        def __init__(self, name: str) -> None:
            self.place, self.asked = Path(name), set[object]()
            self.snapshot = Snapshot((FoundModel(name, Path(name)),))

        def scan(self, closely: Closely = (), at_once: Closely = (), **_: object) -> Snapshot:
            self.asked = set(at_once)
            return self.snapshot

    both = Asked("a"), Asked("b")
    sources = Sources(
        both,
        lambda: Configs(lambda folder: ModelConfig()),
        5.0,
        lambda take: take(),
        time.monotonic,
        time.thread_time,
    )
    for _ in range(2):
        sources.ask(Request(at_once={"a", ("b", 1), "new"}))
        for thread in sources.threads:
            thread.turn()
    assert [one.asked for one in both] == [{"a", "new"}, {("b", 1), "new"}]
