"""Versions with gates take no traffic before they are blessed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serving.errors import ErrorCode, LoadError, Retry
from serving.gates.case import Case
from serving.gates.judge import NotNowError
from serving.gates.verdict import Check, Verdict, judged
from serving.gates.verdicts import Verdicts
from serving.models.commands.command import (
    BlessVersion,
    LoadModel,
    Rollback,
    SetAlias,
    SetDefault,
    SetRoute,
    UnloadModel,
)
from serving.models.judging import MOST_BROKEN
from serving.models.verdicts import Bench
from serving.settings import Settings
from serving.state_dir import StateDir
from tests.unit.manager_world import World

GATED = "gates: {safe_to_serve: true}"
BAD = Check("safe_to_serve", "finite", False, "NaN in output 'y'")


class FakeJudge:
    """Says of each version what the test said; by default it is good."""

    def __init__(self) -> None:
        self.said: dict[int, Any] = {}
        self.cases: list[Case] = []
        # What else happens while a version is judged, once.
        self.meanwhile: Callable[[], object] | None = None

    def __call__(self, case: Case, called_off: Callable[[], bool]) -> Verdict:
        self.cases.append(case)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        said = self.said.get(case.candidate.version, ())
        if isinstance(said, Exception):
            raise said
        if isinstance(said, Verdict):
            return said
        return judged(tuple(said), 5.0, base=case.base_version)

    @property
    def judged(self) -> list[tuple[int, int | None, bool]]:
        return [(one.candidate.version, one.base_version, one.first) for one in self.cases]


class GatedWorld(World):
    """A world whose versions are judged by a ``FakeJudge``."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        (folder / "registry").mkdir(exist_ok=True)
        state = StateDir(folder / "state")
        super().__init__(folder / "registry", state, **settings)
        self.judge = FakeJudge()
        self.verdicts: list[tuple[int, str]] = []
        kept = Verdicts(state)
        bench = Bench(Settings(), self.judge, kept)  # type: ignore[arg-type]  # what stands in
        gating = self.manager._reconciler.gating
        gating._bench = gating._judging.bench = bench
        self.manager.on_verdict(lambda slot, said: self.verdicts.append((slot.version, said.word)))

    def come(self, version: int, *checks: Check | Exception) -> None:
        """The version is published, and judged by these."""
        first = checks[0] if checks else None
        self.judge.said[version] = first if isinstance(first, Exception) else checks
        self.write("m", version, f"weights {version}")
        self.change()

    def gated(self) -> list[int]:
        return [version.number for version in self.view().versions if version.gated]


@pytest.fixture
def world(tmp_path: Path) -> GatedWorld:
    world = GatedWorld(tmp_path)
    world.configure("m", GATED)
    return world


def test_the_first_version_is_judged_alone_and_then_answers(world: GatedWorld) -> None:
    world.come(1)
    assert world.judge.judged == [(1, None, True)]
    assert world.answers() == 1
    verdict = world.version(1).verdict
    assert verdict is not None
    assert verdict.blessed
    assert world.verdicts == [(1, "BLESSED")]


def test_a_version_takes_no_traffic_until_it_is_blessed(world: GatedWorld) -> None:
    world.come(1)
    world.write("m", 2)
    for _ in range(3):
        world.tick(1.01)
        world.run_jobs()
        if "2" in str(world.loads):
            break
    while world.states().get(2) != "WARMING" or not world.version(2).gated:
        world.tick()
        loads = [job for job in world.jobs if not job[0].startswith("judge")]
        assert loads, world.jobs
        world.jobs = [job for job in world.jobs if job not in loads]
        for _, job in loads:
            job()
    assert world.answers() == 1
    assert set(world.view().route.queues) == {1}
    assert world.view().route.unavailable[2] == "waiting for the verdict of its gates"
    world.settle()
    assert world.answers() == 2
    assert world.judge.judged == [(1, None, True), (2, 1, False)]


