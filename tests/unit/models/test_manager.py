"""The reconcile loop on real directories, with loads and clocks in the test's hand."""

from __future__ import annotations

import math
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog

from serving.errors import LoadError
from serving.model_config import RequestLogConfig
from serving.models.commands.command import UnloadModel
from serving.models.desired import policy
from serving.models.manager import Manager
from serving.models.reasons import Absence
from serving.models.state import State
from serving.models.views import Changes, ModelView, Route
from serving.registry.folder_origin import FolderOrigin
from serving.registry.snapshot import Closely
from serving.settings import Settings
from tests.unit.manager_world import SIGNATURE, SteppedManager, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


ALL = "version_policy: {all: true}\n"


def test_an_empty_registry_has_started_at_once(world: World) -> None:
    assert not world.manager.wait_started(0)
    world.tick()
    assert world.manager.wait_started(0)
    assert world.manager.views() == ()
    assert world.published == [()]


def test_a_version_is_loaded_published_and_described(world: World) -> None:
    world.write("m", 1)
    world.tick()
    assert world.states() == {1: "LOADING"}
    assert not world.manager.wait_started(0)
    world.settle()
    assert world.manager.wait_started(0)
    seen = world.version(1)
    assert seen.state is State.READY
    assert (seen.facts.max_rows, seen.facts.batching) == (64, "batched")
    assert (seen.facts.provider, seen.facts.provider_nodes) == (
        "CPUExecutionProvider",
        {"CPUExecutionProvider": 3},
    )
    assert (seen.facts.threads, seen.facts.instances, seen.facts.load_seconds) == (2, 1, 0.25)
    assert seen.facts.notes == ("preferred provider cuda is missing",)
    assert seen.ready_since == pytest.approx(time.time() + 60, abs=30)
    assert seen.facts.signature is SIGNATURE
    assert seen.facts.left_out == ("z: seq(map)",)
    assert seen.origin == FolderOrigin(world.root / "m" / "1", world.root / "m")
    assert world.view().default == 1
    assert world.manager.lookup("m") is seen
    assert world.manager.lookup("m", 1) is seen
    assert world.manager.lookup("m", 2) is None
    assert world.manager.lookup("other") is None
    assert world.published[-1] == world.manager.views()


def test_every_transition_is_in_the_history_and_the_log_with_its_reason(world: World) -> None:
    world.write("m", 1)
    world.errors["m/1"] = LoadError("it is no ONNX model", "original words")
    with structlog.testing.capture_logs() as records:
        world.settle()
    assert [(event.state, event.reason) for event in world.manager.history()] == [
        (State.NEW, "on disk, and the version policy wants it"),
        (State.LOADING, ""),
        (State.FAILED, "it is no ONNX model"),
    ]
    moves = [record for record in records if record["event"] == "version_state"]
    assert [(record["state"], record["log_level"]) for record in moves] == [
        ("NEW", "debug"),
        ("LOADING", "debug"),
        ("FAILED", "warning"),
    ]
    assert moves[-1]["detail"] == "original words"


def test_one_line_says_how_a_ready_version_serves_and_two_that_it_leaves(world: World) -> None:
    world.write("m", 1)
    with structlog.testing.capture_logs() as records:
        world.settle()
        world.write("m", 2)
        world.change()
    told = [r for r in records if r["event"] == "version_state" and r["log_level"] != "debug"]
    assert [(record["version"], record["state"]) for record in told] == [
        (1, "READY"),
        (2, "READY"),
        (1, "DRAINING"),
        (1, "GONE"),
    ]
    assert {record["log_level"] for record in told} == {"info"}
    ready = told[0]
    assert (ready["provider"], ready["threads"]) == ("CPUExecutionProvider", 2)
    assert (ready["batching"], ready["load_seconds"]) == ("batched", 0.25)


