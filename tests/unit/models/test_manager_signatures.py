"""A version whose signature breaks callers is loaded, and answers unnamed requests only once
somebody wants it to."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from serving.errors import ErrorCode, LoadError
from serving.model_config import ModelConfig
from serving.models.commands.command import (
    AcceptVersion,
    Command,
    LoadModel,
    Outcome,
    Rollback,
    SetDefault,
    SetRoute,
    UnloadModel,
)
from serving.models.commands.facts import Facts
from serving.models.commands.progress import outcome
from serving.models.desired import policy
from serving.models.desired.candidates import Candidate, ModelTarget
from serving.models.state import Slot, SlotKey, State
from serving.registry.folder_origin import FolderOrigin
from serving.signature import Signature, Tensor
from serving.state_dir import StateDir
from tests.unit.manager_world import SIGNATURE, World

OUT = (Tensor("y", "FP32", (-1, 3)),)
OTHER = Signature((Tensor("x", "INT64", (-1, 4)),), OUT)
WIDER = Signature((*SIGNATURE.inputs, Tensor("k", "INT64", (), optional=True)), OUT)
DIFFERS = "input 'x' is INT64, was FP32"
WHY = f"its signature is not that of version 1: {DIFFERS} (to take it: serving models accept m 2)"
HELD = f"held back from requests that name no version, because {WHY}"
ALONE = f"answers, as no other version can, although {WHY}"
BOTH = {1: "READY", 2: "READY"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return at(tmp_path)


def at(folder: Path, mode: str = "poll", **settings: Any) -> World:
    """A world over the registry and the state directory in ``folder``, as after a restart; the
    second version has another signature."""
    (folder / "registry").mkdir(exist_ok=True)
    state = StateDir(folder / "state")
    world = World(folder / "registry", state, model_control=mode, **settings)
    world.signatures = {"m/2": OTHER}
    return world


def changed(world: World) -> World:
    """Version 1 answers, and version 2 has come."""
    world.write("m", 1)
    world.settle()
    world.settle(1.01)
    assert world.answers() == 1
    world.write("m", 2)
    world.change()
    return world


def routed(world: World) -> set[int]:
    """The versions that requests by number reach."""
    return {n for view in world.published[-1] if view.name == "m" for n in view.route.queues}


def test_it_is_held_back_in_words_and_reached_by_number(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """``latest: 1`` keeps the version that answers beside it."""
    changed(world)
    assert (world.answers(), world.states(), routed(world)) == (1, BOTH, {1, 2})
    assert (world.version(2).held_back, world.version(2).reason) == (True, HELD)
    assert (world.version(1).held_back, world.version(1).reason) == (False, "")
    assert world.view().reason == f"version 2 {HELD}"
    world.change()
    assert capsys.readouterr().out.count("signature_held_back") == 1
    told = [e for e in world.manager.history("m") if e.reason == HELD]
    assert [(e.version, str(e.state)) for e in told] == [(2, "READY")]
    assert world.loads == ["m/1", "m/2"]


def test_once_accepted_it_answers_without_a_pin_and_later_ones_are_compared_with_it(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    changed(world)
    assert world.outcome_at_once(AcceptVersion("m", 2)) == Outcome(version=2)
    assert (world.answers(), world.view().pinned, world.view().previous) == (2, None, 1)
    assert (world.version(2).held_back, world.view().reason) == (False, "")
    assert "signature_accepted" in capsys.readouterr().out
    world.signatures["m/3"] = OTHER
    world.write("m", 3)
    world.change()
    assert world.answers() == 3
    world.write("m", 4)
    world.change()
    assert (world.answers(), world.version(4).held_back) == (3, True)


@pytest.mark.parametrize("accepted", [False, True])
def test_it_stays_as_it_was_over_a_restart(tmp_path: Path, accepted: bool) -> None:
    world = changed(at(tmp_path))
    if accepted:
        world.outcome(AcceptVersion("m", 2))
    again = at(tmp_path)
    again.tick()
    again.run_jobs()
    again.tick()
    # The newest is loaded first, and answers nobody who did not name it.
    assert again.answers() == (2 if accepted else None)
    if not accepted:
        assert again.view().reason.startswith("version 1 is loading")
        assert not again.manager.wait_started(0)
    again.settle()
    assert again.manager.wait_started(0)
    assert again.answers() == (2 if accepted else 1)
    assert again.version(2).reason == ("" if accepted else HELD)


def test_a_first_start_compares_nothing(tmp_path: Path) -> None:
    """Also where an older version is ready before the newest."""
    world = at(tmp_path, threads={"load": 2})
    world.write("m", 1)
    world.write("m", 2)
    world.configure("m", "version_policy: all\n")
    world.tick()
    (older,) = [job for name, job in world.jobs if name == "load-m-1"]
    world.jobs = [(name, job) for name, job in world.jobs if name != "load-m-1"]
    older()
    world.tick()
    assert world.answers() == 1
    world.settle()
    assert world.answers() == 2
    assert not any(v.held_back for v in world.view().versions)


def test_a_signature_that_only_widens_answers_at_once(world: World) -> None:
    world.signatures["m/2"] = WIDER
    assert changed(world).answers() == 2
    world.write("m", 3)
    world.change()
    assert (world.answers(), world.version(3).held_back) == (2, True), "it has become the known one"


def test_the_setting_turns_it_off(tmp_path: Path) -> None:
    """Fault 75: a changed value changes behaviour."""
    off = {"rollout": {"keep_previous_s": 0.0, "hold_signature_changes": False}}
    world = changed(at(tmp_path, **off))
    assert (world.answers(), world.states(), world.view().reason) == (2, {2: "READY"}, "")


@pytest.mark.parametrize("kind", ["all", "specific: [1, 2]", "latest: 2"])
def test_under_every_version_policy_the_newest_that_fits_answers(world: World, kind: str) -> None:
    (world.root / "m").mkdir()
    world.configure("m", f"version_policy: {kind if kind == 'all' else '{' + kind + '}'}\n")
    changed(world)
    assert (world.answers(), world.states()) == (1, BOTH)
    assert world.outcome(AcceptVersion("m", 2)) == Outcome(version=2)
    # The older one is none that would answer.
    assert (world.version(1).held_back, world.view().reason) == (False, "")


def test_a_policy_that_names_only_the_new_version_keeps_the_one_that_answers(
    world: World,
) -> None:
    (world.root / "m").mkdir()
    world.configure("m", "version_policy: {specific: [1]}\n")
    changed(world)
    world.configure("m", "version_policy: {specific: [2]}\n")
    for _ in range(3):
        world.change()
    assert (world.answers(), world.states()) == (1, BOTH)
    assert world.outcome(AcceptVersion("m", 2)) == Outcome(version=2)
    assert world.states() == {2: "READY"}


def test_of_many_that_are_held_back_only_the_newest_stays_loaded(world: World) -> None:
    changed(world)
    for number in (3, 4):
        world.signatures[f"m/{number}"] = OTHER
        world.write("m", number)
        world.change()
        assert (world.answers(), world.states()) == (1, {1: "READY", number: "READY"})
    world.write("m", 5)
    world.change()
    assert (world.answers(), world.states()) == (5, {5: "READY"})


@pytest.mark.parametrize("breaking", [{4}, {3, 4}, {4, 5}, {3, 4, 5}])
def test_the_newest_that_fits_answers_though_newer_ones_of_the_same_look_are_held_back(
    world: World, breaking: set[int]
) -> None:
    """Each is loaded once to know; of those held back ``latest: 1`` keeps one."""
    world.signatures.clear()
    world.write("m", 1)
    world.settle()
    world.settle(1.01)
    for number in {2, *breaking, 3}:
        world.write("m", number)
        if number in breaking:
            world.signatures[f"m/{number}"] = OTHER
    world.change()
    fits, newest = max({2, 3} - breaking), max(breaking)
    assert (world.answers(), world.states()) == (fits, {fits: "READY", newest: "READY"})
    assert world.loads == ["m/1", *(f"m/{n}" for n in range(newest, fits - 1, -1))]
    world.change()
    assert len(world.loads) == 2 + newest - fits
    assert world.outcome(AcceptVersion("m", newest)) == Outcome(version=newest)
    assert world.states() == {newest: "READY"}


def test_what_answers_is_back_before_others_are_looked_at(tmp_path: Path) -> None:
    world = changed(at(tmp_path))
    for number in range(3, 20):
        world.signatures[f"m/{number}"] = OTHER
        world.write("m", number)
    world.change()
    again = at(tmp_path)
    again.signatures = world.signatures
    again.settle()
    assert (again.answers(), again.states()) == (1, {1: "READY", 19: "READY"})
    assert again.loads[:2] == ["m/19", "m/1"]
    assert len(again.loads) == 2 + 8


# Where nothing else can answer.


def test_the_old_version_goes_on_answering_when_it_is_off_the_disk(world: World) -> None:
    changed(world)
    world.remove("m", 1)
    world.change()
    assert (world.answers(), world.states()) == (1, BOTH)
    assert world.version(1).reason == policy.GONE_FROM_DISK
    assert world.outcome(AcceptVersion("m", 2)) == Outcome(version=2)
    assert world.states() == {2: "READY"}


def test_it_answers_rather_than_nothing_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = changed(at(tmp_path))
    world.remove("m", 1)
    for _ in range(2):
        again = at(tmp_path)
        again.settle()
        assert (again.answers(), again.states()) == (2, {2: "READY"})
        assert (again.version(2).reason, again.view().reason) == (ALONE, f"version 2 {ALONE}")
        assert "as no other version can" in capsys.readouterr().out
    answered = []
    again.during = lambda _: answered.append(again.answers())
    again.write("m", 1)
    again.change()
    assert answered == [2], "it goes on while another comes"
    assert (again.answers(), again.version(2).reason) == (1, HELD), "it has not taken over"


def test_it_stands_in_for_one_that_fails_and_steps_back_when_that_heals(tmp_path: Path) -> None:
    changed(at(tmp_path))
    again = at(tmp_path)
    again.errors["m/1"] = MemoryError()
    again.settle()
    assert (again.answers(), again.version(2).reason) == (2, ALONE)
    answered = []
    again.during = lambda _: answered.append(again.answers())
    again.errors.clear()
    again.settle(5.0)
    assert answered == [2], "a try that may fail again takes no answers away"
    assert again.answers() == 1


def test_it_stands_in_where_a_command_ends_the_other(world: World) -> None:
    changed(world)
    assert world.outcome(UnloadModel("m", 1)) == Outcome(version=2)
    assert (world.states(), world.version(2).reason) == ({2: "READY"}, ALONE)
    assert world.outcome(AcceptVersion("m", 2)) == Outcome(version=2)
    assert world.version(2).reason == ""


def test_the_way_back_to_an_older_signature_is_a_change_too(world: World) -> None:
    changed(world)
    world.outcome(AcceptVersion("m", 2))
    world.remove("m", 2)
    world.change()
    assert (world.answers(), world.states()) == (2, BOTH)
    assert world.version(1).held_back
    assert world.outcome(AcceptVersion("m", 1)) == Outcome(version=1)
    assert world.states() == {1: "READY"}


# Commands.


def test_a_pin_and_becomes_what_later_ones_are_compared_with(world: World) -> None:
    changed(world)
    assert world.outcome(SetDefault("m", 2)) == Outcome(version=2)
    assert (world.answers(), world.version(2).held_back) == (2, False)
    assert world.outcome(SetDefault("m")) == Outcome(version=2)
    assert world.answers() == 2


def test_a_rollback_passes_and_what_it_left_is_held_back(world: World) -> None:
    changed(world)
    world.outcome(AcceptVersion("m", 2))
    assert world.states() == {2: "READY"}
    assert world.outcome(Rollback("m")) == Outcome(version=1)
    assert (world.answers(), world.view().pinned) == (1, 1)
    assert world.outcome(SetDefault("m")) == Outcome(version=1)
    assert (world.answers(), world.version(2).held_back) == (1, True)


def test_what_is_accepted_while_another_is_pinned_answers_when_the_pin_ends(world: World) -> None:
    changed(world)
    world.outcome(SetDefault("m", 1))
    assert world.outcome(AcceptVersion("m", 2)) == Outcome(version=1)
    assert (world.answers(), world.version(2).held_back) == (1, False)
    assert world.outcome(SetDefault("m")) == Outcome(version=2)


@pytest.mark.parametrize("mode", ["poll", "both", "explicit"])
@pytest.mark.parametrize("version", [None, 2])
def test_a_load_loads_it_and_routes_nothing_to_it(
    tmp_path: Path, mode: str, version: int | None
) -> None:
    world = at(tmp_path, mode)
    world.write("m", 1)
    assert world.outcome_at_once(LoadModel("m")) == Outcome(version=1)
    world.write("m", 2)
    assert world.outcome_at_once(LoadModel("m", version)) == Outcome(version=1)
    assert (world.answers(), world.states(), world.version(2).reason) == (1, BOTH, HELD)


def test_a_model_that_is_sent_whole_is_meant_as_it_is(tmp_path: Path) -> None:
    world = at(tmp_path, "explicit")
    world.write("m", 1)
    world.outcome(LoadModel("m"))
    world.signatures["m/1"] = OTHER
    sent = LoadModel("m", override=ModelConfig(), files={"1/model.onnx": b"sent"})
    assert world.outcome_at_once(sent) == Outcome(version=1)
    assert (world.version(1).facts.signature, world.view().reason) == (OTHER, "")
    assert world.outcome_at_once(UnloadModel("m")) == Outcome()


@pytest.mark.parametrize(
    ("command", "word", "words"),
    [
        (AcceptVersion("nowhere", 1), ErrorCode.NOT_FOUND, "no model directory"),
        (AcceptVersion("m", 9), ErrorCode.NOT_FOUND, "no model directory"),
        (AcceptVersion("m", 3), ErrorCode.BAD_REQUEST, "its signature is not known"),
    ],
)
def test_what_was_never_loaded_cannot_be_accepted(
    world: World, command: Command, word: ErrorCode, words: str
) -> None:
    changed(world)
    world.write("m", 3)
    world.errors["m/3"] = LoadError("it is no ONNX model")
    world.change()
    refused = world.outcome(command)
    assert refused.code is word
    assert words in refused.message
    assert world.answers() == 1


def test_a_pinned_version_that_is_not_the_accepted_one_says_that_it_is_pinned(
    world: World,
) -> None:
    (world.root / "m").mkdir()
    world.configure("m", "version_policy: all\n")
    changed(world)
    world.outcome(SetDefault("m", 2))
    assert world.outcome(AcceptVersion("m", 1)) == Outcome(version=2)
    assert world.version(2).reason == (
        "answers because it is pinned, although its signature is not the one that callers know: "
        f"{DIFFERS} (to take it: serving models accept m 2; to let the newest version that fits "
        "answer: serving models default m auto)"
    )
    assert world.outcome(SetDefault("m")) == Outcome(version=1)


def test_accepting_what_is_not_held_back_changes_nothing(world: World) -> None:
    changed(world)
    assert world.outcome_at_once(AcceptVersion("m", 1)) == Outcome(version=1)
    assert (world.answers(), world.version(2).reason) == (1, HELD)


@pytest.mark.parametrize(("pinned", "other"), [(1, 2), (2, 1)])
def test_what_only_a_pin_holds_back_is_not_there_to_accept(
    world: World, pinned: int, other: int
) -> None:
    """The signature is the same: to say that it was taken would promise that it answers."""
    world.signatures = {}
    (world.root / "m").mkdir()
    world.configure("m", "version_policy: all\n")
    changed(world)
    world.outcome(SetDefault("m", pinned))
    refused = world.outcome(AcceptVersion("m", other))
    assert (refused.code, refused.version) == (ErrorCode.BAD_REQUEST, pinned)
    assert f"is pinned to version {pinned}" in refused.message
    assert "serving models default m auto" in refused.message
    assert world.outcome(AcceptVersion("m", pinned)) == Outcome(version=pinned)


def test_accepting_what_the_policy_does_not_want_waits_for_nothing() -> None:
    target = [
        Candidate(SlotKey("m", number, "files", "config"), FolderOrigin(Path("m")))
        for number in (3, 4)
    ]
    slot = Slot(1, target[1].key, FolderOrigin(Path("m")), 0.0, State.READY)
    facts = Facts(ModelTarget("m", tuple(target)), (slot,), default=4)
    assert outcome(AcceptVersion("m", 3), facts) == Outcome(version=4)


# The same version, with another configuration or other files.


NARROW = Signature((Tensor("x", "FP32", (1, 4)),), OUT)


def test_what_is_accepted_holds_though_what_answers_still_would_fit_it(world: World) -> None:
    world.signatures["m/2"] = NARROW
    changed(world)
    world.outcome(SetDefault("m", 1))
    world.outcome(AcceptVersion("m", 2))
    world.change()
    assert (world.answers(), world.outcome(SetDefault("m"))) == (1, Outcome(version=2))
    world.configured = lambda config: WIDER if config.max_batch_size == 7 else None
    world.configure("m", "max_batch_size: 7\n")
    world.change()
    assert world.version(2).facts.signature == WIDER
    world.configured = lambda config: NARROW
    world.configure("m", "max_batch_size: 8\n")
    for _ in range(2):
        world.change()
    assert "the new one" in world.version(2).reason
    assert world.version(2).facts.signature == WIDER, "it has become the known one"
    assert world.outcome(AcceptVersion("m", 2)) == Outcome(version=2)
    assert world.version(2).facts.signature == NARROW


def by_configuration(config: ModelConfig) -> Signature | None:
    return OTHER if config.max_batch_size == 7 else None


def test_a_configuration_that_changes_the_signature_waits_until_it_is_accepted(
    tmp_path: Path,
) -> None:
    world = at(tmp_path)
    world.configured = by_configuration
    world.write("m", 1)
    world.settle()
    world.settle(1.01)
    world.configure("m", "max_batch_size: 7\n")
    world.change()
    assert (world.answers(), world.version(1).facts.signature) == (1, SIGNATURE)
    assert world.version(1).reason == (
        "answers with its former configuration; the new one: its signature is not what it was: "
        f"{DIFFERS} (to take it: serving models accept m 1)"
    )
    assert world.loads == ["m/1"] * 2
    assert world.outcome(AcceptVersion("m", 1)) == Outcome(version=1)
    assert (world.version(1).facts.signature, world.version(1).reason) == (OTHER, "")
    again = at(tmp_path)
    again.configured = by_configuration
    again.settle()
    assert (again.answers(), again.view().reason) == (1, "")


RESHAPED = Signature(
    SIGNATURE.inputs, (Tensor("y", "FP32", (-1, 3), described=(-1, 3, 1)),), SIGNATURE.left_out
)


@pytest.mark.parametrize(("before", "after"), [(SIGNATURE, RESHAPED), (RESHAPED, SIGNATURE)])
def test_a_configuration_that_reshapes_what_clients_see_waits_too(
    world: World, before: Signature, after: Signature
) -> None:
    world.configured = lambda config: after if config.max_batch_size == 7 else before
    world.write("m", 1)
    world.settle()
    world.settle(1.01)
    world.configure("m", "max_batch_size: 7\n")
    world.change()
    assert "output 'y' has shape" in world.version(1).reason
    assert world.version(1).facts.signature.outputs[0].described == before.outputs[0].described
    assert world.outcome(AcceptVersion("m", 1)) == Outcome(version=1)
    assert world.version(1).facts.signature.outputs[0].described == after.outputs[0].described


def test_a_configuration_that_is_taken_back_ends_the_matter(world: World) -> None:
    world.configured = by_configuration
    world.write("m", 1)
    world.settle()
    world.settle(1.01)
    world.configure("m", "max_batch_size: 7\n")
    world.change()
    world.configure("m", "max_batch_size: 6\n")
    world.change()
    assert (world.version(1).reason, world.version(1).facts.config.max_batch_size) == ("", 6)


def test_files_that_a_load_asks_for_again_fail_it_where_they_change_the_signature(
    world: World,
) -> None:
    """One number can't name two signatures at a time."""
    world.write("m", 1)
    world.settle()
    world.signatures["m/1"] = OTHER
    world.write("m", 1, "another model")
    failed = world.outcome_at_once(LoadModel("m"))
    assert failed.code is ErrorCode.BAD_REQUEST
    assert DIFFERS in failed.message
    assert "to take it: serving models accept m 1" in failed.message
    assert (world.answers(), world.version(1).facts.signature) == (1, SIGNATURE)
    assert world.outcome_at_once(AcceptVersion("m", 1)) == Outcome(version=1)
    assert world.version(1).facts.signature == OTHER


