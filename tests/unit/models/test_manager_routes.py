"""Weights: set by command, kept, and what holds while they stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serving.errors import ErrorCode
from serving.models.commands.command import (
    Command,
    LoadModel,
    SetAlias,
    SetDefault,
    SetRoute,
    UnloadModel,
)
from serving.models.desired.overrides import MOST_CHANGES, NOTHING, part_of
from serving.models.desired.route_history import KEPT, KeptChanges, noted
from serving.models.state import Change, State
from serving.rollout.route import RouteChange
from serving.signature import Signature, Tensor
from serving.state_dir import StateDir
from tests.unit.manager_world import SIGNATURE, World
from tests.unit.models.test_manager_commands import at

CANARY = SetRoute("m", {3: 95, 4: 5}, "X-User")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return four(at(tmp_path))


def four(world: World) -> World:
    """Of four versions the newest is loaded."""
    for number in (1, 2, 3, 4):
        world.write("m", number)
    world.settle()
    assert world.states() == {4: State.READY}
    return world


def route(world: World) -> Any:
    """As it was published last."""
    return next(view.route for view in world.published[-1] if view.name == "m")


def test_versions_with_a_weight_are_loaded_and_share_the_requests_in_one_step(world: World) -> None:
    before = len(world.published)
    assert world.outcome(CANARY).version == 3
    assert (set(world.states()), world.answers()) == ({3, 4}, 3)
    assert (route(world).weights, route(world).sticky) == (((3, 95), (4, 5)), "x-user")
    published = [
        (view.default, view.route.weights) for views in world.published[before:] for view in views
    ]
    assert set(published) <= {(4, ()), (4, ((3, 95), (4, 5))), (3, ((3, 95), (4, 5)))}
    assert world.outcome_at_once(SetRoute("m", {3: 90, 4: 10})).ok
    assert (route(world).weights, route(world).sticky) == (((3, 90), (4, 10)), "x-user")


def test_until_the_version_with_most_is_ready_who_answered_goes_on(world: World) -> None:
    """Nobody but those of its own part meets the version with little."""
    world.outcome(SetRoute("m", {2: 1}))
    world.errors["m/3"] = ValueError("it is corrupt")
    assert not world.outcome(SetRoute("m", {3: 95, 4: 5})).ok
    assert (world.answers(), route(world).weights) == (2, ((3, 95), (4, 5)))
    assert set(world.states()) == {2, 3, 4}
    del world.errors["m/3"]
    assert world.outcome(LoadModel("m", 3)).ok
    world.settle()
    assert (world.answers(), set(world.states())) == (3, {3, 4})


def test_cleared_weights_leave_the_requests_to_the_version_policy(world: World) -> None:
    world.outcome(CANARY)
    assert world.outcome(SetRoute("m", {})).ok
    world.settle()
    assert (set(world.states()), world.answers(), route(world).weights) == ({4}, 4, ())
    assert (world.view().split.sticky, route(world).sticky) == ("", "")


def test_no_newer_version_takes_over_while_requests_are_divided(world: World) -> None:
    world.outcome(SetRoute("m", {3: 100, 4: 0}))
    world.write("m", 5)
    world.change()
    assert (world.states()[5], world.answers()) == (State.READY, 3)
    # What has no traffic yet is there for it, whatever the policy says.
    assert world.states()[4] == State.READY


def test_what_falls_to_a_version_that_can_not_answer_is_the_others(world: World) -> None:
    world.outcome(CANARY)
    world.outcome(UnloadModel("m", 3))
    assert (set(world.states()), world.answers()) == ({4}, 4)
    assert "version 3 has a weight and is not ready (not loaded); version 4" in world.view().reason
    assert world.outcome(LoadModel("m", 3)).ok
    assert (world.answers(), world.view().reason) == (3, "")


def test_a_pin_wins_over_weights_which_are_in_force_again_without_it(world: World) -> None:
    world.outcome(CANARY)
    assert world.outcome(SetDefault("m", 2)).version == 2
    assert (world.answers(), route(world).weights) == (2, ())
    assert set(world.states()) == {2, 3, 4}
    assert "its weights wait: the model is pinned" in world.view().reason
    assert world.outcome(SetDefault("m")).ok
    assert (world.answers(), route(world).weights) == (3, ((3, 95), (4, 5)))


def test_a_version_that_is_held_back_gets_nothing_and_moves_nobody(world: World) -> None:
    other = Signature((Tensor("z", "FP32", (-1, 4)),), SIGNATURE.outputs)
    world.signatures["m/3"] = other
    assert world.outcome(SetRoute("m", {3: 50, 4: 50})).ok
    assert (world.answers(), route(world).weights) == (4, ((4, 50), (4, 50)))
    refused = world.outcome(SetRoute("m", {3: 1, 4: 99}))
    assert refused.code is ErrorCode.FAILED_PRECONDITION
    assert "held back for its signature (to let it answer: serving models acc" in refused.message


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (SetRoute("m", {9: 1}), ErrorCode.NOT_FOUND, "version 9 of model 'm' is in no model dir"),
        (SetRoute("nobody", {1: 1}), ErrorCode.NOT_FOUND, "'nobody' is in no model directory"),
        (SetRoute("m", {3: 0}), ErrorCode.BAD_REQUEST, "all weights are 0"),
        (SetRoute("m", {3: -1, 4: 2}), ErrorCode.BAD_REQUEST, "the weight of version 3 is -1"),
        (SetRoute("m", dict.fromkeys(range(17), 1)), ErrorCode.BAD_REQUEST, "at most 16 can share"),
        (SetRoute("m", None, "x-user"), ErrorCode.BAD_REQUEST, "there are no weights"),
        (SetRoute("m", {3: 1}, "x user"), ErrorCode.BAD_REQUEST, "the name of a key is 1 to 255"),
        (SetRoute("m", shadows={3: 1.5}), ErrorCode.BAD_REQUEST, "the share of shadow 3 is 1.5"),
    ],
)
def test_weights_that_can_not_be_are_refused_in_words_and_change_nothing(
    world: World, command: Command, code: ErrorCode, words: str
) -> None:
    outcome = world.outcome(command)
    assert (outcome.code, words in outcome.message) == (code, True), outcome
    assert (route(world).weights, world.answers()) == ((), 4)
    assert world.manager.route_history(command.model) == ()


def test_a_version_that_can_not_be_loaded_fails_the_command_and_its_share_is_the_others(
    world: World,
) -> None:
    world.errors["m/3"] = ValueError("it is corrupt")
    outcome = world.outcome(SetRoute("m", {2: 90, 3: 10}))
    assert (outcome.ok, "version 3 is at UNAVAILABLE state" in outcome.message) == (False, True)
    assert (world.answers(), route(world).weights) == (2, ((2, 90), (3, 10)))


@pytest.mark.parametrize("mode", ["poll", "explicit", "both"])
def test_weights_and_their_history_outlive_a_restart(tmp_path: Path, mode: str) -> None:
    def begun() -> World:
        return at(tmp_path, mode, load_models=["m"])

    world = four(begun())
    world.outcome(CANARY)
    history = world.manager.route_history("m")
    world.manager.stop(1.0)
    again = begun()
    again.settle()
    assert (again.answers(), route(again).weights) == (3, ((3, 95), (4, 5)))
    assert again.view().split.sticky == "x-user"
    assert again.manager.route_history("m") == history


@pytest.mark.parametrize("weights", [{3: 95, 4: 5}, {3: 100, 4: 0}, {3: 100}])
def test_at_a_restart_no_version_gets_more_than_its_part(
    tmp_path: Path, weights: dict[int, int]
) -> None:
    world = four(at(tmp_path))
    world.outcome(SetRoute("m", weights))
    world.manager.stop(1.0)
    again = at(tmp_path)
    again.settle()
    assert again.loads[0] == "m/3"
    assert {view.default for views in again.published for view in views} == {None, 3}
    again.manager.stop(1.0)
    # Where the newest is ready first.
    both = at(tmp_path, threads={"load": 2})
    both.tick()
    while both.jobs:
        _, job = both.jobs.pop()
        job()
        both.tick()
    assert both.answers() == 3
    assert {view.default for views in both.published for view in views} == {None, 3}


def test_where_the_version_with_most_can_not_come_the_next_answers(tmp_path: Path) -> None:
    world = four(at(tmp_path))
    world.outcome(CANARY)
    world.manager.stop(1.0)
    again = at(tmp_path)
    again.errors["m/3"] = ValueError("it is corrupt")
    again.settle()
    assert again.answers() == 4


def test_a_document_with_weights_that_can_not_be_is_told_of_and_left_out(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "state")
    for weights in ([[1, -1]], [[1, 0]], [[0, 1]], [["1", 1]], [[1, 1, 1]], [[1, 1]] * 17, 3):
        entry = {"pin": 2, "weights": weights}
        state.write(f"models/{part_of('m')}", {"form": 1, "models": {"m": entry}})
        world = four(at(tmp_path))
        assert (world.answers(), route(world).weights) == (4, ()), weights
        world.manager.stop(0.0)
        state.remove(f"models/{part_of('m')}")


def test_the_history_tells_who_changed_what_and_why(world: World) -> None:
    for command, by, reason in (
        (CANARY, "rollout", "step 1"),
        (SetAlias("m", "champion", 4), "mlflow", ""),
        (SetDefault("m", 4), "10.0.0.1", "a" * 600),
        (SetDefault("m"), "10.0.0.1", ""),
        (SetAlias("m", "champion"), "10.0.0.1", ""),
        (SetRoute("m", {}), "rollout", "rolled back"),
        # It changes nothing.
        (SetDefault("m"), "10.0.0.1", ""),
    ):
        ticket = world.manager.command(command, by, reason)
        world.settle()
        assert ticket.wait(0) is not None
    history = world.manager.route_history("m")
    told = [(one.by, one.what, one.reason) for one in history if " in place of " not in one.what]
    assert told == [
        ("rollout", "weights 3=95 4=5, sticky by x-user", "step 1"),
        ("mlflow", "alias 'champion' names version 4", ""),
        ("10.0.0.1", "pinned to version 4", "a" * 500),
        ("10.0.0.1", "version 4 is pinned no more", ""),
        ("10.0.0.1", "alias 'champion' is taken away", ""),
        ("rollout", "no weights", "rolled back"),
    ]
    answers = [(one.by, one.what) for one in history if " in place of " in one.what]
    assert answers == [
        ("weights", "version 3 answers in place of version 4"),
        ("pin", "version 4 answers in place of version 3"),
        ("weights", "version 3 answers in place of version 4"),
        ("version policy", "version 4 answers in place of version 3"),
    ]
    events = [one.reason for one in world.manager.history("m") if one.state is Change.ROUTE]
    words = "weights 3=95 4=5, sticky by x-user: by command from rollout (step 1)"
    assert events[0] == words


def test_what_changes_nothing_pushes_nothing_out_of_the_history(world: World) -> None:
    commands = (CANARY, SetAlias("m", "champion", 4), SetDefault("m", 4))
    for command in commands:
        assert world.outcome(command).ok
    history = world.manager.route_history("m")
    for command in (*commands, SetRoute("m"), SetRoute("m", {3: 95, 4: 5})):
        assert world.outcome(command).ok
    assert world.manager.route_history("m") == history


ROUTE = "route: {weights: {3: 95, 4: 5}, sticky: X-User, aliases: {champion: 3}}\n"


def say(world: World, text: str) -> None:
    world.configure("m", text)
    for _ in range(4):
        world.change()


def test_a_models_configuration_says_its_route_and_no_command_changes_that(world: World) -> None:
    world.outcome(SetRoute("m", {2: 1}))
    world.outcome(SetAlias("m", "champion", 2))
    world.outcome(SetAlias("m", "mine", 2))
    say(world, ROUTE)
    assert (world.answers(), route(world).weights, route(world).sticky) == (
        3,
        ((3, 95), (4, 5)),
        "x-user",
    )
    assert route(world).aliases == {"champion": 3, "mine": 2}
    for command, words in (
        (SetRoute("m", {}), "model.yaml says the weights of model 'm'"),
        (SetAlias("m", "champion", 4), "model.yaml says what 'champion' of model 'm' names"),
    ):
        refused = world.outcome(command)
        assert (refused.code, refused.message) == (ErrorCode.FAILED_PRECONDITION, words)
    assert world.outcome(SetDefault("m", 4)).ok
    assert world.answers() == 4
    # What is wrong changes nothing, and what is said no more is not what was said before it.
    say(world, "route: {weights: 3}\n")
    assert world.view().split.weights == {3: 95, 4: 5}
    say(world, "route: {pin: 3}\n")
    assert (world.answers(), world.view().split.weights) == (3, {})
    assert route(world).aliases == {"mine": 2}
    refused = world.outcome(SetDefault("m"))
    assert refused.message == "model.yaml pins model 'm' to version 3"
    say(world, "{}\n")
    assert world.answers() == 4
    told = [one.what for one in world.manager.route_history("m") if one.by == "yaml"]
    assert told == [
        "weights 3=95 4=5, sticky by x-user, alias 'champion' names version 3",
        "pinned to version 3",
        "model.yaml says nothing of it any more",
    ]


def test_a_name_that_no_alias_can_have_is_a_wrong_configuration(world: World) -> None:
    say(world, "route: {aliases: {'7': 3}}\n")
    words = "its configuration is wrong: model.yaml: route.aliases: '7' is no name for a version"
    assert words in world.view().reason


def test_a_restart_tells_nothing_that_a_configuration_said_before(tmp_path: Path) -> None:
    world = four(at(tmp_path))
    say(world, ROUTE)
    before = world.manager.route_history("m")
    world.manager.stop(1.0)
    again = at(tmp_path)
    again.settle()
    assert (again.answers(), again.manager.route_history("m")) == (3, before)


def test_a_long_list_of_aliases_costs_nothing_that_was_decided(tmp_path: Path) -> None:
    world = four(at(tmp_path))
    world.outcome(SetDefault("m", 2))
    names = ", ".join(f"{'long-' * 40}{number}: 3" for number in range(64))
    say(world, f"route: {{aliases: {{{names}}}}}\n")
    history = world.manager.route_history("m")
    assert history[-1].by == "yaml"
    world.manager.stop(1.0)
    again = at(tmp_path)
    again.settle()
    assert (again.view().pinned, again.manager.route_history("m")) == (2, history)


def test_a_history_is_bounded_for_a_model_and_for_all() -> None:
    current = NOTHING
    for number in range(100):
        current = noted(current, RouteChange(float(number), "", str(number)))
    assert [one.what for one in current.changes] == [str(n) for n in range(36, 100)]
    assert len(current.changes) == MOST_CHANGES
    kept = KeptChanges({"new": current, "old": noted(NOTHING, RouteChange(1.0, "", ""))})
    for number in range(KEPT - 65):
        assert kept.put(f"m{number}", 1) == []
    assert kept.put("m0", 2) == ["old"]
    assert (kept.put("more", 1), kept.put("much", 20)) == (["new"], [])
    assert kept.put("much", 64) == ["m1"]


def test_a_newer_route_takes_the_place_of_an_older_one_and_of_nothing_else(world: World) -> None:
    load = world.manager.command(LoadModel("m", 1))
    first = world.manager.command(CANARY)
    second = world.manager.command(SetRoute("m", {3: 1}))
    world.settle()
    told = first.wait(0)
    assert told is not None
    assert not told.ok
    for ticket in (load, second):
        done = ticket.wait(0)
        assert done is not None
        assert done.ok
    assert route(world).weights == ((3, 1),)