def test_a_reload_reads_configurations_at_once_and_takes_no_version_for_whole(
    world: World,
) -> None:
    for model in ("m", "other"):
        world.write(model, 1)
    world.settle()
    world.configure("m", "batching: {enabled: false}\n")
    world.configure("other", "nonsense: 1\n")
    world.write("m", 2)
    world.loads.clear()
    world.manager.reload()
    with structlog.testing.capture_logs() as records:
        world.settle()
    (said,) = [one for one in records if one["event"] == "configurations_reloaded"]
    assert (said["models"], said["changed"], said["wrong"]) == (2, ["m", "other"], ["other"])
    assert world.loads == ["m/1"]
    for _ in range(50):  # one that waits is as good as many
        world.manager.reload()
    with structlog.testing.capture_logs() as records:
        world.settle()
    (said,) = [one for one in records if one["event"] == "configurations_reloaded"]
    assert (said["changed"], said["wrong"]) == ([], ["other"])


def test_fault_1_a_version_that_cannot_be_loaded_is_reported_and_others_serve(
    world: World,
) -> None:
    world.write("m", 1)
    world.write("other", 1)
    world.errors["m/1"] = LoadError("it is no ONNX model", "/secret/path")
    world.settle()
    assert world.manager.wait_started(0)
    assert world.states() == {1: "FAILED"}
    assert world.version(1).reason == "it is no ONNX model"
    assert world.view().reason == "version 1 could not be loaded: it is no ONNX model"
    assert world.view().default is None
    assert world.states("other") == {1: "READY"}


@pytest.mark.parametrize("ends_in_time", [True, False])
def test_a_version_cut_off_while_it_leaves_is_a_warning(world: World, ends_in_time: bool) -> None:
    world.ends_in_time = ends_in_time
    world.write("m", 1)
    world.settle()
    world.write("m", 2)
    with structlog.testing.capture_logs() as records:
        world.change()
    assert world.states() == {2: "READY"}
    warned = [record["event"] for record in records if record["log_level"] == "warning"]
    assert warned == ([] if ends_in_time else ["close_cut_off"])


@pytest.mark.parametrize(
    ("error", "reason", "may_heal"),
    [
        (OSError(5, "I/O error", "/secret/path"), "its files could not be read", True),
        (MemoryError(), "not enough memory", True),
        (RuntimeError("/secret/path"), "an internal error while it was loaded", False),
        (LoadError("no such operator", "detail"), "no such operator", False),
    ],
)
def test_fault_69_reasons_name_no_path_and_only_what_may_heal_is_tried_again(
    world: World, error: BaseException, reason: str, may_heal: bool
) -> None:
    world.write("m", 1)
    world.errors["m/1"] = error
    world.settle()
    assert world.version(1).reason == reason
    world.errors.clear()
    for _ in range(5):
        world.settle(1.0)
    assert world.states() == {1: "READY" if may_heal else "FAILED"}


@pytest.mark.parametrize(
    ("cause", "state"),
    [
        (OSError(5, "I/O error"), "READY"),
        (MemoryError(), "READY"),
        (FileNotFoundError(2, "No such file"), "FAILED"),
        (RuntimeError(), "FAILED"),
    ],
)
def test_fault_69_a_load_error_is_tried_again_when_disk_or_memory_caused_it(
    world: World, cause: BaseException, state: str
) -> None:
    world.write("m", 1)
    world.errors["m/1"] = LoadError.after(cause, "its files could not be read")
    world.settle()
    world.errors.clear()
    world.settle(2.1)
    assert world.states() == {1: state}


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (RuntimeError("can't start new thread"), "no thread could be started for it"),
        (MemoryError(), "not enough memory"),
    ],
)
def test_a_load_that_no_thread_could_be_started_for_is_tried_again(
    world: World, refusal: Exception, words: str
) -> None:
    world.write("m", 1)
    world.threads, world.no_thread = 0, refusal
    world.settle()
    world.change()
    assert world.states() == {1: "FAILED"}
    assert world.version(1).reason == words
    world.threads = math.inf
    world.settle(60.0)
    assert world.states() == {1: "READY"}


