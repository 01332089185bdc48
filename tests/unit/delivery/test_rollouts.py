"""Rollouts carried out: what is seen of requests becomes weights in the route."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from serving.delivery.keeping import ROLLOUTS
from serving.delivery.requested import Start
from serving.errors import ErrorCode, ServingError
from serving.models.commands.command import AcceptVersion, SetDefault, SetRoute, UnloadModel
from serving.rollout.canary import Phase, Rollout
from serving.rollout.features import Apart
from tests.unit.delivery.rig import Rig
from tests.unit.models.test_manager_signatures import OTHER


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def refused(rig: Rig, **asked: Any) -> ServingError:
    with pytest.raises(ServingError) as refusal:
        rig.rollouts.begin(Start(**{"model": "m", "candidate": 2, **asked}))
    return refusal.value


def test_a_good_version_takes_over_step_by_step(rig: Rig) -> None:
    rig.start(by="somebody", shares=(10, 50, 100))
    assert (rig.said, rig.weights) == ("running 10 %: version 2 is ready", {1: 90, 2: 10})
    rig.windows(11, 100, 900)
    assert rig.said == "running 10 %: 5 s of this step are left"
    rig.windows(1, 100, 900)
    assert (rig.said, rig.weights, rig.world.answers()) == (
        "running 50 %: nothing speaks against it",
        {1: 50, 2: 50},
        1,
    )
    rig.windows(12, 1000, 1000)
    assert (rig.said, rig.weights, rig.world.answers()) == (
        "promoted 100 %: it is shown to be sound",
        {2: 100},
        2,
    )
    changes = [one for one in rig.world.manager.route_history("m") if one.by == "rollout"]
    assert len(changes) == 4
    assert changes[-1].reason == "rollout of version 2: promoted: it is shown to be sound"


def test_the_version_from_before_answers_by_default_also_while_it_has_less(rig: Rig) -> None:
    rig.start(shares=(90, 100))
    assert (rig.weights, rig.world.answers()) == ({1: 10, 2: 90}, 1)


def test_a_bad_version_is_rolled_back_by_the_window_that_shows_it(rig: Rig) -> None:
    rig.start()
    rig.requests.answer(2, 90, internal=10)
    rig.requests.answer(1, 9900)
    rig.turn(4.9)
    assert rig.said.startswith("running")
    rig.turn(0.1)
    assert rig.said.startswith("rolled back 0 %: too many internal errors: 10 of 100 requests")
    assert (rig.weights, rig.world.answers()) == ({1: 100}, 1)
    # No other takes over by itself.
    rig.publish(3)
    assert rig.world.answers() == 1
    assert rig.rollouts.outcomes.counts()[("m", "rolled_back")] == 1


def test_what_fails_at_once_is_rolled_back_before_the_window_ends(rig: Rig) -> None:
    rig.start()
    rig.requests.answer(2, unavailable=5)
    rig.requests.answer(1, 400)
    rig.turn(0.25)
    assert rig.said == "rolled back 0 %: every request failed: the last 5"


def test_a_death_is_seen_before_the_window_ends(rig: Rig) -> None:
    process = next(one for one in rig.world.made if one.version == 2).process = Process()
    process.crashes = 3
    rig.start()
    rig.turn(0.25)
    assert rig.said == "running 1 %: version 2 is ready"
    process.crashes = 4
    rig.turn(0.25)
    assert rig.said == "rolled back 0 %: its process died once"


class Process:
    pid, crashes, restarts = 1, 0, 0


def test_what_another_version_answered_in_its_place_is_the_failing_ones(rig: Rig) -> None:
    """And what neither takes is nobody's."""
    rig.start()
    rig.requests.answer(2, 90)
    rig.requests.answer(1, 9900, bad_data=500)
    rig.requests.rescue(2, 1, "bad_data", ok=10)
    rig.turn(5.0)
    assert rig.said.startswith(
        "rolled back 0 %: too many errors of its operators on its inputs: 10"
    )
    seen = rig.turn().evidence
    assert (seen.canary.requests, seen.canary.errors) == (100, {"bad_data": 10})
    assert (seen.base.requests, seen.base.errors) == (10_400, {})


