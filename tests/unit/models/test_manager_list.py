"""A manager that follows a model config list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serving.errors import ErrorCode, LoadError
from serving.model_config.schema import VersionPolicy
from serving.models.commands.command import FollowList, LoadModel, SetAlias, SetDefault, UnloadModel
from serving.models.desired import policy
from serving.models.state import Change
from serving.registry.directory import DirectorySource
from serving.registry.model_list.entries import Entry, ModelList
from serving.registry.model_list.source import ListTerms, ModelListSource
from serving.registry.snapshot import Listed, Snapshot
from serving.registry.sources import joined
from serving.settings.registry import RegistrySettings
from serving.state_dir import StateDir
from tests.unit.manager_world import World

ALL = VersionPolicy("all")


class Following(World):
    """Its manager has no directory: models lie in ``base``, and the list names some of them."""

    def __init__(self, folder: Path, mode: str = "both") -> None:
        self.base = folder / "base"
        self.base.mkdir(exist_ok=True)
        state = StateDir(folder / "state")
        super().__init__(folder, state, listed=self.follow, model_control=mode)
        self.root = self.base

    def follow(self, mono: Any, wall: Any) -> Any:
        self.source = ModelListSource(None, ListTerms(RegistrySettings(), 0.0, wall, mono))
        return self.source

    def list(self, **models: Listed) -> None:
        entries = {n: Entry(n, str(self.base / n), one) for n, one in models.items()}
        self.source.replace(ModelList(entries), "a test")


class WithDirectory:
    """What the list says, and a directory of models beside it."""

    def __init__(self, listed: ModelListSource, folder: Path, mono: Any, wall: Any) -> None:
        self.place, self._listed = folder, listed
        self._folder = DirectorySource([folder], 1.0, wall, mono)

    def scan(self, *closely: Any, **keywords: Any) -> Snapshot:
        sources = (self._folder, self._listed)
        return joined([source.scan(*closely, **keywords) for source in sources])


class Beside(Following):
    """Its directory has every model too."""

    def follow(self, mono: Any, wall: Any) -> Any:
        return WithDirectory(super().follow(mono, wall), self.base, mono, wall)


@pytest.fixture
def world(tmp_path: Path) -> Following:
    one = Following(tmp_path)
    for model in ("m", "n"):
        for number in (1, 2):
            one.write(model, number)
    return one


def listed(policy: VersionPolicy | None = None, **labels: int) -> Listed:
    return Listed("onnx", policy, labels)


def aliases(world: World, model: str = "m") -> dict[str, int]:
    return dict(world.view(model).aliases)


@pytest.mark.parametrize("mode", ["poll", "both", "explicit"])
def test_what_is_listed_is_served_and_what_is_not_goes_the_last_version_too(
    tmp_path: Path, mode: str
) -> None:
    world = Following(tmp_path, mode)
    for model in ("m", "n"):
        world.write(model, 1)
    world.list(m=listed(), n=listed())
    world.settle()
    assert (world.answers("m"), world.answers("n")) == (1, 1)
    world.list(n=listed())
    world.settle(1.01)
    assert [view.name for view in world.manager.views()] == ["n"]
    told = [e.reason for e in world.manager.history("m")]
    assert policy.WITHDRAWN in told
    world.list(m=listed(), n=listed())
    world.settle(1.01)
    assert (world.answers("m"), world.answers("n")) == (1, 1)


def test_new_versions_of_what_is_listed_are_followed_in_every_mode(tmp_path: Path) -> None:
    world = Following(tmp_path, "explicit")
    world.write("m", 1)
    world.list(m=listed())
    world.settle()
    world.write("m", 2)
    world.change()
    assert world.answers() == 2


def test_a_base_path_that_vanishes_takes_nothing_away(world: Following) -> None:
    world.list(m=listed())
    world.settle()
    world.remove("m")
    world.settle(1.01)
    assert (world.answers(), world.view().reason) == (2, "its directory does not exist")


def test_the_lists_policy_says_what_is_loaded(world: Following) -> None:
    world.configure("m", "version_policy: all\n")
    world.list(m=listed(VersionPolicy("specific", specific=(1,))))
    world.settle()
    assert world.states() == {1: "READY"}
    world.list(m=listed())
    world.settle(1.01)
    assert world.states() == {1: "READY", 2: "READY"}


def test_labels_load_what_they_name_and_move_when_it_is_ready(world: Following) -> None:
    world.list(m=listed(stable=1, canary=2))
    world.settle()
    assert (aliases(world), world.states()) == (
        {"stable": 1, "canary": 2},
        {1: "READY", 2: "READY"},
    )
    world.write("m", 3)
    world.list(m=listed(stable=3, canary=3))
    world.tick(1.01)
    assert aliases(world) == {"stable": 1, "canary": 2}, "3 is not ready yet"
    world.change()
    assert (aliases(world), world.states()) == ({"stable": 3, "canary": 3}, {3: "READY"})
    told = [e for e in world.manager.history("m") if e.state is Change.ALIAS]
    assert (told[-1].version, told[-1].reason) == (
        3,
        "'stable': in place of version 1; the model config list says so",
    )


def test_fault_87_labels_of_versions_that_fail_wait_and_stop_no_start(world: Following) -> None:
    world.errors["m/2"] = LoadError("it is broken")
    world.list(m=listed(ALL, stable=2, other=9))
    world.settle()
    assert world.manager.wait_started(0)
    assert world.answers() == 1
    for words in ("'stable' names version 2", "'other' names version 9"):
        assert words in world.view().own_reason


def test_a_label_that_the_list_takes_is_no_commands_and_does_not_move_back(
    world: Following, tmp_path: Path
) -> None:
    world.list(m=listed(ALL))
    world.settle()
    world.outcome(SetAlias("m", "stable", 1))
    world.list(m=listed(ALL, stable=2))
    world.settle(1.01)
    assert aliases(world) == {"stable": 2}
    for version in (1, None):
        refused = world.outcome(SetAlias("m", "stable", version))
        assert refused.code is ErrorCode.FAILED_PRECONDITION
        assert refused.message == "the model config list says what 'stable' of model 'm' names"
    assert world.outcome(SetAlias("m", "mine", 1)).ok
    world.list(m=listed(ALL))
    world.settle(1.01)
    assert aliases(world) == {"mine": 1}
    told = [e for e in world.manager.history("m") if "'stable'" in e.reason]
    assert [(e.version, e.state, e.reason) for e in told[1:]] == [
        (2, Change.ALIAS, "'stable': in place of version 1; the model config list says so"),
        (2, Change.ALIAS_REMOVED, "'stable': the model config list says it no more"),
    ]
    world.settle(1.01)
    again = Following(tmp_path)
    again.list(m=listed(ALL))
    again.settle()
    assert aliases(again) == {"mine": 1}, "nor after a restart"


def test_a_model_that_a_directory_has_too_is_taken_out_by_the_list_or_by_command(
    tmp_path: Path,
) -> None:
    world = Beside(tmp_path, "explicit")
    for model in ("m", "n"):
        world.write(model, 1)
    world.list(m=listed(), n=listed())
    world.settle()
    world.outcome(UnloadModel("n"))
    world.list()
    world.settle(1.01)
    assert (world.answers("m"), world.answers("n")) == (None, None)
    for model, words in (("m", policy.WITHDRAWN), ("n", policy.BY_COMMAND)):
        told = [e.reason for e in world.manager.history(model)]
        ends = [one for one in told if one in (policy.WITHDRAWN, policy.BY_COMMAND)]
        assert ends[-1:] == [words], told


def test_following_undoes_loads_and_unloads_by_command_and_keeps_pins(world: Following) -> None:
    world.list(m=listed())
    world.settle()
    world.outcome(SetDefault("m", 1))
    world.outcome(UnloadModel("m"))
    assert world.answers() is None
    assert world.outcome(FollowList("m")).ok
    assert (world.answers(), world.view().pinned) == (1, 1)
    told = [e.reason for e in world.manager.history("m") if e.state is Change.LOAD]
    assert told == ["by command, as the model config list says"]


@pytest.mark.parametrize(
    ("entry", "code", "words"),
    [
        (listed(), ErrorCode.BAD_REQUEST, "load failed for model 'm': version 2 is at UNAVAILABLE"),
        (
            listed(VersionPolicy("specific", specific=(1,)), stable=2),
            ErrorCode.BAD_REQUEST,
            "version 2 is at UNAVAILABLE state: it is broken",
        ),
        (
            listed(VersionPolicy("specific", specific=(1,)), stable=9),
            ErrorCode.FAILED_PRECONDITION,
            "Request to assign label to version 9 of model m, which is not currently available",
        ),
    ],
)
def test_following_ends_when_all_is_ready_or_says_what_is_not(
    world: Following, entry: Listed, code: ErrorCode, words: str
) -> None:
    world.errors["m/2"] = LoadError("it is broken")
    world.list(m=entry)
    world.settle(1.01)
    outcome = world.outcome(FollowList("m"))
    assert (outcome.code, words in outcome.message) == (code, True), outcome
    assert world.answers() == 1, "what can answers"


def test_following_needs_no_settle_time_and_is_ended_by_what_is_about_the_model(
    world: Following,
) -> None:
    world.list(m=listed())
    assert world.outcome_at_once(FollowList("m")).version == 2
    first = world.manager.command(FollowList("m"))
    world.manager.command(LoadModel("m", 1))
    outcome = first.wait(0)
    assert outcome is not None
    assert not outcome.ok
    assert world.outcome(FollowList("nowhere")).code is ErrorCode.NOT_FOUND


def test_a_server_that_stops_lets_nobody_wait_and_serves_on(world: Following) -> None:
    world.list(m=listed())
    world.settle()
    world.list(m=listed(), n=listed())
    waiting = world.manager.command(FollowList("n"))
    world.manager.refuse_commands()
    for ticket in (waiting, world.manager.command(LoadModel("m"))):
        outcome = ticket.wait(0)
        assert outcome is not None
        assert (outcome.code, outcome.message) == (
            ErrorCode.UNAVAILABLE,
            "the server is stopping",
        )
    world.settle(1.01)
    assert (world.answers("m"), world.answers("n")) == (2, 2)
