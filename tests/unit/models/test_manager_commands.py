"""Commands, and what holds after them in each mode and after a restart."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.errors import ErrorCode, LoadError, Retry
from serving.model_config import ModelConfig
from serving.models.commands.command import (
    SUPERSEDED,
    Command,
    LoadModel,
    Outcome,
    Rollback,
    SetDefault,
    UnloadModel,
)
from serving.models.commands.tickets import MOST
from serving.models.desired import policy
from serving.models.manager import Manager
from serving.models.state import Change, State
from serving.settings import Settings
from serving.state_dir import StateDir
from tests.unit.manager_world import World

KEEP = {"rollout": {"keep_previous_s": 300.0}}

HELD = (
    "version 2 is held back: the model is pinned to version 1"
    " (to let go of the pin: serving models default m auto)"
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return at(tmp_path)


def at(folder: Path, mode: str = "poll", **settings: Any) -> World:
    """A world over the registry and the state directory in ``folder``, as after a restart."""
    (folder / "registry").mkdir(exist_ok=True)
    state = StateDir(folder / "state")
    return World(folder / "registry", state, model_control=mode, **settings)


def two_versions(world: World) -> World:
    """Version 1 answered before 2 does."""
    world.write("m", 1)
    world.settle()
    world.write("m", 2)
    world.change()
    assert world.answers() == 2
    return world


# The default version.


def test_a_pin_answers_whatever_is_newer_and_ends_with_auto(world: World) -> None:
    two_versions(world)
    assert world.outcome(SetDefault("m", 1)) == Outcome(version=1)
    assert (world.answers(), world.view().pinned, world.view().reason) == (1, 1, HELD)
    assert world.states() == {1: "READY", 2: "READY"}
    world.write("m", 3)
    world.change()
    assert world.answers() == 1
    assert world.outcome(SetDefault("m")) == Outcome(version=3)
    assert (world.answers(), world.view().pinned) == (3, None)


@pytest.mark.parametrize("mode", ["poll", "explicit", "both"])
def test_fault_101_a_pin_and_the_version_before_outlive_a_restart(
    tmp_path: Path, mode: str
) -> None:
    options: dict[str, Any] = {"load_models": ("*",)}
    world = two_versions(at(tmp_path, "poll"))
    assert world.outcome(Rollback("m")) == Outcome(version=1)
    again = at(tmp_path, mode, **options)
    again.settle()
    assert (again.answers(), again.view().pinned, again.view().previous) == (1, 1, 2)
    assert again.outcome(Rollback("m")) == Outcome(version=2)
    assert again.answers() == 2


def test_a_rollback_loads_what_is_no_longer_loaded_before_it_changes_the_route(
    world: World,
) -> None:
    two_versions(world)
    assert world.states() == {2: "READY"}
    world.manager.command(Rollback("m"))
    world.tick()
    assert (world.answers(), world.states()) == (2, {1: "LOADING", 2: "READY"})
    assert "version 1 is pinned and not ready (loading)" in world.view().reason
    world.settle()
    assert (world.answers(), world.view().reason) == (1, HELD)


def test_while_another_pin_loads_who_answered_goes_on_and_not_the_newest(world: World) -> None:
    two_versions(world)
    world.outcome(SetDefault("m", 1))
    world.write("m", 3)
    world.change()
    world.settle()
    assert (world.answers(), world.states()) == (1, {1: "READY", 3: "READY"})
    world.manager.command(SetDefault("m", 2))
    world.tick()
    assert (world.answers(), world.states()) == (1, {1: "READY", 2: "LOADING", 3: "READY"})
    world.settle()
    assert world.answers() == 2


def test_the_version_before_stays_for_a_set_time_and_then_leaves(tmp_path: Path) -> None:
    """Fault 75: a changed value changes behaviour."""
    world = two_versions(at(tmp_path, **KEEP))
    assert world.states() == {1: "READY", 2: "READY"}
    assert (world.version(1).reason, world.view().previous) == (policy.KEPT, 1)
    loads = list(world.loads)
    assert world.outcome(Rollback("m")) == Outcome(version=1)
    assert world.loads == loads
    assert world.outcome(SetDefault("m")) == Outcome(version=2)
    world.settle(301.0)
    assert world.states() == {2: "READY"}


def test_the_wait_for_the_version_before_to_leave_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = two_versions(at(tmp_path, **KEEP))
    monkeypatch.setattr(world.manager._sources, "stuck_at", lambda: float("inf"))
    world.settle(2.0)
    assert 250.0 < Manager.tick(world.manager) < 300.0


def test_only_one_version_before_stays_of_many_swaps(tmp_path: Path) -> None:
    world = at(tmp_path, **KEEP)
    for number in range(1, 6):
        world.write("m", number)
        world.change()
    assert world.states() == {4: "READY", 5: "READY"}


def test_a_version_before_that_left_the_disk_leaves(tmp_path: Path) -> None:
    world = two_versions(at(tmp_path, **KEEP))
    world.remove("m", 1)
    world.change()
    assert world.states() == {2: "READY"}
    refused = world.outcome(Rollback("m"))
    assert (refused.code, world.answers(), world.view().pinned) == (ErrorCode.NOT_FOUND, 2, None)


def test_a_policy_that_turns_to_an_older_version_swaps_once_and_keeps_the_newer(
    tmp_path: Path,
) -> None:
    world = at(tmp_path, **KEEP)
    for number in (1, 3):
        world.write("m", number)
    world.configure("m", "version_policy: {specific: [3]}\n")
    world.settle()
    assert world.answers() == 3
    world.configure("m", "version_policy: {specific: [1]}\n")
    for _ in range(4):
        world.change()
        assert world.loads == ["m/3", "m/1"]
    assert (world.answers(), world.states()) == (1, {1: "READY", 3: "READY"})


def test_a_rollback_without_a_version_before_says_so(world: World) -> None:
    world.write("m", 1)
    world.settle()
    refused = world.outcome(Rollback("m"))
    assert (refused.code, refused.version) == (ErrorCode.BAD_REQUEST, 1)
    assert refused.message == "no version of model 'm' answered before"


def test_while_a_pinned_version_cannot_answer_the_one_before_it_does_and_says_why(
    world: World,
) -> None:
    two_versions(world)
    world.write("m", 3)
    world.errors["m/3"] = LoadError("it is no ONNX model")
    failed = world.outcome(SetDefault("m", 3))
    assert failed.code is ErrorCode.BAD_REQUEST
    assert failed.message == (
        "load failed for model 'm': version 3 is at UNAVAILABLE state: it is no ONNX model"
    )
    assert world.answers() == 2
    assert world.view().reason == (
        "version 3 is pinned and not ready (failed: it is no ONNX model);"
        " version 2 answers until it is"
    )
    world.errors.clear()
    world.write("m", 3, "better")
    world.change()
    assert (world.answers(), world.view().reason) == (3, "")


def test_fault_87_a_pin_waits_for_its_version_and_does_not_stop_the_start(tmp_path: Path) -> None:
    world = two_versions(at(tmp_path))
    world.order(SetDefault("m", 1))
    world.remove("m", 1)
    again = at(tmp_path)
    again.settle()
    assert again.manager.wait_started(0)
    assert again.answers() == 2
    assert "version 1 is pinned and not ready (not on disk)" in again.view().reason
    again.write("m", 1)
    again.change()
    assert (again.answers(), again.view().reason) == (1, HELD)


def test_a_stand_in_at_a_restart_does_not_become_the_version_before(tmp_path: Path) -> None:
    world = at(tmp_path)
    world.configure("m", "version_policy: {latest: 2}\n")
    for number in (1, 2):
        world.write("m", number)
        world.change()
    again = at(tmp_path)
    again.errors["m/2"] = OSError(5, "I/O error")
    again.settle()
    again.errors.clear()
    again.settle(2.1)
    assert (again.answers(), again.view().previous) == (2, 1)


def test_default_of_a_version_that_is_nowhere_is_refused_and_changes_nothing(world: World) -> None:
    two_versions(world)
    for model, version in (("m", 9), ("other", 1)):
        assert world.outcome(SetDefault(model, version)).code is ErrorCode.NOT_FOUND
    assert (world.answers(), world.view().pinned) == (2, None)


# Load and unload.


@pytest.mark.parametrize("mode", ["poll", "explicit", "both"])
def test_unload_ends_the_last_version_also_when_its_folder_is_gone(
    tmp_path: Path, mode: str
) -> None:
    """A7: only a command takes a model's last version."""
    world = at(tmp_path, mode, load_models=("m",))
    world.write("m", 1)
    world.settle()
    queue = world.routed()[0]
    world.remove("m")
    world.change()
    assert world.states() == {1: "READY"}
    assert world.outcome(UnloadModel("m")) == Outcome()
    assert queue.closed
    assert world.manager.views() == ()
    world.change()
    assert world.manager.views() == ()