def test_answers_with_nan_are_counted_while_it_is_under_way_and_roll_back(rig: Rig) -> None:
    assert rig.requests.counting == ([], [], [])
    rig.start()
    assert rig.requests.counting == ([("m", 1), ("m", 2)], [], [])
    rig.requests.answer(2, 100)
    rig.requests.answer(1, 9900)
    rig.requests.nonfinite["m", 2] += 20
    found = rig.turn(5.0)
    assert rig.said.startswith("rolled back 0 %: too many answers with NaN or infinity: 20 of 100")
    assert (found.evidence.canary.nonfinite, found.evidence.base.inspected) == (20, 9900)
    rig.turn()
    assert rig.requests.counting == ([], [], [])


def test_distributions_are_counted_where_a_rule_asks_for_them(tmp_path: Path) -> None:
    rig = Rig(tmp_path, drift={"classes": 0.1})
    rig.start()
    assert rig.requests.counting == ([], [("m", 1), ("m", 2)], [])
    rig.requests.classes = {("m", 1): [500, 500], ("m", 2): [490, 0]}
    rig.requests.answer(2, 490)
    rig.requests.answer(1, 1000)
    rig.turn(5.0)
    assert rig.said.startswith("running")
    rig.requests.classes["m", 2] = [600, 0]
    rig.requests.answer(2, 110)
    rig.turn(5.0)
    assert rig.said.startswith(
        "rolled back 0 %: its classes are distributed otherwise: 0.500 apart"
    )


def test_pause_keeps_it_where_it_is_and_resume_lets_it_go_on(rig: Rig) -> None:
    rig.start()
    rig.rollouts.change("m", "pause", "somebody")
    rig.windows(20, 100, 9900)
    assert (rig.said, rig.weights) == ("paused 1 %: paused by somebody", {1: 99, 2: 1})
    rig.rollouts.change("m", "resume", "somebody")
    rig.windows(12, 100, 9900)
    assert rig.weights == {1: 95, 2: 5}


@pytest.mark.parametrize(("verb", "weights"), [("promote", {2: 100}), ("abort", {1: 100})])
def test_promote_and_abort_end_it_at_once(rig: Rig, verb: Any, weights: dict[int, int]) -> None:
    rig.start()
    given = rig.rollouts.change("m", verb, "somebody")
    assert len(given.tickets) == 1
    rig.turn()
    assert rig.weights == weights
    with pytest.raises(ServingError, match=r"is (promoted|aborted)") as refusal:
        rig.rollouts.change("m", verb, "somebody")
    assert refusal.value.code is ErrorCode.FAILED_PRECONDITION


def test_it_goes_on_where_it_was_after_a_restart(rig: Rig) -> None:
    rig.start()
    rig.windows(18, 100, 9900)
    before = rig.turn()
    assert (before.share, before.spent_s) == (5, 30.0)
    rig.rollouts.stop()
    rig.begin_anew()
    rig.world.change()
    rig.turn()
    after = rig.rollouts.of("m")
    assert after is not None
    assert (after.phase, after.share, after.spent_s) == (Phase.RUNNING, 5, 30.0)
    assert after.evidence.canary == before.evidence.canary
    assert rig.weights == {1: 95, 2: 5}
    rig.windows(6, 500, 9500)
    assert rig.weights == {1: 75, 2: 25}


def test_weights_that_were_not_set_any_more_are_set_after_a_restart(rig: Rig) -> None:
    """The process ended between what was decided and what was done."""
    rig.start()
    document = rig.state.read(ROLLOUTS)
    rig.rollouts.change("m", "abort", "somebody")
    rig.turn()
    rig.state.write(ROLLOUTS, document)
    rig.begin_anew()
    rig.world.change()
    rig.turn()
    assert rig.weights == {1: 99, 2: 1}