def test_one_that_is_not_blessed_never_answers_anybody(world: GatedWorld) -> None:
    world.come(1)
    world.come(2, BAD)
    assert world.answers() == 1
    assert world.gated() == [2]
    view = world.version(2)
    assert str(view.state) == "FAILED"
    assert view.reason == (
        "not blessed: finite: NaN in output 'y' (to let it take traffic all the same:"
        " serving models bless m 2 --reason WHY)"
    )
    assert all(set(v.route.queues) <= {1} for views in world.published for v in views)
    events = [(e.version, str(e.state)) for e in world.manager.history("m")]
    assert (2, "NOT BLESSED") in events
    assert (1, "BLESSED") in events
    assert str(world.version(1).state) == "READY"


def test_clients_are_told_of_no_figures_where_nothing_else_answers(world: GatedWorld) -> None:
    world.come(1, BAD)
    view = world.view()
    assert view.route.default is None
    assert view.route.reason == "version 1 is kept from traffic by its gates"
    assert "version 1 is not blessed: finite: NaN in output 'y'" in view.reason


def test_a_better_one_follows_one_that_was_not_blessed(world: GatedWorld) -> None:
    world.come(1)
    world.come(2, BAD)
    world.come(3)
    assert world.answers() == 3
    assert world.judge.judged[-1] == (3, 1, False)


def test_a_person_blesses_with_a_reason(world: GatedWorld) -> None:
    world.come(1)
    world.come(2, BAD)
    outcome = world.outcome(BlessVersion("m", 2, "we know"))
    assert outcome.ok
    assert world.answers() == 2
    verdict = world.version(2).verdict
    assert verdict is not None
    assert (verdict.reason, verdict.checks) == ("we know", (BAD,))


def test_one_that_was_judged_as_the_first_is_not_where_another_answers_by_then(
    world: GatedWorld,
) -> None:
    """A person blessed that meanwhile."""
    world.write("m", 1)
    world.configure("m", f"{GATED}\nversion_policy: {{all: true}}")
    world.write("m", 2)
    while not any(job[0].startswith("judge") for job in world.jobs):
        world.tick(0.5)
        jobs = [job for job in world.jobs if not job[0].startswith("judge")]
        world.jobs = [job for job in world.jobs if job not in jobs]
        for _, job in jobs:
            job()
    ((name, _),) = world.jobs
    other = 3 - int(name[-1])
    assert world.outcome(BlessVersion("m", other, "we know")).ok
    world.settle()
    assert world.judge.judged == [(3 - other, None, True), (3 - other, other, False)]


def test_nothing_is_blessed_that_no_gate_keeps(world: GatedWorld) -> None:
    world.come(1)
    refused = world.outcome(BlessVersion("m", 1, "why not"))
    assert refused.code is ErrorCode.BAD_REQUEST
    assert "there is nothing to bless" in refused.message
    assert world.outcome(BlessVersion("m", 9, "x")).code is ErrorCode.NOT_FOUND


def test_pins_and_aliases_are_no_blessing(world: GatedWorld) -> None:
    world.come(1)
    world.come(2, BAD)
    for command in (SetDefault("m", 2), SetAlias("m", "champion", 2)):
        refused = world.outcome(command)
        assert refused.code is ErrorCode.FAILED_PRECONDITION
        assert "not blessed" in refused.message
    assert world.answers() == 1


@pytest.mark.parametrize("checks", [(), (BAD,)])
def test_weights_wait_for_the_verdicts_on_their_versions(
    world: GatedWorld, checks: tuple[Check, ...]
) -> None:
    world.configure("m", GATED + "\nversion_policy: {specific: [1]}\n")
    world.come(1)
    world.come(2, *checks)
    assert set(world.states()) == {1}
    ticket = world.manager.command(SetRoute("m", {1: 90, 2: 10}))
    world.tick()
    while 2 not in world.gated():
        assert ticket.wait(0) is None
        _, job = world.jobs.pop(0)
        job()
        world.tick()
    assert ticket.wait(0) is None
    world.settle()
    outcome = ticket.wait(0)
    assert outcome is not None
    assert (outcome.ok, "not blessed" in outcome.message) == (not checks, bool(checks))


def test_verdicts_outlive_a_restart(tmp_path: Path, world: GatedWorld) -> None:
    world.come(1)
    world.come(2, BAD)
    world.come(3)
    again = GatedWorld(tmp_path)
    again.change()
    assert again.answers() == 3
    assert again.judge.cases == []
    assert again.verdicts == []