def test_what_no_thread_could_be_started_to_close_is_closed_later_and_once(world: World) -> None:
    for model in ("a", "b"):
        world.write(model, 1)
    world.change()
    left = world.routed()
    for model in ("a", "b"):
        world.manager.command(UnloadModel(model))
    world.threads = 0
    for _ in range(3):
        with pytest.raises(RuntimeError):
            world.tick()
    world.threads = math.inf
    world.settle()
    assert [one.closed for one in left] == [True, True]


@pytest.mark.parametrize(("threads", "own"), [(math.inf, 2), (2, 1), (1, 0)])
def test_those_at_rest_are_closed_in_one_thread_and_the_others_as_threads_allow(
    world: World, threads: float, own: int
) -> None:
    """However many leave at once; one whose runs take long holds up no other's end."""
    names = [f"m{number}" for number in range(20)]
    for model in names:
        world.write(model, 1)
    world.change()
    left = world.routed()
    for busy in left[:2]:
        busy.at_rest = False
    for model in names:
        world.manager.command(UnloadModel(model))
    world.threads = threads
    world.tick()
    assert world.run_jobs() == ["close-m0"]
    assert sum(not one.closed for one in left) == own
    assert all(one.closed for one in left[2:])
    assert len(world.run_jobs()) == own
    world.settle()
    assert all(one.closed for one in left)
    assert all(world.states(model) == {} for model in names)


def test_what_was_loaded_in_vain_is_closed_where_no_thread_can_be_started(world: World) -> None:
    world.write("m", 1)

    def change_files(call: dict[str, Any]) -> None:
        world.write("m", 1, "other weights")
        world.threads = 0

    world.during = change_files
    world.settle()
    assert [one.closed for one in world.made] == [True]
    assert world.states() == {1: "FAILED"}


def test_fault_4_the_new_version_is_up_before_the_old_one_is_closed(world: World) -> None:
    world.write("m", 1)
    world.settle()
    old = world.routed()[0]
    world.write("m", 2)
    for _ in range(5):
        world.tick(1.01)
    assert world.states() == {1: "READY", 2: "LOADING"}
    assert world.version(1).reason == "answers until version 2 is ready"
    assert world.run_jobs() == ["load-m-2"]
    world.tick()
    assert world.states() == {1: "DRAINING", 2: "READY"}
    assert world.view().default == 2
    assert not old.closed
    assert world.run_jobs() == ["close-m"]
    assert old.closed
    world.tick()
    assert world.states() == {2: "READY"}


def test_a_table_that_could_not_be_published_closes_nothing(world: World) -> None:
    world.configure("m", ALL)
    world.write("m", 1)
    world.write("m", 2)
    world.settle()
    world.settle()
    shutil.rmtree(world.root / "m" / "1")
    world.publish_error = RuntimeError("the server said no")
    world.tick(1.01)
    assert world.jobs == []
    world.publish_error = None
    world.tick()
    assert world.run_jobs() == ["close-m"]


def test_fault_5_a_removed_version_leaves_and_the_last_one_stays(world: World) -> None:
    world.configure("m", ALL)
    world.write("m", 1)
    world.write("m", 2)
    world.settle()
    assert world.states() == {1: "READY", 2: "READY"}
    shutil.rmtree(world.root / "m" / "2")
    world.settle(1.01)
    assert world.states() == {1: "READY"}
    shutil.rmtree(world.root / "m" / "1")
    world.settle(1.01)
    assert world.states() == {1: "READY"}
    assert world.version(1).reason == policy.ALL_GONE
    shutil.rmtree(world.root / "m")
    world.settle(1.01)
    assert world.states() == {1: "READY"}