def test_a_pin_does_not_let_the_pinned_version_change_itself(world: World) -> None:
    world.configured = by_configuration
    world.write("m", 1)
    world.settle()
    world.outcome(SetDefault("m", 1))
    world.configure("m", "max_batch_size: 7\n")
    world.change()
    assert world.version(1).facts.signature == SIGNATURE


DAMAGE = {"truncated": b'{"form": 1, "models": {"m"', "not ours": b'{"form": 99}', "gone": None}


def damage(folder: Path, kind: str) -> None:
    file, text = folder / "state" / "signatures.json", DAMAGE[kind]
    file.unlink()
    if text is not None:
        file.write_bytes(text)


@pytest.mark.parametrize("kind", DAMAGE)
def test_where_signatures_were_lost_what_answered_shows_its_own_before_others_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    changed(at(tmp_path))
    damage(tmp_path, kind)
    again = at(tmp_path)
    again.tick()
    again.run_jobs()
    again.tick()
    assert (again.answers(), again.states()[2]) == (None, "READY")
    again.settle()
    assert (again.answers(), again.version(2).reason) == (1, HELD)
    assert ("state_" in capsys.readouterr().out) == (kind != "gone")
    again.settle(1.01)
    once_more = at(tmp_path)
    once_more.settle()
    assert (once_more.answers(), once_more.version(2).reason) == (1, HELD), "it is kept again"


