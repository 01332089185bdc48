"""``HandleReloadConfigRequest``: which lists are taken, and when the call is answered."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format

from serving.errors import ConfigError, ErrorCode, ServingError
from serving.models.commands.command import Command, FollowList, Outcome, Ticket
from serving.models.commands.tickets import MOST
from serving.models.views import ModelView
from serving.protocols import reload_config
from serving.protocols.following import AT_ONCE, MAX_PENDING
from serving.protocols.left_calls import left_calls
from serving.protocols.reload_config import Followed, ReloadConfig
from serving.registry.model_list.base_paths import versions_below
from serving.registry.model_list.entries import NO_MODELS, ModelList
from serving.wire import tfs_messages
from tests.unit.protocol_views import model, version


class World:
    """A commander whose commands end when the test says so, and who keeps the list."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.current = folder, NO_MODELS
        self.tickets: list[Ticket] = []
        self.shown: Sequence[ModelView] = ()
        self.refusal = ""
        self.hurried = 0
        # What commands end with as they are given; None: they go on.
        self.at_once: Outcome | None = None
        for name in ("m", "n"):
            (folder / name / "00000001").mkdir(parents=True)
        self.metrics = b""
        self.reloading = ReloadConfig(self, self, [folder], lambda: self.metrics)

    def views(self) -> Sequence[ModelView]:
        return self.shown

    def command(self, command: Command, by: str = "") -> Ticket:
        assert by == "HandleReloadConfigRequest"
        ticket = Ticket(command, by)
        self.tickets.append(ticket)
        if self.at_once is not None:
            ticket.end(self.at_once)
        return ticket

    def hurry(self) -> None:
        self.hurried += 1

    def replace(self, models: ModelList, by: str) -> None:
        if self.refusal:
            raise ConfigError(self.refusal)
        self.current = models

    def reload(
        self,
        text: str,
        metrics: Sequence[str] = (),
        is_awaited: Callable[[], bool] = lambda: True,
    ) -> Followed:
        request = tfs_messages.ReloadConfigRequest(metric_names=metrics)
        text_format.Parse(text, request.config, descriptor_pool=tfs_messages.pool)
        return self.reloading.reload(request, is_awaited)

    def config(self, name: str, base: Path | None = None, more: str = "") -> str:
        path = base or self.folder / name
        return f"config {{ name: '{name}' base_path: '{path}' model_platform: 'onnx' {more} }}"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def listed(*configs: str) -> str:
    return f"model_config_list {{ {' '.join(configs)} }}"


def answers(followed: Followed) -> list[Outcome | None]:
    found: list[Outcome | None] = []
    followed.on_answer(found.append)
    return found


def test_it_is_answered_when_every_model_is_as_the_list_says(world: World) -> None:
    followed = world.reload(listed(world.config("m"), world.config("n")))
    found = answers(followed)
    assert sorted(ticket.command.model for ticket in world.tickets) == ["m", "n"]
    assert all(isinstance(ticket.command, FollowList) for ticket in world.tickets)
    for ticket in world.tickets:
        assert found == []
        ticket.end(Outcome(version=1))
    assert found == [None]
    assert followed.failure(None) is None
    response = tfs_messages.ReloadConfigResponse.FromString(followed.body)
    assert (response.HasField("status"), response.status.error_code) == (True, 0)
    assert world.hurried == 1


def test_what_failed_is_told_and_the_others_are_waited_for(world: World) -> None:
    followed = world.reload(listed(world.config("m"), world.config("n")))
    found = answers(followed)
    first, second = world.tickets
    first.end(Outcome(ErrorCode.BAD_REQUEST, "load failed for model 'm'"))
    assert found == []
    second.end(Outcome(version=1))
    error: Any = followed.failure(found[0])
    assert error.code is ErrorCode.BAD_REQUEST
    assert error.message == "the list is followed; load failed for model 'm'"


def test_many_models_are_commanded_a_few_at_a_time(world: World) -> None:
    found = answers(
        world.reload(listed(*(world.config(f"m{n}", world.folder / "m") for n in range(400))))
    )
    most = 0
    while open_ones := [ticket for ticket in world.tickets if ticket.wait(0) is None]:
        most = max(most, len(open_ones))
        open_ones[0].end(Outcome(version=1))
    assert (len(world.tickets), found) == (400, [None])
    assert most <= AT_ONCE
    assert MAX_PENDING * AT_ONCE <= MOST // 2, "no list that was taken finds the line full"