def test_an_unload_has_begun_once_nothing_answers_and_ends_when_all_is_gone(world: World) -> None:
    world.write("m", 1)
    world.settle()
    ticket = world.manager.command(UnloadModel("m"))
    seen: list[tuple[Outcome | None, int | None]] = []
    ticket.on_begun(lambda outcome: seen.append((outcome, world.answers())))
    assert seen == []
    world.tick()
    assert seen == [(None, None)]
    assert ticket.wait(0) is None
    world.settle()
    assert ticket.wait(0) == Outcome()
    # Who asks late is told at once, and who was told is not told again.
    ticket.on_begun(lambda outcome: seen.append((outcome, None)))
    assert seen == [(None, None), (Outcome(), None)]


@pytest.mark.parametrize("mode", ["poll", "explicit", "both"])
def test_unload_works_while_the_registry_cannot_be_read(tmp_path: Path, mode: str) -> None:
    world = at(tmp_path, mode, load_models=("m",))
    world.write("m", 1)
    world.settle()
    world.root.rename(tmp_path / "away")
    world.change()
    assert world.states() == {1: "READY"}
    assert world.outcome(LoadModel("m")).code is ErrorCode.UNAVAILABLE
    assert world.outcome(UnloadModel("m")) == Outcome()
    assert world.answers() is None
    (tmp_path / "away").rename(world.root)
    world.change()
    assert world.states() == {}