def test_one_that_was_not_blessed_is_not_after_a_restart(tmp_path: Path, world: GatedWorld) -> None:
    world.come(1)
    world.come(2, BAD)
    again = GatedWorld(tmp_path)
    again.change()
    assert again.answers() == 1
    assert again.gated() == [2]
    assert again.judge.cases == []
    assert again.outcome(BlessVersion("m", 2, "we know")).ok
    third = GatedWorld(tmp_path)
    third.change()
    assert third.answers() == 2


def test_what_the_moment_refuses_is_tried_again(world: GatedWorld) -> None:
    world.come(1)
    world.come(2, NotNowError("no process"))
    assert world.answers() == 1
    assert "could not be judged: no process" in world.version(2).reason
    tries = len(world.judge.cases)
    world.judge.said[2] = ()
    world.settle(60.0)
    world.settle(60.0)
    assert world.answers() == 2
    assert len(world.judge.cases) == tries + 1


def test_a_changed_gate_judges_again_who_was_not_blessed(world: GatedWorld) -> None:
    world.come(1)
    world.come(2, BAD)
    world.judge.said[2] = ()
    world.configure("m", f"{GATED[:-1]}, p99_factor: 9}}")
    world.change()
    assert world.answers() == 2
    assert len(world.judge.cases) == 3


def test_a_load_by_command_judges_again_by_another_evaluation_set(world: GatedWorld) -> None:
    text = "gates: {evaluation: {data: e.csv, thresholds: {agreement: 1}}}"
    world.configure("m", text)
    (world.root / "m" / "e.csv").write_text("x\n1\n")
    world.come(1)
    world.come(2, BAD)
    world.judge.said[2] = ()
    assert world.outcome(LoadModel("m", 2)).ok
    world.change()
    assert (world.answers(), len(world.judge.cases)) == (1, 2)
    (world.root / "m" / "e.csv").write_text("x\n1\n2\n")
    assert world.outcome(LoadModel("m", 2)).ok
    world.change()
    assert (world.answers(), len(world.judge.cases)) == (2, 3)


@pytest.mark.parametrize("how", ["load", "restart"])
def test_what_another_day_may_judge_otherwise_is_judged_again(
    tmp_path: Path, world: GatedWorld, how: str
) -> None:
    """An extra that was missing is installed by then."""
    world.come(1)
    world.judge.said[2] = judged((BAD,), 5.0, base=1, lasting=False)
    world.write("m", 2)
    world.change()
    assert (world.answers(), len(world.judge.cases)) == (1, 2)
    if how == "load":
        world.judge.said[2] = ()
        assert world.outcome(LoadModel("m", 2)).ok
    else:
        world = GatedWorld(tmp_path)
    world.change()
    assert world.answers() == 2
    assert world.judge.judged[-1] == (2, 1, False)


def test_what_answers_goes_on_when_gates_come_and_gates_that_go_keep_nobody(
    tmp_path: Path,
) -> None:
    world = GatedWorld(tmp_path)
    world.come(1)
    assert world.judge.cases == []
    world.configure("m", GATED)
    world.change()
    assert world.answers() == 1
    assert world.judge.cases == []
    world.come(2, BAD)
    assert world.answers() == 1
    world.configure("m", "instances: 1")
    world.change()
    world.change()
    assert world.answers() == 2


@pytest.mark.parametrize("first", [BAD, NotNowError("its files changed")])
def test_new_files_of_one_that_answers_nobody_are_loaded_and_judged(
    world: GatedWorld, first: Any
) -> None:
    """As those of one that could not be loaded are."""
    world.come(1)
    world.come(2, first)
    assert world.gated() == [2]
    world.come(2)
    world.change()
    assert world.answers() == 2
    assert world.judge.cases[-1].candidate.version == 2
    assert [made.closed for made in world.made] == [True, True, False]