@pytest.mark.parametrize("how", ["gone", "broken"])
def test_where_nothing_can_show_what_was_lost_the_next_answers_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    world = changed(at(tmp_path))
    damage(tmp_path, "truncated")
    again = at(tmp_path)
    if how == "gone":
        world.remove("m", 1)
    else:
        again.errors["m/1"] = LoadError("it is no ONNX model")
    again.settle()
    assert (again.answers(), again.view().reason) == (2, "")
    assert capsys.readouterr().out.count("signature_unknown") == 1


def test_a_pin_answers_though_signatures_were_lost(tmp_path: Path) -> None:
    changed(at(tmp_path)).outcome(SetDefault("m", 2))
    damage(tmp_path, "truncated")
    again = at(tmp_path)
    again.settle()
    assert again.answers() == 2


def weighed(world: World, config: str = "") -> World:
    """Version 1 has all requests by weight, and version 2 is held back for its signature."""
    changed(world)
    if config:
        configured(world, config)
    else:
        assert world.outcome(SetRoute("m", {1: 100})).ok
    assert (world.answers(), world.version(2).held_back) == (1, True)
    return world


def configured(world: World, text: str) -> None:
    world.configure("m", text)
    for _ in range(4):
        world.change()
        world.settle(1.01)


def division(world: World) -> tuple[int | None, dict[int, int]]:
    """Who answers by default, and how requests are divided."""
    view = world.view()
    shares = Counter[int]()
    for version, weight in view.route.weights:
        shares[version] += weight
    return view.default, dict(shares)