def test_fault_6_a_root_that_vanishes_takes_nothing_away(tmp_path: Path) -> None:
    root = tmp_path / "registry"
    root.mkdir()
    world = World(root)
    world.configure("m", ALL)
    world.write("m", 1)
    world.write("m", 2)
    world.settle()
    root.rename(tmp_path / "away")
    world.settle(1.01)
    assert world.states() == {1: "READY", 2: "READY"}
    assert world.view().reason == policy.UNREADABLE
    (tmp_path / "away").rename(root)
    world.change()
    assert world.states() == {1: "READY", 2: "READY"}
    assert world.view().reason == ""
    assert world.loads == ["m/2", "m/1"]


def test_fault_3_a_version_is_loaded_once_nothing_changed_for_the_settle_time(
    world: World,
) -> None:
    world.settle()
    folder = world.write("m", 1)
    world.settle(1.01)
    assert world.states() == {1: "NEW"}
    assert world.version(1).reason == "its files changed less than 3 s ago"
    world.settle(1.01)
    (folder / "model.onnx").write_text("still being copied")
    for _ in range(3):
        world.settle(1.0)
        assert world.loads == []
    for _ in range(3):
        world.settle(0.5)
    assert world.loads == ["m/1"]


def test_fault_3_files_that_change_while_they_are_loaded_are_not_served(world: World) -> None:
    folder = world.write("m", 1)
    world.during = lambda call: (folder / "model.onnx").write_text("half old, half new")
    world.settle()
    assert world.states() == {1: "FAILED"}
    assert world.version(1).reason == "its files changed while they were loaded"
    world.during = lambda call: None
    world.change()
    assert world.states() == {1: "READY"}


def test_a_scan_is_due_as_soon_as_something_may_have_settled(world: World) -> None:
    world.write("m", 1)
    world.ahead -= 60
    world.tick()
    wait = world.manager.tick()
    assert wait <= 1.0
    world.tick(2.5)
    wait = world.manager.tick()
    assert 0 < wait < 0.6


def test_scans_that_cost_much_come_less_often_but_never_after_1_5_s(world: World) -> None:
    scans = world.manager._sources.threads[0].source = _Costly(world, 0.002)
    world.tick()
    assert world.manager.tick() == pytest.approx(1.0)
    scans.seconds = 0.0039
    world.tick(1.0)
    assert world.manager.tick() == pytest.approx(1.3)
    scans.seconds = 1.0
    world.tick(2.0)
    assert world.manager.tick() == pytest.approx(1.5)


class _Costly:
    def __init__(self, world: World, seconds: float) -> None:
        self.world, self.seconds = world, seconds
        self.real = world.manager._sources.threads[0].source
        self.place = self.real.place

    def scan(self, closely: Closely = (), at_once: Closely = (), **_: object) -> Any:
        self.world.cpu += self.seconds
        return self.real.scan(closely, at_once)


def test_fault_2_a_broken_new_version_is_reported_and_the_old_one_stays(world: World) -> None:
    world.write("m", 1)
    world.settle()
    world.errors["m/2"] = LoadError("it is no ONNX model")
    world.write("m", 2, "rubbish")
    world.change()
    assert world.states() == {1: "READY", 2: "FAILED"}
    assert world.version(2).reason == "it is no ONNX model"
    assert world.view().default == 1
    world.errors.clear()
    world.write("m", 2, "good at last")
    world.change()
    assert world.states() == {2: "READY"}


def test_files_changed_under_a_ready_version_are_reported_and_not_picked_up(world: World) -> None:
    world.write("m", 1)
    world.settle()
    world.write("m", 1, "other weights")
    for _ in range(20):
        world.settle(1.01)
    assert world.states() == {1: "READY"}
    assert world.version(1).reason == policy.FILES_CHANGED
    assert world.loads == ["m/1"]