@pytest.mark.parametrize("changed", [1, 2])
def test_files_that_are_replaced_while_they_are_judged_bless_nothing(
    world: GatedWorld, changed: int
) -> None:
    """The gates' process reads them from the disk: it may have seen the new ones."""
    world.come(1)
    world.judge.meanwhile = lambda: world.write("m", changed, "other weights")
    world.write("m", 2)
    world.tick()
    for _ in range(8):
        world.tick(1.01)
        world.run_jobs()
        if len(world.judge.cases) == 2:
            break
    world.tick()
    assert world.verdicts == [(1, "BLESSED")]
    assert world.answers() == 1
    words = "its files changed on disk after it was loaded"
    other = "the files of version 1, which it is held against, changed meanwhile"
    assert (words if changed == 2 else other) in _gate_words(world, 2)


def _gate_words(world: GatedWorld, version: int) -> list[str]:
    slots = world.manager._slots.of("m")
    told = [slot.gate_words for slot in slots if slot.version == version]
    return [words.rpartition("judged: ")[2] for words in told]


def test_new_files_under_a_number_wait_beside_the_former_ones(world: GatedWorld) -> None:
    world.come(1)
    former = world.made[-1]
    world.judge.said[1] = (BAD,)
    world.write("m", 1, "other weights")
    world.order(LoadModel("m", 1))
    world.change()
    assert [made.closed for made in world.made] == [False, False]
    assert list(world.view().route.queues.values()) == [former]
    assert world.answers() == 1
    assert world.outcome(BlessVersion("m", 1, "we know")).ok
    world.change()
    assert [made.closed for made in world.made] == [True, False]
    assert list(world.view().route.queues.values()) == [world.made[-1]]


def test_a_version_is_held_against_the_one_that_answered_last_also_at_a_start(
    tmp_path: Path, world: GatedWorld
) -> None:
    world.come(1)
    again = GatedWorld(tmp_path)
    again.write("m", 2)
    again.change()
    assert again.judge.judged == [(2, 1, False)]
    assert again.answers() == 2


@pytest.mark.parametrize("heals", [True, False])
def test_the_one_that_answered_last_is_waited_for_while_it_may_still_come(
    tmp_path: Path, world: GatedWorld, heals: bool
) -> None:
    world.come(1)
    again = GatedWorld(tmp_path)
    again.errors["m/1"] = LoadError("busy", retry=Retry.LATER)
    again.write("m", 2)
    again.change()
    assert (again.judge.judged, again.gated()) == ([], [2])
    if heals:
        del again.errors["m/1"]
    for _ in range(20):
        again.settle(1.0)
    assert again.judge.judged == [(2, 1 if heals else None, False)]
    assert again.answers() == 2


def test_without_the_one_that_answered_nothing_is_the_first(
    tmp_path: Path, world: GatedWorld
) -> None:
    world.come(1)
    world.come(2)
    world.remove("m", 1)
    world.remove("m", 2)
    again = GatedWorld(tmp_path)
    again.write("m", 3)
    again.change()
    (case,) = again.judge.cases
    assert (case.first, case.base) == (False, None)
    assert "version 2, which answered before, is not there" in case.no_base


def test_one_that_is_unloaded_meanwhile_is_let_go(world: GatedWorld) -> None:
    world.come(1)
    world.come(2, BAD)
    assert world.outcome(UnloadModel("m", 2)).ok
    assert world.answers() == 1
    assert 2 not in world.states()


def test_a_server_is_ready_once_its_versions_are_judged(tmp_path: Path) -> None:
    world = GatedWorld(tmp_path)
    world.configure("m", GATED)
    world.write("m", 1)
    for _ in range(30):
        if world.version(1).gated if world.manager.views() and world.states() else False:
            break
        world.tick(0.5)
        jobs = [job for job in world.jobs if not job[0].startswith("judge")]
        world.jobs = [job for job in world.jobs if job not in jobs]
        for _, job in jobs:
            job()
    assert world.gated() == [1]
    assert not world.manager.wait_started(0)
    world.settle()
    assert world.manager.wait_started(0)
    assert world.answers() == 1


BY_VALUE = """gates:
  evaluation: {data: e.csv, label: y, thresholds: {accuracy: 0.9}}
"""