def test_in_poll_an_unloaded_model_stays_out_until_its_directory_changes(tmp_path: Path) -> None:
    world = two_versions(at(tmp_path))
    assert world.outcome(UnloadModel("m")) == Outcome()
    for _ in range(3):
        world.change()
    assert (world.states(), world.view().held_out) == ({}, True)
    assert world.view().reason == "unloaded by command"
    world.write("m", 3)
    world.change()
    assert (world.states(), world.view().held_out) == ({3: "READY"}, False)
    assert world.outcome(UnloadModel("m")) == Outcome()
    again = at(tmp_path)
    again.settle()
    assert again.states() == {3: "READY"}


def test_in_both_an_unloaded_model_stays_out_until_it_is_loaded_also_across_a_restart(
    tmp_path: Path,
) -> None:
    world = two_versions(at(tmp_path, "both"))
    assert world.outcome(UnloadModel("m")) == Outcome()
    world.write("m", 3)
    world.change()
    again = at(tmp_path, "both")
    again.settle()
    assert again.manager.wait_started(0)
    assert (again.states(), again.view().held_out) == ({}, True)
    assert again.outcome(LoadModel("m")) == Outcome(version=3)
    last = at(tmp_path, "both")
    last.settle()
    assert last.states() == {3: "READY"}


def test_in_both_a_version_that_was_unloaded_stays_out_and_the_next_lower_stands_in(
    tmp_path: Path,
) -> None:
    world = two_versions(at(tmp_path, "both"))
    ticket = world.manager.command(UnloadModel("m", 2))
    world.tick()
    assert world.version(2).reason == "unloaded by command as soon as version 1 is ready"
    world.settle()
    assert ticket.wait(0) == Outcome(version=1)
    again = at(tmp_path, "both")
    again.settle()
    assert again.states() == {1: "READY"}
    assert again.outcome(LoadModel("m", 2)) == Outcome(version=2)


def test_explicit_loads_nothing_but_what_is_named(tmp_path: Path) -> None:
    world = at(tmp_path, "explicit", load_models=("a",))
    for model in "abc":
        world.write(model, 1)
    world.settle()
    assert world.manager.wait_started(0)
    assert [world.states(model) for model in "abc"] == [{1: "READY"}, {}, {}]
    assert world.view("b").reason == "not loaded: nobody has asked for it"
    assert not world.view("b").held_out
    assert world.outcome(LoadModel("b")) == Outcome(version=1)
    assert world.states("b") == {1: "READY"}