def test_a_changed_configuration_swaps_in_a_new_slot(world: World) -> None:
    world.write("m", 1)
    world.settle()
    old = world.routed()[0]
    world.configure("m", "max_batch_size: 4\n")
    world.change()
    assert world.loads == ["m/1", "m/1"]
    assert world.version(1).facts.config.max_batch_size == 4
    assert world.routed()[0] is not old
    assert old.closed


def test_fault_75_a_wrong_configuration_fails_the_new_slots_and_the_old_one_stays(
    world: World,
) -> None:
    world.write("m", 1)
    world.settle()
    world.configure("m", "max_batch_sise: 4\n")
    world.change()
    assert world.states() == {1: "READY"}
    assert "max_batch_sise" in world.version(1).reason
    assert "max_batch_sise" in world.view().reason
    world.write("m", 2)
    world.change()
    assert world.states() == {1: "READY", 2: "FAILED"}
    world.configure("m", "max_batch_size: 4\n")
    world.change()
    assert world.states() == {2: "READY"}
    assert world.view().reason == ""


def test_a_wrong_configuration_at_the_start_fails_the_newest_version_only(world: World) -> None:
    for number in (1, 2, 3):
        world.write("m", number)
    world.configure("m", "max_batch_sise: 4\n")
    world.settle()
    assert world.manager.wait_started(0)
    assert world.states() == {3: "FAILED"}
    assert world.loads == []


def test_a_configuration_that_breaks_its_reader_is_that_models_trouble_alone(
    world: World,
) -> None:
    def read(folder: Path) -> Any:
        raise RecursionError("/secret/path")

    world.manager._sources.threads[0]._configs._read = read
    world.write("m", 1)
    world.settle()
    assert world.states() == {1: "FAILED"}
    assert world.version(1).reason == "its configuration could not be read"


def test_a_changed_version_policy_loads_nothing_again(world: World) -> None:
    world.configure("m", ALL)
    world.write("m", 1)
    world.write("m", 2)
    world.settle()
    world.configure("m", "version_policy: {latest: 1}\n")
    world.change()
    assert world.states() == {2: "READY"}
    assert world.loads == ["m/2", "m/1"]
    assert world.version(2).facts.config.version_policy.kind == "latest"


def test_a_changed_share_of_logged_requests_loads_nothing_again(world: World) -> None:
    world.configure("m", "request_log: {rate: 0.5}\n")
    world.write("m", 1)
    world.settle()
    heard: list[float | None] = []
    world.manager.on_change(
        lambda changed: heard.extend(v.facts.config.request_log.rate for v in changed["m"].versions)
    )
    world.configure("m", "request_log: {rate: 0.25, redact: [x]}\n")
    world.change()
    assert world.loads == ["m/1"]
    assert world.version(1).facts.config.request_log == RequestLogConfig(0.25, ("x",))
    assert heard[-1] == 0.25


def test_a_load_that_is_no_longer_wanted_is_cancelled_and_its_result_closed(world: World) -> None:
    world.write("m", 1)
    asked: list[bool] = []

    def supersede(call: dict[str, Any]) -> None:
        if call["version"] == 1:
            world.write("m", 2)
            world.now += 1.01
            for _ in range(4):
                world.tick(1.01)
            asked.append(call["cancelled"]())

    world.during = supersede
    world.settle()
    world.change()
    assert asked == [True]
    assert world.states() == {2: "READY"}
    assert [view.default for views in world.published for view in views if view.default] == [2]


def test_the_number_of_loads_at_once_is_the_setting(tmp_path: Path) -> None:
    """Fault 75: a changed value changes behaviour."""
    for loads in (1, 3):
        world = World(tmp_path, threads={"load": loads})
        for name in "abcd":
            world.write(name, 1)
        world.tick()
        assert len(world.jobs) == loads