@pytest.mark.parametrize("how", ["in place", "anew"])
def test_other_files_under_the_number_that_answered_are_not_the_first(
    tmp_path: Path, world: GatedWorld, how: str
) -> None:
    """They were put there while no process looked. What was only copied anew, with another time, is
    what it was."""
    world.configure("m", BY_VALUE)
    (world.root / "m" / "e.csv").write_text("x,y\n1,1\n")
    world.come(1)
    assert world.judge.judged == [(1, None, True)]
    world.remove("m", 1)
    world.write("m", 1, "other weights" if how == "in place" else "weights 1")
    again = GatedWorld(tmp_path)
    again.change()
    (case,) = again.judge.cases
    assert case.first is (how == "anew")
    words = "version 1 answered before with other files, which are not there"
    assert (case.no_base == words) is (how == "in place")
    # Blessed, they are what is known from then on.
    third = GatedWorld(tmp_path)
    third.write("m", 1, "weights of a third kind")
    third.change()
    assert [one.first for one in third.judge.cases] == [False]


def test_one_that_can_not_be_judged_for_its_own_sake_is_not_tried_for_ever(
    tmp_path: Path, world: GatedWorld
) -> None:
    world.come(1)
    broken = NotNowError("its process ended with SIGKILL", broken=True)
    world.come(2, broken)
    for _ in range(MOST_BROKEN):
        world.settle(61.0)
    assert len(world.judge.cases) == 1 + MOST_BROKEN
    view = world.version(2)
    assert "it could not be judged in 8 tries: its process ended with SIGKILL" in view.reason
    assert world.verdicts[-1] == (2, "NOT_BLESSED")
    world.settle(3600.0)
    assert len(world.judge.cases) == 1 + MOST_BROKEN
    # Nothing of it is kept.
    again = GatedWorld(tmp_path)
    again.change()
    assert again.answers() == 2


class Several(GatedWorld):
    """Versions of many models, whose judging ends when the test says so."""

    def judging(self) -> list[str]:
        return [name for name, _ in self.jobs if name.startswith("judge")]

    def go_on(self) -> None:
        """All but the judging."""
        for _ in range(40):
            self.tick(0.5)
            jobs = [job for job in self.jobs if not job[0].startswith("judge")]
            self.jobs = [job for job in self.jobs if job not in jobs]
            for _, job in jobs:
                job()

    def end(self, name: str) -> None:
        job = next(job for job in self.jobs if job[0] == name)
        self.jobs.remove(job)
        job[1]()
        self.go_on()


def test_as_many_are_judged_at_once_as_the_setting_says_and_models_take_turns(
    tmp_path: Path,
) -> None:
    world = Several(tmp_path, gates={"safe_to_serve": True, "parallel": 2})
    for model, versions in (("a", (1, 2, 3)), ("b", (1,)), ("c", (1,)), ("d", (1,))):
        world.configure(model, "version_policy: {all: true}")
        for version in versions:
            world.write(model, version)
    world.go_on()
    first = world.judging()
    assert len(first) == 2
    assert len({name.split("-")[1] for name in first}) == 2
    seen = []
    while world.judging():
        assert len(world.judging()) <= 2
        seen.append(world.judging()[0])
        world.end(seen[-1])
    models = [name.split("-")[1] for name in seen]
    # Nobody waits for all of the versions of "a".
    assert sorted(set(models[:4])) == ["a", "b", "c", "d"]
    assert world.manager.gates.running == 0
    assert world.manager.gates.waiting() == {}


def test_gates_are_counted_by_model_and_go_with_it(world: GatedWorld) -> None:
    world.come(1)
    world.come(2, BAD)
    gates = world.manager.gates
    assert dict(gates.verdicts()) == {("m", "BLESSED"): 1, ("m", "NOT_BLESSED"): 1}
    assert set(gates.seconds()) == {"m"}
    world.come(3, NotNowError("no process"))
    assert set(gates.waiting()) == {"m"}
    # One of which nothing is counted costs no look at the others.
    before = gates.verdicts()
    gates.forget("n")
    assert gates.verdicts() is before
    assert world.outcome(UnloadModel("m")).ok
    assert (dict(gates.verdicts()), dict(gates.seconds())) == ({}, {})


