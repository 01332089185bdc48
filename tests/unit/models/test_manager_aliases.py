"""Aliases of versions: set, moved and taken away by command, and what holds while they stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serving.errors import ErrorCode
from serving.models.commands.command import LoadModel, SetAlias, SetDefault, UnloadModel
from serving.models.desired import policy
from serving.models.desired.overrides import MOST_ALIASES, part_of
from serving.models.state import Change, State
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
    world.configure("m", "version_policy: {specific: [1, 2]}\n")
    world.write("m", 3)
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