@pytest.mark.parametrize(("base", "weights"), [(1, {1: 100}), (None, {1: 99, 2: 1})])
def test_the_route_of_one_that_has_ended_is_set_after_a_restart_where_it_is_still_its_own(
    rig: Rig, base: int | None, weights: dict[int, int]
) -> None:
    """``base``: named by a rollout's weights, and by nobody else's."""
    rig.start()
    rig.rollouts.change("m", "abort", "somebody")
    rig.turn()
    assert rig.weights == {1: 100}
    assert rig.world.outcome(SetRoute("m", {1: 99, 2: 1}, base=base)).ok
    rig.begin_anew()
    rig.world.change()
    rig.turn()
    assert rig.weights == weights


def test_who_takes_over_anothers_state_goes_on_with_its_rollouts(rig: Rig) -> None:
    rig.start()
    rig.windows(18, 100, 9900)
    rig.rollouts.stop()
    left = rig.state
    rig.begin_anew(keeps=False)
    rig.world.change()
    assert rig.settled("m") is None
    rig.world.manager.take_state(left, rig.rollouts.take_state)
    rig.world.settle()
    after = rig.turn()
    assert (after.phase, after.share) == (Phase.RUNNING, 5)
    assert rig.weights == {1: 95, 2: 5}
    rig.windows(6, 500, 9500)
    assert rig.weights == {1: 75, 2: 25}
    rig.rollouts.stop()
    (kept,) = left.read(ROLLOUTS)["rollouts"]
    assert kept["step"] == 2


@pytest.mark.parametrize("left", [None, {"form": 1, "rollouts": [{"model": "m"}]}, "nonsense"])
def test_a_canary_whose_rollout_is_lost_keeps_no_part_of_the_requests(rig: Rig, left: Any) -> None:
    """Nobody would judge it. What a person divided stays as it is."""
    rig.start()
    rig.windows(18, 100, 9900)
    assert rig.weights == {1: 95, 2: 5}
    rig.rollouts.stop()
    if left is None:
        rig.state.remove(ROLLOUTS)
    else:
        rig.state.write(ROLLOUTS, left)
    rig.begin_anew()
    rig.world.change()
    rig.settled("m")
    assert rig.weights == {1: 100}
    assert rig.world.outcome(SetRoute("m", {1: 90, 2: 10})).ok
    rig.begin_anew()
    rig.world.change()
    rig.settled("m")
    assert rig.weights == {1: 90, 2: 10}


def test_a_pin_an_unload_and_other_weights_end_it_in_words(tmp_path: Path) -> None:
    for command, said, weights in [
        (SetDefault("m", 1), "ended 0 %: version 1 was pinned", {1: 100}),
        (UnloadModel("m", 2), "ended 0 %: version 2 was unloaded by command", {1: 100}),
        (SetRoute("m", {1: 1, 2: 1}), "ended 0 %: the route's weights were set to 1=1 2=1", None),
    ]:
        rig = Rig(tmp_path / str(len(list(tmp_path.glob("*")))))
        rig.start()
        rig.world.order(command)
        rig.turn()
        assert rig.said == said
        if weights is not None:
            assert rig.weights == weights


def test_a_base_that_is_unloaded_comes_back_before_what_is_not_shown_to_be_sound_answers_all(
    rig: Rig,
) -> None:
    rig.start()
    rig.world.order(UnloadModel("m", 1))
    rig.turn()
    assert rig.said == (
        "rolled back 0 %: version 1 was unloaded by command: it is loaded again, for version 2 was"
        " not promoted"
    )
    assert (rig.weights, rig.world.answers()) == ({1: 100}, 1)