@pytest.mark.parametrize("pinned", [None, 2])
def test_a_rollback_to_one_that_is_not_blessed_leaves_no_pin(
    world: GatedWorld, pinned: int | None
) -> None:
    """It was blessed by other gates, and is judged anew since it has to be loaded for that."""
    world.come(1)
    world.come(2)
    assert 1 not in world.states()
    world.judge.said[1] = (BAD,)
    world.configure("m", f"{GATED[:-1]}, p99_factor: 9}}")
    world.change()
    if pinned is not None:
        assert world.outcome(SetDefault("m", pinned)).ok
    refused = world.outcome(Rollback("m"))
    assert refused.code is ErrorCode.FAILED_PRECONDITION
    assert "version 1 of model 'm' is not blessed: finite" in refused.message
    again = "no version is" if pinned is None else "version 2 is again"
    assert refused.message.endswith(f"it is not pinned: {again}")
    assert (world.answers(), world.view().pinned) == (2, pinned)
    world.settle()
    assert world.outcome(SetDefault("m", 1)).code is ErrorCode.FAILED_PRECONDITION
    assert (world.answers(), world.view().pinned) == (2, pinned)


def test_a_pin_that_nobody_waits_for_any_more_is_taken_back_too(world: GatedWorld) -> None:
    """Another command about the model took the place of it while its version was loaded."""
    world.come(1)
    world.come(2)
    world.judge.said[1] = (BAD,)
    world.configure("m", f"{GATED[:-1]}, p99_factor: 9}}")
    world.change()
    pin = world.manager.command(SetDefault("m", 1))
    world.tick()
    assert world.view().pinned == 1
    load = world.manager.command(LoadModel("m", 1))
    assert pin.wait(0) is not None
    world.change()
    assert load.wait(0) is not None
    assert (world.answers(), world.view().pinned) == (2, None)
    # And one that came true is what the next one goes back to.
    for version, blessed in ((3, True), (4, False)):
        world.come(version, *(() if blessed else (BAD,)))
    pin = world.manager.command(SetDefault("m", 2))
    world.manager.command(LoadModel("m", 2))
    world.change()
    assert world.view().pinned == 2
    world.judge.said[1] = (BAD,)
    assert not world.outcome(SetDefault("m", 1)).ok
    assert world.view().pinned == 2


@pytest.mark.parametrize("pinned", [None, 2])
@pytest.mark.parametrize("blessed", [True, False])
def test_a_pin_to_one_that_is_judged_after_a_restart_is_taken_back_as_well(
    tmp_path: Path, world: GatedWorld, pinned: int | None, blessed: bool
) -> None:
    """What was pinned before outlives the process with the pin."""
    world.come(1)
    world.come(2)
    world.configure("m", f"{GATED[:-1]}, p99_factor: 9}}")
    world.change()
    if pinned is not None:
        assert world.outcome(SetDefault("m", pinned)).ok
    world.manager.command(SetDefault("m", 1))
    world.tick()
    assert world.view().pinned == 1
    world.manager.stop()
    again = GatedWorld(tmp_path)
    again.judge.said[1] = () if blessed else (BAD,)
    again.settle()
    again.settle(1.01)
    expected = (1, 1) if blessed else (2, pinned)
    assert (again.answers(), again.view().pinned) == expected
    # And nothing of it is left for the next start.
    again.manager.stop()
    third = GatedWorld(tmp_path)
    third.settle()
    assert (third.answers(), third.view().pinned) == expected
    kept = third.manager._reconciler._desired.overrides_of("m")
    assert kept.pin_before is None


def test_gates_of_a_parameter_change_without_a_load(world: GatedWorld) -> None:
    (world.root / "m" / "model.yaml").unlink()
    file = world.root / "m" / "config.pbtxt"
    parameter = "parameters {{ key: 'gates' value {{ string_value: '{}' }} }}"
    file.write_text(parameter.format('{"safe_to_serve": true}'))
    world.come(1)
    world.come(2, BAD)
    assert (world.answers(), len(world.loads)) == (1, 2)
    world.judge.said[2] = ()
    file.write_text(parameter.format('{"safe_to_serve": true, "p99_factor": 9}'))
    world.change()
    assert (world.answers(), len(world.loads)) == (2, 2)