def test_explicit_with_a_star_loads_what_is_there_at_the_start_and_nothing_later(
    tmp_path: Path,
) -> None:
    world = at(tmp_path, "explicit", load_models=("*",))
    world.write("a", 1)
    world.settle()
    world.write("b", 1)
    world.write("a", 2)
    world.configure("a", "max_batch_size: 4\n")
    world.change()
    assert world.loads == ["a/1"]
    world.remove("a", 1)
    world.change()
    assert world.states("a") == {1: "READY"}
    assert world.outcome(LoadModel("a")) == Outcome(version=2)
    assert world.version(2, "a").facts.config.max_batch_size == 4


def test_in_explicit_a_load_takes_a_configuration_that_was_just_written(
    tmp_path: Path,
) -> None:
    world = at(tmp_path, "explicit", load_models=("m",))
    world.write("m", 1)
    world.settle()
    world.configure("m", "max_batch_size: 4\n")
    assert world.outcome_at_once(LoadModel("m")) == Outcome(version=1)
    assert world.version(1).facts.config.max_batch_size == 4


def test_in_explicit_a_load_ends_when_its_files_vanish_before_it_began(tmp_path: Path) -> None:
    world = at(tmp_path, "explicit", load_models=("m",))
    world.write("m", 1)
    world.tick()
    world.write("m", 1, "other weights")
    for _ in range(4):
        world.tick(1.01)
    world.remove("m")
    world.change()
    assert world.manager.views() == ()


def test_explicit_begins_anew_at_each_start(tmp_path: Path) -> None:
    world = at(tmp_path, "explicit")
    world.write("m", 1)
    assert world.outcome(LoadModel("m")) == Outcome(version=1)
    again = at(tmp_path, "explicit")
    again.settle()
    assert again.loads == []


def test_in_explicit_single_versions_come_and_go_alone(tmp_path: Path) -> None:
    world = at(tmp_path, "explicit")
    for number in (1, 2, 3):
        world.write("m", number)
    world.settle()
    assert world.outcome(LoadModel("m", 1)) == Outcome(version=1)
    assert world.outcome(LoadModel("m", 3)) == Outcome(version=3)
    assert world.states() == {1: "READY", 3: "READY"}
    assert world.outcome(UnloadModel("m", 3)) == Outcome(version=1)
    assert world.outcome(UnloadModel("m", 1)) == Outcome()
    assert world.states() == {}


@pytest.mark.parametrize("mode", ["poll", "explicit", "both"])
@pytest.mark.parametrize("version", [None, 1])
def test_load_picks_up_files_that_changed_under_a_loaded_version(
    tmp_path: Path, mode: str, version: int | None
) -> None:
    world = at(tmp_path, mode, load_models=("m",))
    world.write("m", 1)
    world.settle()
    old = world.routed()[0]
    world.write("m", 1, "other weights")
    world.change()
    assert world.loads == ["m/1"]
    ticket = world.manager.command(LoadModel("m", version))
    world.tick()
    assert world.states() == {1: "READY"}
    assert world.version(1).reason == policy.RELOADING
    assert not old.closed
    world.settle()
    assert ticket.wait(0) == Outcome(version=1)
    assert old.closed
    assert world.loads == ["m/1", "m/1"]
    # Once they are loaded, later changes are reported again, not picked up.
    world.write("m", 1, "yet other weights")
    for _ in range(3):
        world.change()
    assert world.loads == ["m/1", "m/1"]
    assert world.version(1).reason == policy.FILES_CHANGED


@pytest.mark.parametrize("mode", ["poll", "explicit", "both"])
@pytest.mark.parametrize("version", [None, 1])
def test_a_load_does_not_wait_for_the_settle_time(
    tmp_path: Path, mode: str, version: int | None
) -> None:
    """Of a model that is new, and of files that changed under a version that serves."""
    world = at(tmp_path, mode)
    world.settle()
    for count in (1, 2):
        world.write("m", 1, f"weights {count}")
        world.configure("m", f"max_batch_size: {count}\n")
        assert world.outcome_at_once(LoadModel("m", version)) == Outcome(version=1)
        assert world.version(1).facts.config.max_batch_size == count
        assert world.loads == ["m/1"] * count


def test_a_load_of_one_version_hurries_no_other(world: World) -> None:
    world.settle()
    world.write("m", 1)
    world.write("m", 2)
    world.write("other", 1)
    assert world.outcome_at_once(LoadModel("m", 1)) == Outcome(version=1)
    assert world.loads == ["m/1"]
    assert "changed less than 3 s ago" in world.version(2).reason
    world.change()
    assert sorted(world.loads) == ["m/1", "m/2", "other/1"]