def test_a_base_that_is_unloaded_after_the_promotion_stays_away(rig: Rig) -> None:
    rig.start()
    rig.rollouts.change("m", "promote", "me")
    rig.turn()
    assert rig.world.outcome(UnloadModel("m", 1)).ok
    rig.turn(10.0)
    assert (rig.said, rig.weights) == ("promoted 100 %: promoted by me", {2: 100})
    assert [one.number for one in rig.world.view().versions] == [2]


def test_a_model_that_is_unloaded_as_a_whole_is_not_brought_back(rig: Rig) -> None:
    rig.start()
    rig.world.order(UnloadModel("m"))
    rig.turn()
    rig.turn(10.0)
    assert rig.said.startswith("ended 0 %: version 1 was unloaded by command")
    assert rig.world.view().versions == ()


def test_a_pin_to_the_version_that_answers_gives_way_to_the_rollout(tmp_path: Path) -> None:
    rig = Rig(tmp_path, hold=False)
    assert rig.world.outcome(SetDefault("m", 1)).ok
    rig.publish(2)
    before = len(rig.world.published)
    rig.start()
    assert (rig.weights, rig.world.view().pinned) == ({1: 99, 2: 1}, None)
    answered = {view.default for views in rig.world.published[before:] for view in views}
    assert answered == {1}


def test_a_model_that_is_gone_ends_it_after_a_while(rig: Rig) -> None:
    rig.start()
    rig.world.remove("m")
    rig.world.outcome(UnloadModel("m"))
    for _ in range(14):
        rig.turn(5.0)
    assert rig.said.startswith("ended 0 %: ")


def test_requests_of_before_a_rollout_are_none_of_it_also_beside_another(rig: Rig) -> None:
    for version in (1, 2):
        rig.world.write("n", version)
    rig.world.change()
    assert rig.world.outcome(SetRoute("n", {1: 100, 2: 0})).ok
    rig.requests.outcomes["n", 1] = Counter(internal=900)
    rig.requests.outcomes["n", 2] = Counter(internal=900)
    rig.start()
    rig.windows(1, 10, 990)
    rig.rollouts.begin(Start("n", 2))
    rig.turn()
    rig.windows(2, 10, 990)
    other = rig.rollouts.of("n")
    assert other is not None
    assert (other.phase, other.evidence.base.requests) == (Phase.RUNNING, 0)


def test_a_version_that_fails_to_load_is_rolled_back(rig: Rig) -> None:
    rig.world.errors["m/3"] = RuntimeError("it is broken")
    rig.publish(3)
    rig.start(3)
    rig.world.change()
    rig.turn()
    assert rig.said.startswith("rolled back 0 %: version 3 can't answer: ")


