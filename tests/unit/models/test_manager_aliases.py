"""Aliases of versions: set, moved and taken away by command, and what holds while they stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serving.errors import ErrorCode, LoadError, Retry
from serving.model_config.route import MOST_ALIASES
from serving.models.commands.command import LoadModel, SetAlias, SetDefault, UnloadModel
from serving.models.desired import policy
from serving.models.desired.overrides import part_of
from serving.models.reasons import Absence
from serving.models.state import Change, State
from serving.signature import Signature, Tensor
from serving.state_dir import StateDir
from tests.unit.manager_world import World
from tests.unit.models.test_manager_commands import at

TWO = "version_policy: {latest: 2}\n"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return both_ready(at(tmp_path))


def both_ready(world: World) -> World:
    world.configure("m", TWO)
    for number in (1, 2):
        world.write("m", number)
    world.settle()
    assert set(world.states()) == {1, 2}
    return world


def aliases(world: World) -> dict[str, int]:
    """As the published table has them."""
    views = world.published[-1]
    return dict(next(view.aliases for view in views if view.name == "m"))


def test_an_alias_is_set_moved_in_one_step_and_taken_away(world: World) -> None:
    assert world.outcome(SetAlias("m", "stable", 1)).ok
    assert world.outcome(SetAlias("m", "canary", 2)).ok
    assert (aliases(world), world.answers()) == ({"stable": 1, "canary": 2}, 2)
    before = len(world.published)
    assert world.outcome_at_once(SetAlias("m", "stable", 2)).version == 2
    told = [
        next(view.aliases for view in views if view.name == "m")
        for views in world.published[before:]
    ]
    assert {one["stable"] for one in told} == {2}, "no table was without it"
    assert world.outcome(SetAlias("m", "stable")).ok
    assert aliases(world) == {"canary": 2}


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (
            SetAlias("m", "a", 9),
            ErrorCode.FAILED_PRECONDITION,
            "version 9 of model m, which is not currently available for inference (in no model dir",
        ),
        (
            SetAlias("m", "a", 3),
            ErrorCode.FAILED_PRECONDITION,
            "available for inference (to load it: serving models load m 3)",
        ),
        (
            SetAlias("m", "a", 4),
            ErrorCode.FAILED_PRECONDITION,
            "available for inference (it is failed: it is corrupt)",
        ),
        (SetAlias("m", "LATEST", 1), ErrorCode.BAD_REQUEST, "it means the highest version"),
        (SetAlias("m", "a\u2028b", 1), ErrorCode.BAD_REQUEST, "characters that are not seen"),
        (SetAlias("m", "7", 1), ErrorCode.BAD_REQUEST, "'7' is no name for a version: it is a num"),
        (SetAlias("m", "a/b", 1), ErrorCode.BAD_REQUEST, "it has one of / : @"),
        (SetAlias("m", "b"), ErrorCode.NOT_FOUND, "model 'm' has no alias 'b'; its aliases: held"),
        (SetAlias("x", "b", 1), ErrorCode.NOT_FOUND, "'x'"),
        (SetAlias("x", "b"), ErrorCode.NOT_FOUND, "'x'"),
    ],
)
def test_an_alias_is_a_name_and_names_what_answers_or_is_refused(
    world: World, command: SetAlias, code: ErrorCode, words: str
) -> None:
    world.configure("m", "version_policy: {specific: [1, 2, 4]}\n")
    world.errors["m/4"] = LoadError("it is corrupt")
    for number in (3, 4):
        world.write("m", number)
    world.change()
    world.outcome(SetAlias("m", "held", 1))
    refused = world.outcome(command)
    assert (refused.code, words in refused.message) == (code, True), refused
    assert aliases(world) == {"held": 1}


def test_a_model_has_a_bounded_number_of_aliases(world: World) -> None:
    for number in range(MOST_ALIASES):
        assert world.outcome(SetAlias("m", f"a{number}", 1)).ok
    refused = world.outcome(SetAlias("m", "one-more", 1))
    assert (refused.code, f"has {MOST_ALIASES} aliases" in refused.message) == (
        ErrorCode.BAD_REQUEST,
        True,
    )
    assert world.outcome(SetAlias("m", "a0", 2)).ok, "one that is there may move"


def test_what_an_alias_names_stays_loaded_and_takes_over_from_nobody(world: World) -> None:
    world.outcome(SetAlias("m", "stable", 1))
    world.configure("m", "version_policy: {latest: 1}\n")
    world.change()
    assert world.states() == {1: "READY", 2: "READY"}
    # Until 3 is ready 2 answers, and not the one that is there for its alias.
    world.write("m", 3)
    for _ in range(5):
        world.tick(1.01)
        assert world.answers() == 2
    world.change()
    assert (world.states(), world.answers()) == ({1: "READY", 3: "READY"}, 3)
    world.outcome(SetAlias("m", "stable", 3))
    assert world.states() == {3: "READY"}


def canary(folder: Path, mode: str = "poll", **settings: Any) -> World:
    """After a restart: the policy wants version 2, and ``canary`` names 3."""
    world = at(folder, mode, load_models=("m",), **settings)
    world.configure("m", "version_policy: {specific: [1, 2, 3]}\n")
    for number in (1, 2, 3):
        world.write("m", number)
    world.settle()
    assert world.outcome(SetAlias("m", "canary", 3)).ok
    world.configure("m", "version_policy: {specific: [1, 2]}\n")
    again = at(folder, mode, load_models=("m",), **settings)
    again.signatures["m/3"] = Signature((Tensor("other", "FP64", (3,)),), ())
    return again


@pytest.mark.parametrize("pinned", [False, True])
@pytest.mark.parametrize("fails", [False, True])
def test_what_an_alias_names_takes_over_from_nobody_though_it_is_ready_first(
    tmp_path: Path, pinned: bool, fails: bool
) -> None:
    world = canary(tmp_path, threads={"load": 2})
    if pinned:
        assert world.outcome(SetDefault("m", 2)).ok
        # Who answered is kept a moment later.
        world.settle(1.01)
        world = at(tmp_path, threads={"load": 2})
    world.configure("m", "version_policy: {specific: [2]}\n")
    if fails:
        world.errors["m/2"] = LoadError("busy", retry=Retry.LATER)
        world.settle()
    else:
        # Of the two jobs only that of 3 has run.
        world.tick()
        (late,) = [job for job in world.jobs if "2" in job[0]]
        world.jobs.remove(late)
        world.settle()
        world.jobs.append(late)
    assert (world.states()[3], world.states()[2]) == ("READY", "FAILED" if fails else "LOADING")
    assert world.answers() is None
    assert aliases(world) == {"canary": 3}
    world.errors.clear()
    world.settle(100.0)
    assert world.answers() == 2


def test_one_that_answers_goes_on_though_only_its_alias_keeps_it(world: World) -> None:
    world.outcome(SetAlias("m", "stable", 2))
    world.errors["m/3"] = LoadError("busy", retry=Retry.LATER)
    world.configure("m", "version_policy: {specific: [3]}\n")
    world.write("m", 3)
    world.change()
    assert (world.states()[3], world.answers()) == ("FAILED", 2)
    world.errors.clear()
    world.settle(100.0)
    assert (world.states(), world.answers()) == ({2: "READY", 3: "READY"}, 3)


def test_in_explicit_an_alias_takes_over_nothing_when_another_version_is_unloaded(
    tmp_path: Path,
) -> None:
    world = canary(tmp_path, "explicit")
    world.settle()
    assert (world.states(), world.answers()) == (dict.fromkeys((1, 2, 3), "READY"), 2)
    assert world.outcome(UnloadModel("m", 1)).ok
    assert (world.states(), world.answers()) == ({2: "READY", 3: "READY"}, 2)
    assert world.outcome(SetAlias("m", "next", 3)).ok
    assert (aliases(world), world.answers()) == ({"canary": 3, "next": 3}, 2)
    for alias in ("canary", "next"):
        assert world.outcome(SetAlias("m", alias)).ok
    assert (world.states(), world.answers()) == ({2: "READY"}, 2)


def test_in_explicit_what_only_an_alias_names_goes_with_the_model_and_by_its_number(
    tmp_path: Path,
) -> None:
    world = canary(tmp_path, "explicit")
    world.settle()
    world.outcome(UnloadModel("m", 1))
    assert world.outcome(UnloadModel("m", 3)).ok
    assert world.states() == {2: "READY"}
    world.outcome(LoadModel("m"))
    world.outcome(UnloadModel("m", 2))
    assert world.states() == {1: "READY", 3: "READY"}
    assert world.outcome(UnloadModel("m")).ok
    assert (world.states(), aliases(world)) == ({}, {"canary": 3})
    world.outcome(LoadModel("m", 1))
    assert world.states() == {1: "READY"}, "it was unloaded, too"


def test_nothing_is_said_of_the_signature_of_what_only_an_alias_loads(tmp_path: Path) -> None:
    world = canary(tmp_path)
    world.settle()
    assert world.states()[3] == "READY"
    assert (world.version(3).reason, world.version(3).held_back, world.view().reason) == (
        "",
        False,
        "",
    )


def test_a_load_of_the_model_waits_for_no_version_that_only_an_alias_wants(
    tmp_path: Path,
) -> None:
    world = canary(tmp_path)
    world.errors["m/3"] = LoadError("it is corrupt")
    assert world.outcome(LoadModel("m")).ok
    assert world.states() == {1: "READY", 2: "READY", 3: "FAILED"}
    refused = world.outcome(SetAlias("m", "next", 3))
    assert refused.code is ErrorCode.FAILED_PRECONDITION
    assert refused.message.endswith("inference (it is failed: it is corrupt)")


def test_an_alias_of_a_model_off_the_disk_is_taken_away(tmp_path: Path) -> None:
    both_ready(at(tmp_path)).outcome(SetAlias("m", "stable", 1))
    world = at(tmp_path)
    world.remove("m")
    world.settle()
    refused = world.outcome(SetAlias("m", "other"))
    assert "model 'm' has no alias 'other'; its aliases: stable" in refused.message
    assert world.outcome(SetAlias("m", "stable")).ok
    assert "'m'" in world.outcome(SetAlias("m", "stable")).message
    again = both_ready(at(tmp_path))
    assert aliases(again) == {}


def test_a_command_that_is_refused_undoes_none_that_was_given_before(world: World) -> None:
    world.manager.command(SetAlias("m", "stable", 1))
    refused = world.outcome(SetAlias("m", "stable", 9))
    assert refused.code is ErrorCode.FAILED_PRECONDITION
    assert aliases(world) == {"stable": 1}


@pytest.mark.parametrize("count", [1, MOST_ALIASES])
def test_aliases_are_no_clients_matter_and_make_no_words_of_any_length(
    world: World, count: int
) -> None:
    for number in range(count):
        assert world.outcome(SetAlias("m", f"{number:02}{'a' * 238}", 1)).ok
    for version in (1, 2):
        world.outcome(UnloadModel("m", version))
    assert world.states() == {}
    world.errors["m/2"] = LoadError("busy", retry=Retry.LATER)
    world.order(LoadModel("m", 2))
    view = world.view()
    assert view.route.reason == "version 2 could not be loaded: busy"
    told = "alias '00" if count == 1 else "aliases '00"
    assert told in view.own_reason
    assert len(view.own_reason) < 1200
    assert ("and 60 more name version 1, which is not ready" in view.own_reason) == (count > 1)


@pytest.mark.parametrize("mode", ["poll", "both", "explicit"])
def test_aliases_outlive_a_restart_in_every_mode(tmp_path: Path, mode: str) -> None:
    world = at(tmp_path, mode, load_models=("m",))
    world.configure("m", TWO)
    for number in (1, 2):
        world.write("m", number)
    world.settle()
    world.outcome(SetAlias("m", "stable", 1))
    world.configure("m", "version_policy: {latest: 1}\n")
    again = at(tmp_path, mode, load_models=("m",))
    again.settle()
    assert (aliases(again), again.answers()) == ({"stable": 1}, 2)
    assert again.states() == {1: "READY", 2: "READY"}, "it is loaded for its alias"
    why = [e.reason for e in again.manager.history("m") if (e.version, e.state) == (1, State.NEW)]
    assert why == [policy.NAMED]


def test_in_explicit_an_alias_outlives_a_restart_and_loads_nothing(tmp_path: Path) -> None:
    world = at(tmp_path, "explicit", load_models=("m",))
    both_ready(world).outcome(SetAlias("m", "stable", 1))
    again = at(tmp_path, "explicit")
    again.settle()
    assert (again.states(), aliases(again)) == ({}, {"stable": 1})
    assert again.view().reason == Absence.NOBODY_ASKED
    assert again.outcome(LoadModel("m", 2)).ok
    assert again.states() == {2: "READY"}
    words = "alias 'stable' names version 1, which is not ready (not loaded); nothing answers"
    assert again.view().own_reason == words
    assert again.outcome(LoadModel("m")).ok
    assert (again.states(), again.view().reason) == ({1: "READY", 2: "READY"}, "")


def test_fault_87_an_alias_waits_for_its_version_and_does_not_stop_the_start(
    tmp_path: Path,
) -> None:
    both_ready(at(tmp_path)).outcome(SetAlias("m", "stable", 1))
    world = at(tmp_path)
    world.remove("m", 1)
    world.settle()
    assert world.manager.wait_started(0)
    words = "alias 'stable' names version 1, which is not ready (not on disk); nothing answers"
    assert (world.view().own_reason, aliases(world)) == (words, {"stable": 1})
    world.write("m", 1)
    world.change()
    assert (world.states(), world.view().reason) == ({1: "READY", 2: "READY"}, "")


def test_an_unload_leaves_the_alias_which_comes_back_with_the_version(world: World) -> None:
    world.outcome(SetAlias("m", "stable", 1))
    world.outcome(UnloadModel("m", 1))
    assert (world.states(), aliases(world)) == ({2: "READY"}, {"stable": 1})
    assert "alias 'stable' names version 1, which is not ready (not loaded)" in world.view().reason
    world.outcome(LoadModel("m", 1))
    assert world.states() == {1: "READY", 2: "READY"}


def test_a_version_that_is_loaded_for_a_while_only_stays_with_an_alias(tmp_path: Path) -> None:
    world = at(tmp_path, rollout={"keep_previous_s": 60.0})
    world.write("m", 1)
    world.settle()
    world.write("m", 2)
    world.change()
    assert world.states() == {1: "READY", 2: "READY"}
    world.outcome(SetAlias("m", "stable", 1))
    world.settle(100.0)
    assert world.states() == {1: "READY", 2: "READY"}
    world.outcome(SetAlias("m", "stable"))
    assert world.states() == {2: "READY"}


def test_the_history_tells_of_aliases_and_who_set_them(world: World) -> None:
    for version in (1, 2, None):
        world.manager.command(SetAlias("m", "stable", version), by="192.0.2.7")
        world.settle()
    kinds = (Change.ALIAS, Change.ALIAS_REMOVED)
    told = [e for e in world.manager.history("m") if e.state in kinds]
    assert [(e.version, str(e.state), e.reason) for e in told] == [
        (1, "ALIAS", "'stable': by command from 192.0.2.7"),
        (2, "ALIAS", "'stable': in place of version 1; by command from 192.0.2.7"),
        (2, "ALIAS REMOVED", "'stable': by command from 192.0.2.7"),
    ]


def test_an_alias_ends_no_load_and_no_load_an_alias(world: World) -> None:
    load = world.manager.command(LoadModel("m", 1))
    first = world.manager.command(SetAlias("m", "a", 1))
    other = world.manager.command(SetAlias("m", "b", 1))
    newer = world.manager.command(SetAlias("m", "a", 2))
    world.manager.command(SetDefault("m", 2))
    outcome: Any = first.wait(0)
    assert not outcome.ok, "the newer one took its place"
    world.settle()
    assert [ticket.wait(0).ok for ticket in (other, newer)] == [True, True]  # type: ignore[union-attr]  # both have ended
    assert load.wait(0) is not None
    assert aliases(world) == {"a": 2, "b": 1}


def test_a_name_in_the_state_that_no_route_can_have_is_left_out_and_said(tmp_path: Path) -> None:
    entry = {"pin": 1, "aliases": {"7": 1, "good": 1}}
    document = {"form": 1, "models": {"m": entry}}
    StateDir(tmp_path / "state").write(f"models/{part_of('m')}", document)
    world = both_ready(at(tmp_path))
    assert (aliases(world), world.view().pinned) == ({"good": 1}, 1)