def test_how_soon_a_load_is_tried_again_is_the_setting(tmp_path: Path) -> None:
    """Fault 75: a changed value changes behaviour."""
    loading = {"retry_first_s": 10.0, "retry_max_s": 15.0}
    world = World(tmp_path, loading=loading, registry={"scan_interval_s": 100.0})
    world.write("m", 1)
    world.errors["m/1"] = OSError(5, "I/O error")
    world.settle()
    for seconds, loads in ((9.9, 1), (0.1, 2), (14.9, 2), (0.1, 3), (14.9, 3), (0.1, 4)):
        world.settle(seconds)
        assert len(world.loads) == loads
    assert 14.0 < world.manager.tick() <= 15.0


def test_a_model_in_error_serves_nothing_and_says_why(world: World, tmp_path: Path) -> None:
    for root in "ab":
        (tmp_path / "roots" / root / "m" / "1").mkdir(parents=True)
        (tmp_path / "roots" / root / "m" / "1" / "model.onnx").write_text("x")
    published: list[Changes] = []
    manager = SteppedManager(
        Settings(),
        [tmp_path / "roots" / "a", tmp_path / "roots" / "b"],
        published.append,
        world.load,
        new_stats=world.new_stats,
        wall=lambda: time.time() + 60,
    )
    manager.tick()
    assert manager.wait_started(0)
    words = "it is in more than one model directory"
    assert published[-1] == {"m": ModelView("m", (), Route(reason=words), words, own_reason=words)}


def test_a_configured_model_without_versions_says_so(world: World) -> None:
    (world.root / "m").mkdir()
    world.configure("m", "")
    world.settle()
    words = "it has no version"
    route = Route(reason=words)
    absence = Absence.NO_VERSION
    assert world.view() == ModelView("m", (), route, words, own_reason=words, absence=absence)


def test_folders_that_are_no_models_are_no_models_and_told_of_in_one_line(world: World) -> None:
    for name in ("logs", "lost+found", "notes"):
        (world.root / name).mkdir()
    (world.root / "notes" / "a.txt").write_text("hello")
    with structlog.testing.capture_logs() as records:
        for number in range(5):
            world.settle(1.01)
            (world.root / "logs" / f"{number}.log").write_text("hello")
    assert world.manager.views() == ()
    (told,) = [r for r in records if r["event"] == "registry_folders_passed_over"]
    assert [words.partition(":")[0] for words in told["folders"]] == ["logs", "lost+found", "notes"]


def test_a_model_that_is_laid_in_the_wrong_way_says_what_to_do(world: World) -> None:
    world.write("m", "v1")
    world.settle()
    assert world.view().reason == "'v1' is no version's name: rename it to 1"
    (world.root / "m" / "v1").rename(world.root / "m" / "1")
    world.change()
    assert world.answers() == 1


def test_fault_6_a_model_whose_version_is_renamed_away_goes_on_serving(world: World) -> None:
    world.write("m", 1)
    world.settle()
    (world.root / "m" / "1").rename(world.root / "m" / "old")
    world.change()
    assert world.answers() == 1
    assert "'old/model.onnx' lies one level too low" in world.view().reason


def test_fault_7_what_is_ignored_is_logged_once(world: World) -> None:
    world.write("m", "007")
    with structlog.testing.capture_logs() as records:
        for _ in range(5):
            world.settle(1.01)
    ignored = [record for record in records if record["event"] == "registry_entry_ignored"]
    assert len(ignored) == 1


def test_fault_76_statistics_outlive_a_reload_and_go_with_their_version(world: World) -> None:
    world.write("m", 1)
    world.settle()
    first = world.version(1).stats
    world.configure("m", "max_batch_size: 4\n")
    world.change()
    assert world.version(1).stats is first
    assert world.stats == [("m", 1)]
    world.write("m", 2)
    world.change()
    shutil.rmtree(world.root / "m" / "1")
    world.settle(1.01)
    assert set(world.manager._slots._stats.of("m")) == {2}