@pytest.mark.parametrize("seen", [False, True], ids=["unseen", "seen by a scan"])
@pytest.mark.parametrize("error", [None, LoadError("it is truncated")], ids=["read", "refused"])
@pytest.mark.parametrize("loaded", [False, True], ids=["new", "loaded before"])
def test_a_load_of_files_that_change_meanwhile_fails_in_words_and_is_tried_again_once_settled(
    world: World, seen: bool, error: LoadError | None, loaded: bool
) -> None:
    if loaded:
        world.write("m", 1)
    world.settle()
    folder = world.write("m", 1, "half")

    def go_on_copying(_: object) -> None:
        (folder / "model.onnx").write_text("half, and the rest")
        if seen:
            world.tick(1.01)

    world.during = go_on_copying
    if error is not None:
        world.errors["m/1"] = error
    failed = world.outcome_at_once(LoadModel("m"))
    assert failed.code is ErrorCode.UNAVAILABLE
    assert "its files changed while they were loaded" in failed.message
    world.during = lambda _: None
    world.errors.clear()
    world.change()
    assert world.states() == {1: "READY"}
    assert world.version(1).reason == ""
    assert world.loads == ["m/1"] * (3 if loaded else 2)


@pytest.mark.parametrize("version", [None, 2])
def test_a_load_of_a_version_without_all_its_files_fails_at_once_and_comes_with_them(
    world: World, version: int | None
) -> None:
    world.write("m", 1)
    world.settle()
    folder = world.write("m", 2)
    weights = b"more weights"
    files = {
        "model.onnx": (folder / "model.onnx").read_bytes(),
        "more.data": weights,
    }
    entries = {
        name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in files.items()
    }
    manifest = {
        "format": 1,
        "model": "m",
        "version": 2,
        "created": "2026-01-31T12:00:00Z",
        "files": entries,
    }
    (folder / "serving_manifest.json").write_text(json.dumps(manifest))
    failed = world.outcome_at_once(LoadModel("m", version))
    assert not failed.ok
    assert "version 2 is at UNAVAILABLE state" in failed.message
    assert "more.data" in failed.message
    assert world.answers() == 1
    (folder / "more.data").write_bytes(weights)
    world.settle(1.01)
    assert world.answers() == 2


def test_an_empty_folder_keeps_no_load_from_its_end(world: World) -> None:
    world.write("m", 1)
    (world.root / "m" / "2").mkdir()
    assert world.outcome_at_once(LoadModel("m")) == Outcome(version=1)
    assert "its directory is empty" in world.outcome_at_once(LoadModel("m", 2)).message


def test_changed_files_that_cannot_be_loaded_leave_what_answers(world: World) -> None:
    world.write("m", 1)
    world.settle()
    world.write("m", 1, "rubbish")
    world.errors["m/1"] = LoadError("it is no ONNX model")
    failed = world.outcome(LoadModel("m"))
    assert failed.code is ErrorCode.BAD_REQUEST
    assert world.states() == {1: "READY"}
    assert world.version(1).reason == (
        "answers with its former files; the new ones: it is no ONNX model"
    )
    world.errors.clear()
    assert world.outcome(LoadModel("m")) == Outcome(version=1)
    assert world.version(1).reason == ""


def test_a_load_that_asks_for_nothing_new_is_done_at_once(world: World) -> None:
    two_versions(world)
    loads = list(world.loads)
    assert world.outcome(LoadModel("m")) == Outcome(version=2)
    assert world.loads == loads


def test_a_failed_version_is_tried_again_at_once_when_asked_for(world: World) -> None:
    world.write("m", 1)
    world.errors["m/1"] = LoadError("no such operator")
    world.settle()
    world.errors.clear()
    assert world.outcome(LoadModel("m")) == Outcome(version=1)


def test_load_of_a_version_beyond_the_policy_keeps_it(world: World) -> None:
    two_versions(world)
    assert world.outcome(LoadModel("m", 1)) == Outcome(version=2)
    world.change()
    assert world.states() == {1: "READY", 2: "READY"}