def test_what_is_accepted_under_weights_gets_nothing_until_it_is_named(world: World) -> None:
    weighed(world)
    assert world.outcome_at_once(AcceptVersion("m", 2)) == Outcome(version=1)
    world.settle(1.01)
    assert division(world) == (1, {1: 100})
    assert not any(one.held_back for one in world.view().versions)
    # Later ones are compared with what was accepted.
    world.write("m", 3)
    world.change()
    assert (division(world), world.version(3).held_back) == ((1, {1: 100}), True)
    assert world.outcome(SetRoute("m", {1: 90, 2: 10})).ok
    assert division(world) == (1, {1: 90, 2: 10})
    assert world.outcome(SetRoute("m", {2: 100})).ok
    assert division(world) == (2, {2: 100})
    # A part that it is given anew is another thing.
    refused = world.outcome(SetRoute("m", {1: 50, 2: 50}))
    assert refused.code is ErrorCode.FAILED_PRECONDITION
    assert refused.message.startswith("version 1 of model 'm' is held back for its signature")


def test_once_weights_are_cleared_what_was_accepted_takes_over(world: World) -> None:
    weighed(world)
    assert world.outcome(AcceptVersion("m", 2)).ok
    assert world.outcome(SetRoute("m", {})).ok
    world.settle(1.01)
    assert division(world) == (2, {})