def test_a_version_being_copied_at_the_start_is_waited_for_a_little(world: World) -> None:
    world.write("m", 1)
    world.ahead -= 60
    world.settle()
    assert not world.manager.wait_started(0)
    world.change()
    assert world.manager.wait_started(0)
    assert world.states() == {1: "READY"}


def test_a_copy_that_never_ends_does_not_hold_up_the_start(world: World) -> None:
    folder = world.write("m", 1)
    world.ahead -= 60
    for number in range(6):
        (folder / "model.onnx").write_text("x" * number)
        world.settle(1.01)
    assert world.manager.wait_started(0)
    assert world.loads == []


def test_listeners_hear_of_every_set_of_views_and_their_trouble_is_their_own(world: World) -> None:
    def broken(changed: Changes) -> None:
        raise RuntimeError("not your concern")

    heard: list[tuple[ModelView | None, ...]] = []
    world.manager.on_change(broken)
    world.manager.on_change(lambda changed: heard.append(tuple(changed.values())))
    world.write("m", 1)
    world.settle()
    assert heard == world.published
    assert world.states() == {1: "READY"}


def test_a_turn_in_which_nothing_changed_publishes_nothing(world: World) -> None:
    world.write("m", 1)
    world.settle()
    count = len(world.published)
    for _ in range(30):
        world.settle(1.01)
    assert len(world.published) == count


@contextmanager
def running(root: Path, world: World, **more: Any) -> Iterator[Manager]:
    """A manager with its real threads and clocks."""
    settings = Settings(
        registry={"settle_s": 0.0, "scan_interval_s": 0.02}, rollout={"keep_previous_s": 0.0}
    )
    manager = Manager(settings, [root], world.publish, world.load, new_stats=world.new_stats)
    manager.start()
    try:
        yield manager
    finally:
        assert manager.stop(30.0)


def wait_for(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_with_its_threads_it_starts_swaps_and_stops(world: World) -> None:
    world.write("m", 1)
    with running(world.root, world) as manager:
        assert manager.wait_started(30.0)
        assert manager.views()[0].default == 1
        first = world.routed()[0]
        world.write("m", 2)
        wait_for(lambda: first.closed)
        assert manager.views()[0].default == 2
        second = world.routed()[0]
    assert second.closed
    assert manager.views() == ()
    assert not any(thread.name == "models" for thread in threading.enumerate())


def test_fault_31_a_stop_during_a_load_cancels_it_and_does_not_hang(world: World) -> None:
    loading = threading.Event()

    def slow(call: dict[str, Any]) -> None:
        loading.set()
        wait_for(call["cancelled"])
        raise LoadError("cancelled")

    world.write("m", 1)
    world.during = slow
    with running(world.root, world):
        assert loading.wait(30.0)


def test_fault_31_a_load_that_never_ends_does_not_keep_the_stop_from_ending(world: World) -> None:
    loading, release = threading.Event(), threading.Event()

    def stuck(call: dict[str, Any]) -> None:
        loading.set()
        release.wait(60.0)

    world.write("m", 1)
    world.during = stuck
    manager = Manager(
        Settings(),
        [world.root],
        world.publish,
        world.load,
        wall=world.manager._wall,
        new_stats=world.new_stats,
    )
    manager.start()
    assert loading.wait(30.0)
    assert not manager.stop(0.1)
    release.set()
    wait_for(lambda: manager.stop(0.05))


def test_stop_without_a_start_is_clean(world: World) -> None:
    assert world.manager.stop(0.1)


def test_the_loop_survives_a_bug_in_a_turn(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(world.root, world) as manager:
        assert manager.wait_started(30.0)
        broken = threading.Event()

        def burst(*_: object) -> list[policy.Action]:
            broken.set()
            raise ZeroDivisionError

        with monkeypatch.context() as patch:
            patch.setattr(policy, "next_actions", burst)
            world.write("m", 1)
            assert broken.wait(30.0)
        # The change that it met the bug with is not lost.
        wait_for(lambda: manager.views() and manager.views()[0].default == 1)