def test_load_says_what_is_not_there(world: World) -> None:
    world.write("m", 1)
    world.configure("m", "version_policy: {specific: [7]}\n")
    world.settle()
    for command in (LoadModel("other"), LoadModel("m", 2), UnloadModel("other"), Rollback("x")):
        refused = world.outcome(command)
        assert refused.code in (ErrorCode.NOT_FOUND, ErrorCode.BAD_REQUEST)
        assert str(world.root) not in refused.message
    none = world.outcome(LoadModel("m"))
    assert (none.code, none.message) == (
        ErrorCode.BAD_REQUEST,
        "at least one version must be available under the version policy of model 'm'",
    )


def test_an_unload_of_what_is_not_loaded_changes_nothing_and_is_done(world: World) -> None:
    two_versions(world)
    for _ in range(2):
        assert world.outcome(UnloadModel("m")) == Outcome()


# Overrides.


def test_an_override_stands_in_for_the_configuration_until_a_load_without_one(
    world: World,
) -> None:
    world.write("m", 1)
    world.configure("m", "max_batch_size: 4\n")
    world.settle()
    assert world.outcome(LoadModel("m", override=ModelConfig(max_batch_size=16))).ok
    assert world.version(1).facts.config.max_batch_size == 16
    world.configure("m", "max_batch_size: 8\n")
    world.change()
    assert world.version(1).facts.config.max_batch_size == 16
    assert world.outcome(LoadModel("m")).ok
    assert world.version(1).facts.config.max_batch_size == 8


def test_an_override_heals_a_wrong_configuration(world: World) -> None:
    world.write("m", 1)
    world.configure("m", "max_batch_sise: 4\n")
    world.settle()
    assert world.states() == {1: "FAILED"}
    assert world.outcome(LoadModel("m", override=ModelConfig(max_batch_size=2))).ok
    assert (world.states(), world.view().reason) == ({1: "READY"}, "")


# Newer commands.


def test_a_newer_command_ends_the_older_one_and_its_load_is_cancelled(world: World) -> None:
    world.settle()
    world.write("m", 1)
    for _ in range(4):
        world.tick(1.01)
    assert world.states() == {1: "LOADING"}
    asked: list[bool] = []
    world.during = lambda call: asked.append(call["cancelled"]())
    first = world.manager.command(LoadModel("m"))
    second = world.manager.command(UnloadModel("m"))
    assert first.wait(0) == Outcome(ErrorCode.UNAVAILABLE, SUPERSEDED)
    world.settle()
    assert asked == [True]
    assert second.wait(0) == Outcome()
    assert world.routed() == []


def test_equal_commands_end_together(world: World) -> None:
    world.write("m", 1)
    tickets = [world.manager.command(LoadModel("m")) for _ in range(3)]
    world.settle()
    assert [ticket.wait(0) for ticket in tickets] == [Outcome(version=1)] * 3


def test_an_older_command_keeps_its_effect_where_the_newer_one_is_about_another_version(
    tmp_path: Path,
) -> None:
    world = at(tmp_path, "explicit")
    for number in (1, 2):
        world.write("m", number)
    world.settle()
    first = world.manager.command(LoadModel("m", 1))
    world.order(LoadModel("m", 2))
    assert first.wait(0) == Outcome(ErrorCode.UNAVAILABLE, SUPERSEDED)
    assert world.states() == {1: "READY", 2: "READY"}


def test_the_number_of_commands_under_way_is_bounded(world: World) -> None:
    tickets = [world.manager.command(LoadModel(f"m{n}")) for n in range(MOST + 1)]
    assert tickets[0].wait(0) is None
    refused = tickets[-1].wait(0)
    assert refused is not None
    assert refused.code is ErrorCode.FULL
    world.settle()
    assert all(ticket.wait(0) is not None for ticket in tickets)
    world.write("m", 1)
    assert world.outcome(LoadModel("m")).ok


def test_a_stop_ends_what_is_under_way_and_refuses_what_comes_later(world: World) -> None:
    ticket = world.manager.command(LoadModel("m"))
    assert world.manager.stop(0.1)
    for one in (ticket, world.manager.command(LoadModel("m"))):
        outcome = one.wait(0)
        assert outcome is not None
        assert outcome.code is ErrorCode.UNAVAILABLE