def test_what_can_be_no_rollout_is_refused_in_words(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    assert refused(rig, model="x").message == "there is no model 'x'"
    assert refused(rig, candidate=9).message == "model 'm' has no version 9"
    assert refused(rig, candidate=1).message.startswith("version 1 answers already: name the")
    assert refused(rig, base=9).code is ErrorCode.NOT_FOUND
    rig.start()
    assert refused(rig).message.startswith("a rollout of version 2 is under way (running)")


def test_nothing_is_asked_while_there_is_no_rollout(rig: Rig) -> None:
    assert rig.rollouts.tick() is None
    assert rig.requests.asked == []


# The standing policy.


def test_every_new_version_takes_over_by_a_rollout_where_that_is_the_policy(tmp_path: Path) -> None:
    rig = Rig(tmp_path, hold=False, automatic=True)
    for _ in range(2):
        rig.rollouts.tick()
        rig.world.settle()
    assert rig.weights == {1: 100}
    rig.publish(2)
    rig.turn()
    assert (rig.said, rig.world.answers()) == ("running 1 %: version 2 is ready", 1)
    rig.publish(3)
    rig.turn()
    assert rig.weights == {1: 99, 2: 1}
    # What was aborted is not begun again; what waited is.
    for version in (3, None):
        rig.rollouts.change("m", "abort", "somebody")
        found = rig.turn()
        assert (found.candidate, found.base, found.by) == (3, 1, "policy")
        assert found.under_way is (version is not None)


def test_a_newer_version_replaces_the_one_under_way_where_that_is_the_policy(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path, hold=False, automatic=True, newer="replaces")
    for _ in range(2):
        rig.rollouts.tick()
        rig.world.settle()
    rig.publish(2)
    rig.turn()
    rig.publish(3)
    rig.turn()
    assert (rig.said, rig.weights) == ("running 1 %: version 3 is ready", {1: 99, 3: 1})


AUTOMATIC = (
    "canary: {automatic: true, steps: [10, 100], sticky: X-User, every_s: 5, errors_floor: 1}"
)


def test_a_models_own_policy_goes_before_the_settings(tmp_path: Path) -> None:
    rig = Rig(tmp_path, hold=False)
    configured(rig, AUTOMATIC)
    assert (rig.weights, rig.settled("m")) == ({1: 100}, None)
    rig.publish(2)
    found = rig.turn()
    assert (found.by, rig.weights, found.sticky) == ("policy", {1: 90, 2: 10}, "x-user")
    assert (found.steps.shares, found.steps.every_s, found.steps.min_requests) == ((10, 100), 5, 50)
    assert rig.rollouts.rules_of("m").errors_floor == 1
    # Another model goes by the settings.
    for version in (1, 2):
        rig.world.write("n", version)
        rig.world.change()
    assert (rig.settled("n"), rig.world.view("n").default) == (None, 2)
    # Where it no longer says so nothing begins by itself.
    rig.rollouts.change("m", "abort", "somebody")
    configured(rig, "")
    rig.publish(3)
    rig.turn()
    assert (rig.said, rig.weights) == ("aborted 0 %: aborted by somebody", {1: 100})


def test_a_policy_of_a_parameter_changes_without_a_load(tmp_path: Path) -> None:
    rig = Rig(tmp_path, hold=False)
    file = rig.world.root / "m" / "config.pbtxt"
    parameter = (
        "parameters {{ key: 'canary' value {{ string_value: '{{\"errors_floor\": {}}}' }} }}"
    )
    for floor in (7, 9):
        file.write_text(parameter.format(floor))
        for _ in range(4):
            rig.world.change()
        assert rig.rollouts.rules_of("m").errors_floor == floor
    assert rig.world.loads == ["m/1"]


def test_a_model_can_be_left_out_of_the_standing_policy(tmp_path: Path) -> None:
    rig = Rig(tmp_path, hold=False, automatic=True)
    configured(rig, "canary: {automatic: false}")
    rig.publish(2)
    assert (rig.settled("m"), rig.weights, rig.world.answers()) == (None, {}, 2)


def test_what_a_wrong_configuration_said_before_holds(tmp_path: Path) -> None:
    rig = Rig(tmp_path, hold=False)
    configured(rig, AUTOMATIC)
    configured(rig, "canary: {automatic: maybe}")
    assert "canary.automatic" in rig.world.view().reason
    assert rig.world.view().canary.given


def configured(rig: Rig, text: str) -> None:
    rig.world.configure("m", text)
    for _ in range(4):
        rig.world.change()
    rig.settled("m")


@pytest.mark.parametrize("end", ["abort", "promote"])
def test_an_accepted_signature_lets_a_version_into_its_rollout_and_no_further(
    tmp_path: Path, end: Any
) -> None:
    rig = Rig(tmp_path, hold=False)
    rig.world.signatures = {"m/2": OTHER}
    assert rig.world.outcome(SetRoute("m", {1: 100})).ok
    rig.publish(2)
    rig.start()
    assert rig.said == "waiting 0 %: waits until the signature of version 2 is accepted"
    assert rig.world.outcome(AcceptVersion("m", 2)).ok
    rig.turn(1.0)
    assert (rig.said, rig.weights) == ("running 1 %: version 2 is ready", {1: 99, 2: 1})
    view = rig.world.view()
    assert (view.default, view.route.weights) == (1, ((1, 99), (2, 1)))
    rig.rollouts.change("m", end, "me")
    rig.turn(1.0)
    stays = 1 if end == "abort" else 2
    view = rig.world.view()
    assert (view.default, rig.weights, view.route.weights) == (stays, {stays: 100}, ((stays, 100),))


@pytest.mark.parametrize("again", [False, True])
def test_what_was_accepted_before_its_rollout_waits_for_that_also_over_a_restart(
    tmp_path: Path, again: bool
) -> None:
    rig = Rig(tmp_path, hold=False)
    rig.world.signatures = {"m/2": OTHER}
    assert rig.world.outcome(SetRoute("m", {1: 100})).ok
    rig.publish(2)
    assert rig.world.outcome(AcceptVersion("m", 2)).ok
    rig.settled("m")
    assert (rig.world.view().default, rig.weights) == (1, {1: 100})
    rig.start(shares=(10, 100))
    rig.turn(1.0)
    assert rig.said == "running 10 %: version 2 is ready"
    if again:
        rig.rollouts.stop()
        rig.begin_anew()
        rig.world.signatures = {"m/2": OTHER}
        rig.world.change()
        rig.turn(1.0)
    view = rig.world.view()
    assert (view.default, view.route.weights) == (1, ((1, 90), (2, 10)))
    rig.rollouts.change("m", "promote", "me")
    rig.turn(1.0)
    assert (rig.world.view().default, rig.weights) == (2, {2: 100})


def held_for_its_signature(folder: Path) -> Rig:
    """Nothing divides the requests, and version 2 is all the same none that answers."""
    rig = Rig(folder, hold=False)
    rig.world.signatures = {"m/2": OTHER, "m/3": OTHER}
    rig.publish(2)
    rig.start()
    assert rig.world.outcome(AcceptVersion("m", 2)).ok
    assert rig.turn(1.0).phase is Phase.RUNNING
    return rig


def test_where_nothing_was_divided_before_nothing_is_after_the_promotion(tmp_path: Path) -> None:
    rig = held_for_its_signature(tmp_path)
    rig.rollouts.change("m", "promote", "me")
    rig.turn(1.0)
    assert (rig.said, rig.weights, rig.world.answers()) == (
        "promoted 100 %: promoted by me",
        {},
        2,
    )
    rig.begin_anew()
    rig.world.change()
    rig.turn()
    assert (rig.weights, rig.world.answers()) == ({}, 2)
    # As the version policy has it.
    rig.world.signatures = {"m/2": OTHER, "m/3": OTHER}
    rig.publish(3)
    assert rig.world.answers() == 3


def test_one_that_was_promoted_keeps_a_weight_where_a_newer_one_waits(tmp_path: Path) -> None:
    rig = held_for_its_signature(tmp_path)
    rig.publish(3)
    rig.rollouts.change("m", "promote", "me")
    rig.turn(1.0)
    assert (rig.weights, rig.world.answers()) == ({2: 100}, 2)


def test_no_more_begin_than_are_kept_and_what_is_under_way_is_never_forgotten(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.delivery.book.MOST_ROLLOUTS", 1)
    for version in (1, 2):
        rig.world.write("n", version)
    rig.world.change()
    assert rig.world.outcome(SetRoute("n", {1: 100, 2: 0})).ok
    rig.start()
    assert refused(rig, model="n").message == "1 rollouts are under way, the most that there can be"
    rig.rollouts.change("m", "abort", "me")
    rig.rollouts.begin(Start("n", 2))
    assert [one.model for one in rig.rollouts.all()] == ["n"]


def test_a_policys_rollout_waits_where_there_are_as_many_as_there_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(tmp_path, hold=False, automatic=True)
    rig.world.write("n", 1)
    rig.world.change()
    rig.settled("m")
    monkeypatch.setattr("serving.delivery.book.MOST_ROLLOUTS", 1)
    rig.publish(2)
    rig.turn()
    rig.world.write("n", 2)
    rig.world.change()
    assert rig.settled("n") is None
    rig.rollouts.change("m", "abort", "me")
    found = rig.settled("n")
    assert found is not None
    assert found.candidate == 2


def test_nobody_waits_for_the_disk(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []

    def write(name: str, document: Any) -> bool:
        # From another thread: the lock would keep it waiting.
        asking = threading.Thread(target=lambda: told.append(rig.rollouts.of("m")), daemon=True)
        asking.start()
        asking.join(5.0)
        return True

    monkeypatch.setattr(rig.rollouts._keeping._state, "write", write)
    rig.start()
    assert told
    assert told[-1] is not None


def test_a_rollout_that_cannot_be_carried_out_stops_no_other(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.start()
    known = rig.world.manager.view

    def view(model: str) -> Any:
        if model == "broken":
            raise RuntimeError("nobody thought of it")
        return known(model)

    book = rig.rollouts._book
    book._rollouts = {"broken": Rollout("broken", 2, 1), **book._rollouts}
    monkeypatch.setattr(rig.world.manager, "view", view)
    rig.requests.answer(2, 90, internal=10)
    rig.requests.answer(1, 1000)
    assert rig.turn(5.0).phase is Phase.ROLLED_BACK


class FewStatistics:
    """Of ``counted`` requests, and as far apart as the test says."""

    def __init__(self) -> None:
        self.followed: list[Any] = []
        self.requests: tuple[int, int] | None = (400, 900)
        self.sure, self.chances = 0.0, list[float]()

    def follow(self, steps: Any) -> None:
        self.followed.append(dict(steps))

    def counted(self, pair: Any) -> tuple[int, int] | None:
        assert pair == ("m", 2, 1)
        return self.requests

    def farthest(self, pair: Any, chance: float) -> Any:
        self.chances.append(chance)
        return {"outputs": Apart("y", "L-infinity distance", 0.5, self.sure)}


def test_features_are_compared_by_statistics_where_the_rules_say_so(tmp_path: Path) -> None:
    statistics = FewStatistics()
    drift = {"outputs": 0.2}
    rig = Rig(tmp_path, drift=drift, min_requests=10, statistics=statistics)
    rig.start()
    started = rig.rollouts.of("m")
    assert started is not None
    assert statistics.followed[-1] == {("m", 2, 1): (started.started, 0)}
    rig.windows(13, 10, 990)
    assert "statistics of 400 requests are too few to compare outputs, which takes 500" in rig.said
    assert statistics.chances == []
    statistics.requests = None
    rig.windows(1, 10, 990)
    assert "statistics have no room" in rig.said
    statistics.requests = (500, 900)
    rig.windows(1, 10, 990)
    assert rig.said == "running 5 %: nothing speaks against it"
    assert statistics.followed[-1] == {("m", 2, 1): (started.started, 1)}
    statistics.sure = 0.3
    rig.windows(1, 10, 990)
    assert "rolled back 0 %: its outputs are distributed otherwise: feature 'y' is" in rig.said
    assert len(statistics.chances) == 2
    assert sum(statistics.chances) < 0.005 * 0.1
    assert statistics.followed[-1] == {}


def test_where_statistics_are_off_it_waits_and_says_so(tmp_path: Path) -> None:
    rig = Rig(tmp_path, drift={"inputs": 0.2}, min_requests=10)
    rig.start()
    rig.windows(13, 10, 990)
    assert rig.said == (
        "running 1 %: waits: statistics, by which it is to be compared, are off"
        " (statistics.enabled)"
    )