def test_who_had_nothing_gets_nothing_by_anothers_acceptance(world: World) -> None:
    weighed(world)
    assert world.outcome(SetRoute("m", {1: 90, 2: 0})).ok
    world.signatures["m/3"] = Signature((Tensor("x", "BOOL", (-1, 4)),), OUT)
    world.write("m", 3)
    world.change()
    assert world.outcome(AcceptVersion("m", 3)).ok
    assert division(world) == (1, {1: 90})
    refused = world.outcome(SetRoute("m", {1: 50, 2: 50}))
    assert refused.code is ErrorCode.FAILED_PRECONDITION
    # What it is taken for again is what callers know.
    assert world.outcome(AcceptVersion("m", 1)).ok
    assert (division(world), world.version(3).held_back) == ((1, {1: 90}), True)


@pytest.mark.parametrize("anew", ["start", "load"])
def test_it_gets_nothing_either_after_a_restart_or_a_load_of_what_answers(
    tmp_path: Path, anew: str
) -> None:
    world = weighed(at(tmp_path))
    assert world.outcome(AcceptVersion("m", 2)).ok
    if anew == "start":
        world = at(tmp_path)
    else:
        world.write("m", 1, "other weights")
        world.outcome(LoadModel("m", 1))
    world.settle()
    world.settle(1.01)
    assert division(world) == (1, {1: 100})
    assert world.outcome(SetRoute("m", {1: 90, 2: 10})).ok
    assert division(world) == (1, {1: 90, 2: 10})


def test_weights_of_the_configuration_are_kept_to_as_well(world: World) -> None:
    text = "route: {weights: {1: 100}}"
    weighed(world, text)
    assert world.outcome(AcceptVersion("m", 2)).ok
    world.settle(1.01)
    assert division(world) == (1, {1: 100})
    configured(world, "{}")
    assert division(world) == (2, {})
    configured(world, text)
    # It is named anew, and held back by now.
    assert division(world)[0] == 2