@pytest.fixture
def quick(world: World) -> Iterator[Manager]:
    """A manager with its real threads, and loads that end at once."""
    settings = Settings(model_control="both", registry={"settle_s": 0.0, "scan_interval_s": 5.0})
    manager = Manager(settings, [world.root], world.publish, world.load, new_stats=world.new_stats)
    world.write("m", 1)
    manager.start()
    try:
        yield manager
    finally:
        assert manager.stop(10.0)


@pytest.mark.parametrize("last", [LoadModel("m"), UnloadModel("m")])
def test_fault_18_a_storm_of_commands_ends_in_the_state_of_the_last(
    world: World, quick: Manager, last: LoadModel | UnloadModel
) -> None:
    def storm(seed: int) -> None:
        for turn in range(1000):
            command = LoadModel("m") if (seed + turn) % 2 else UnloadModel("m")
            ticket = quick.command(command)
            if turn % 50 == 0:
                outcome = ticket.wait(10.0)
                assert outcome is not None

    assert quick.wait_started(5.0)
    before = threading.active_count()
    threads = [threading.Thread(target=storm, args=(seed,)) for seed in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120.0)
        assert not thread.is_alive()
    outcome = quick.command(last).wait(10.0)
    loaded = isinstance(last, LoadModel)
    assert outcome == Outcome(version=1 if loaded else None)
    routed: list[Any] = [queue for view in quick.views() for queue in view.route.queues.values()]
    assert len(routed) == loaded
    assert not any(queue.closed for queue in routed)
    # Closes that are under way end; then nothing is left but what serves.
    idle = threading.Event()
    for _ in range(500):
        if len(quick._slots.all()) == loaded and threading.active_count() <= before:
            break
        idle.wait(0.01)
    assert len(quick._slots.all()) == loaded
    assert threading.active_count() <= before
    assert quick._tickets.under_way() == []
    assert len(quick.history("m")) <= 64


# What is told.


def test_fault_88_the_history_of_a_model_is_bounded_and_a_view_shows_what_is_live(
    world: World,
) -> None:
    for number in range(1, 40):
        world.write("m", number)
        world.change()
        if number > 1:
            world.remove("m", number - 1)
    world.write("other", 1)
    world.change()
    assert world.states() == {39: "READY"}
    events = world.manager.history("m")
    assert len(events) == 64
    assert {event.model for event in events} == {"m"}
    assert (events[-1].version, str(events[-1].state)) == (38, "GONE")
    assert {event.model for event in world.manager.history()} == {"m", "other"}
    assert world.manager.history("nobody") == ()


def test_what_leaves_says_why(world: World) -> None:
    two_versions(world)
    world.order(UnloadModel("m"))
    left = [e for e in world.manager.history("m") if str(e.state) == "DRAINING"]
    assert [(event.version, event.reason) for event in left] == [
        (1, "no longer under the version policy"),
        (2, policy.BY_COMMAND),
    ]


def test_a_models_own_reason_leaves_out_what_its_versions_say(world: World) -> None:
    two_versions(world)
    world.outcome(SetDefault("m", 1))
    assert world.view().own_reason == world.view().reason == HELD
    world.outcome(UnloadModel("m"))
    unloaded = world.view()
    assert unloaded.own_reason.startswith("unloaded by command; version 1 is pinned and not ready")
    assert (unloaded.answered, unloaded.previous, unloaded.default) == (1, 2, None)
    world.write("other", 1)
    world.errors["other/1"] = LoadError("it is no ONNX model")
    world.change()
    view = world.view("other")
    assert view.reason == "version 1 could not be loaded: it is no ONNX model"
    assert view.own_reason == ""


def test_the_history_tells_who_gave_a_command(tmp_path: Path) -> None:
    world = two_versions(at(tmp_path, **KEEP))
    world.manager.command(SetDefault("m", 1), by="192.0.2.7")
    world.tick()
    world.manager.command(UnloadModel("m"), by="192.0.2.8")
    world.settle()
    world.manager.command(LoadModel("m", 2, ModelConfig()), by="the repository API")
    world.settle()
    decided = (Change.PINNED, Change.UNLOAD, Change.LOAD)
    told = [e for e in world.manager.history("m") if e.state in decided]
    assert [(e.state, e.version, e.reason) for e in told] == [
        (Change.PINNED, 1, "by command from 192.0.2.7"),
        (Change.UNLOAD, None, "by command from 192.0.2.8"),
        (Change.LOAD, 2, "by command from the repository API, with what it brought"),
    ]