@pytest.mark.parametrize("first", [0, AT_ONCE])
def test_thousands_of_commands_may_end_as_they_are_given(world: World, first: int) -> None:
    """``first``: so many of them end later."""
    if not first:
        world.at_once = Outcome(ErrorCode.FULL, "the line is full")
    text = listed(*(world.config(f"m{n}", world.folder / "m") for n in range(3000)))
    followed = world.reload(text)
    found = answers(followed)
    world.at_once = Outcome(ErrorCode.FULL, "the line is full")
    for ticket in world.tickets[:first]:
        ticket.end(Outcome(version=1))
    assert (len(world.tickets), len(found)) == (3000, 1)
    error: Any = followed.failure(found[0])
    rest = 3000 - first - 1
    assert error.message == f"the list is followed; the line is full; and {rest} more"


def test_nobody_waits_for_what_answers_as_it_was_listed(world: World) -> None:
    text = listed(world.config("m"), world.config("n"))
    answers(world.reload(text))
    world.tickets.clear()
    world.shown = [model("m", version(1)), model("n")]
    found = answers(world.reload(text))
    assert [ticket.command.model for ticket in world.tickets] == ["n"], "it answers nothing"
    world.tickets[0].end(Outcome(version=1))
    assert found == [None]
    assert answers(world.reload("model_config_list {}")) == [None]


def test_a_list_costs_what_is_new_in_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"m{number}" for number in range(50)]
    for name in [*names, "one_more"]:
        (world.folder / name / "1").mkdir(parents=True)
    label = "version_labels { key: 'a' value: 1 }"
    rest = [*map(world.config, names), world.config("m", more=label)]
    world.reload(listed(*rest))
    world.shown = [model(name, version(1)) for name in [*names, "m"]]
    looked: list[str] = []

    def noted(path: str) -> frozenset[int]:
        looked.append(Path(path).name)
        return versions_below(path)

    monkeypatch.setattr(reload_config, "versions_below", noted)
    world.reload(listed(*rest, world.config("one_more")))
    assert looked == ["m", "one_more"], "a label may name what has gone"
    (world.folder / "m7").rename(world.folder / "away")
    with pytest.raises(ServingError, match="Could not find base path") as error:
        world.reload(listed(*rest))
    assert error.value.code is ErrorCode.NOT_FOUND


def test_a_base_path_that_cannot_be_looked_at_any_more_is_not_found(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = listed(world.config("m"))
    answers(world.reload(text))
    world.shown = [model("m", version(1))]
    stat = os.stat

    def refused(path: Any, *args: Any, **more: Any) -> os.stat_result:
        if str(path).endswith("/m"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return stat(path, *args, **more)

    monkeypatch.setattr(os, "stat", refused)
    with pytest.raises(ServingError, match="Could not find base path") as error:
        world.reload(text)
    assert error.value.code is ErrorCode.NOT_FOUND


def test_fault_64_a_list_leads_nowhere_that_the_server_was_not_started_with(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (world.folder / "link").symlink_to(outside)
    (world.folder.parent / f"{world.folder.name}x").mkdir()
    for base in (outside, world.folder / "link", Path(f"{world.folder}x"), Path("/")):
        with pytest.raises(ServingError) as error:
            world.reload(listed(world.config("m"), world.config("n", base)))
        assert error.value.code is ErrorCode.PERMISSION_DENIED
        assert "'n': its base_path is below no directory" in error.value.message
    assert (world.current, world.tickets) == (NO_MODELS, [])


LABELLED = (
    "config { name: 'm' base_path: 'BASE/m' model_platform: 'onnx'"
    " version_labels { key: 'a' value: 9 } }"
)
WRONG = [
    ("config { name: 'm' }", ErrorCode.BAD_REQUEST, "model 'm': it has no model_platform"),
    (
        "config { name: 'm' base_path: 'BASE/x' model_platform: 'onnx' }",
        ErrorCode.NOT_FOUND,
        "Could not find base path",
    ),
    (
        LABELLED,
        ErrorCode.FAILED_PRECONDITION,
        "Request to assign label to version 9 of model m, which is not currently available",
    ),
]


@pytest.mark.parametrize(("text", "code", "words"), WRONG)
def test_a_wrong_list_is_refused_as_a_whole(
    world: World, text: str, code: ErrorCode, words: str
) -> None:
    with pytest.raises(ServingError) as error:
        world.reload(listed(world.config("n"), text.replace("BASE", str(world.folder))))
    assert (error.value.code, words in error.value.message) == (code, True), error.value
    assert (world.current, world.tickets) == (NO_MODELS, [])


def test_a_label_may_name_what_is_on_disk_or_ready(world: World) -> None:
    label = "version_labels {{ key: 'a' value: {} }}"
    world.reload(listed(world.config("m", more=label.format(1))))
    world.shown = [model("m", version(7))]
    world.reload(listed(world.config("m", more=label.format(7))))


SPECIFIC = "model_version_policy { specific { versions: 42 } }"


def test_a_list_under_which_nothing_could_serve_is_refused(world: World) -> None:
    (world.folder / "empty").mkdir()
    for wrong in (world.config("empty"), world.config("m", more=SPECIFIC)):
        with pytest.raises(ServingError, match="at least one version must be available") as error:
            world.reload(listed(world.config("n"), wrong))
        assert error.value.code is ErrorCode.BAD_REQUEST
    assert (world.current, world.tickets) == (NO_MODELS, [])
    world.shown = [model("m", version(7)), model("empty", version(7))]
    world.reload(listed(world.config("empty"), world.config("m", more=SPECIFIC)))


def test_of_many_that_wait_the_oldest_gives_way_with_all_that_it_holds(world: World) -> None:
    text = listed(world.config("m"), world.config("n"))
    world.refusal = "model 'm': its model_platform can't change"
    for _ in range(MAX_PENDING + 1):
        with pytest.raises(ServingError, match="can't change"):
            world.reload(text)
    world.refusal = ""
    calls = []
    for _ in range(MAX_PENDING):
        calls.append(world.reload(text))
        world.current = NO_MODELS
    found = [answers(call) for call in calls]
    assert found == [[] for _ in calls], "a refusal takes no place"
    late = answers(world.reload(text))
    (outcome,) = found[0]
    error: Any = calls[0].failure(outcome)
    assert (error.code, "newer lists have come" in error.message) == (ErrorCode.UNAVAILABLE, True)
    assert [len(one) for one in found[1:]] == [0] * (MAX_PENDING - 1)
    # Its commands hold no places in the line.
    assert all(ticket.wait(0) == outcome for ticket in world.tickets[:2])
    calls[0].end()
    calls[1].end()
    world.current = NO_MODELS
    answers(world.reload(text))
    assert found[2] == [], "there was a place"
    for ticket in world.tickets:
        ticket.end(Outcome(version=1))
    assert late == [None]
    assert found[1:] == [[None]] * (MAX_PENDING - 1)


def test_one_that_gives_way_before_it_began_is_answered(world: World) -> None:
    text = listed(world.config("m"))
    first = world.reload(text)
    for _ in range(MAX_PENDING):
        world.reload(text)
    (outcome,) = answers(first)
    assert outcome is not None
    assert (outcome.code, world.tickets) == (ErrorCode.UNAVAILABLE, [])


BEFORE = b"""\
# TYPE serving_request_total counter
serving_request_total{model="a{}",code="OK"} 5
serving_request_total{model="gone",code="OK"} 100
serving_load_seconds_total 1.5
serving_load 7
"""
AFTER = b"""\
serving_request_total{model="a{}",code="OK"} 6
serving_request_total{model="b",code="OK"} 2
serving_load_seconds_total 3.75
serving_load NaN
"""


def test_metrics_that_are_asked_for_are_told_by_what_they_grew(world: World) -> None:
    names = [
        "/tensorflow/serving/request_count",
        "serving_load_seconds_total",
        "serving_load",
        "/unknown",
        "serving_.*",
        "/unknown",
    ]
    world.metrics = BEFORE
    followed = world.reload(listed(world.config("m")), names)
    found = answers(followed)
    world.metrics = AFTER
    world.tickets[0].end(Outcome(version=1))
    assert found == [None]
    response = tfs_messages.ReloadConfigResponse.FromString(followed.body)
    told = {one.name: one.int64_value_increase for one in response.metric}
    assert told == dict(zip(names[:5], [3, 2, 0, 0, 0], strict=True))
    assert len(response.metric) == 5


@pytest.mark.parametrize("names", [["n"] * 3 + [f"n{i}" for i in range(64)], ["n" * 256]])
def test_more_metrics_than_are_told_change_nothing(world: World, names: list[str]) -> None:
    with pytest.raises(ServingError, match="64 names of 255 bytes") as error:
        world.reload(listed(world.config("m")), names)
    assert error.value.code is ErrorCode.BAD_REQUEST
    assert (world.current, world.tickets) == (NO_MODELS, [])


def test_one_whose_client_left_holds_no_place_and_no_command(world: World) -> None:
    awaited = True
    text = listed(world.config("m"), world.config("n"))
    left = world.reload(text, is_awaited=lambda: awaited)
    found = answers(left)
    world.current = NO_MODELS
    stays = answers(world.reload(text))
    awaited = False
    left_calls.look()
    (outcome,) = found
    error: Any = left.failure(outcome)
    assert (error.code, stays) == (ErrorCode.CANCELLED, [])
    assert [ticket.wait(0) is not None for ticket in world.tickets] == [True, True, False, False]