def test_the_history_tells_what_each_version_was_loaded_and_unloaded_for(tmp_path: Path) -> None:
    world = at(tmp_path)
    world.errors["m/1"] = LoadError("busy", retry=Retry.LATER)
    world.write("m", 1)
    world.settle()
    del world.errors["m/1"]
    world.settle(5)
    world.write("m", 1, "other")
    world.change()
    world.outcome(LoadModel("m"))
    world.configure("m", "batching: {enabled: false}\n")
    world.change()
    world.outcome(UnloadModel("m"))
    world.outcome(LoadModel("m", 1))
    shown = (State.NEW, State.LOADING, State.DRAINING)
    told = [e for e in world.manager.history("m") if e.state in shown and e.reason]
    assert [(str(e.state), e.reason) for e in told] == [
        ("NEW", policy.UNDER_POLICY),
        ("LOADING", "another try, after 1 that failed"),
        ("NEW", policy.ASKED_FOR),
        ("DRAINING", policy.REPLACED),
        ("NEW", policy.NEW_CONFIG),
        ("DRAINING", policy.REPLACED),
        ("DRAINING", policy.BY_COMMAND),
        ("NEW", policy.ASKED_FOR),
    ]


def test_the_history_tells_pins_rollbacks_and_which_version_answered(tmp_path: Path) -> None:
    world = two_versions(at(tmp_path, **KEEP))
    for command in (SetDefault("m", 1), SetDefault("m"), Rollback("m"), UnloadModel("m", 1)):
        world.outcome(command)
    world.outcome(UnloadModel("m"))
    told = [event for event in world.manager.history("m") if isinstance(event.state, Change)]
    assert [(event.version, str(event.state), event.reason) for event in told] == [
        (1, "DEFAULT", ""),
        (2, "DEFAULT", "in place of version 1"),
        (1, "PINNED", "by command"),
        (1, "DEFAULT", "in place of version 2; it is pinned"),
        (1, "UNPINNED", "by command"),
        (2, "DEFAULT", "in place of version 1"),
        (1, "ROLLBACK", "by command, which pins it"),
        (1, "DEFAULT", "in place of version 2; it is pinned"),
        (1, "UNLOAD", "by command"),
        (2, "DEFAULT", "in place of version 1, which is ready no more"),
        (None, "UNLOAD", "by command"),
        (2, "NO DEFAULT", "no version answers any more"),
    ]
    assert all(event.at > world.ahead for event in told)
    again = at(tmp_path)
    again.settle()
    (first,) = [event for event in again.manager.history("m") if isinstance(event.state, Change)]
    assert (first.version, first.reason) == (1, "it is pinned")


# Beside others, and in a directory that becomes ours.


def test_an_error_of_ours_costs_the_command_it_met_and_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for model in ("m", "n"):
        world.write(model, 1)
    world.change()
    apply = world.manager._desired.apply

    def failing(command: Any, *rest: Any) -> None:
        if command.model == "m":
            raise ZeroDivisionError
        apply(command, *rest)

    monkeypatch.setattr(world.manager._desired, "apply", failing)
    tickets = [world.manager.command(UnloadModel(model)) for model in ("m", "n")]
    with pytest.raises(ZeroDivisionError):
        world.settle()
    world.settle(1.01)
    outcomes = [ticket.wait(0) for ticket in tickets]
    assert [one and one.code for one in outcomes] == [ErrorCode.INTERNAL, None]
    assert (world.answers("m"), world.answers("n")) == (1, None)


@pytest.mark.parametrize(
    ("given", "held"),
    [
        ([SetDefault("m", 2)], (2, 2)),
        # What was commanded is taken back: that holds, too.
        ([SetDefault("m", 2), SetDefault("m")], (2, None)),
        ([UnloadModel("m")], (None, None)),
        ([], (1, 1)),
    ],
)
def test_what_was_commanded_here_holds_over_what_another_gateway_kept(
    tmp_path: Path, given: list[Command], held: tuple[int | None, int | None]
) -> None:
    other = two_versions(at(tmp_path))
    other.outcome(SetDefault("m", 1))
    other.settle(5.0)
    world = World(tmp_path / "registry", StateDir(None, is_ours=False))
    world.change()
    assert all(world.outcome(command).ok for command in given)
    world.manager.take_state(StateDir(tmp_path / "state"))
    world.change()
    assert (world.answers(), world.view().pinned) == held
