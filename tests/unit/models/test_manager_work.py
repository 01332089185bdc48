"""What an event costs beside many models: counted, for no machine is as quiet as that."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import structlog

from serving.errors import LoadError, Retry
from serving.model_config import ModelConfig
from serving.models.commands.command import Command, LoadModel, SetDefault, UnloadModel
from serving.models.desired.overrides import part_of
from serving.models.views import Changes
from serving.settings import Settings
from tests.unit.manager_world import Loaded, SteppedManager
from tests.unit.models.test_manager_machine import Memory, Source

FEW, MANY = 10, 1000


class CountedMemory(Memory):
    """Notes the names of the documents as they are written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[str] = []

    def write(self, name: str, document: Any) -> bool:
        self.written.append(name)
        return super().write(name, document)


class Registry:
    """So many models without a disk, all of them ready."""

    ends_in_time = True

    def __init__(self, count: int) -> None:
        self.source = Source()
        for number in range(count):
            self.add(f"m{number:04}")
        self.now, self.each_look = 1000.0, 0.0
        self.jobs: list[Callable[[], None]] = []
        self.published: list[set[str]] = []
        self.failing: set[str] = set()
        self.memory = CountedMemory()
        self.manager = SteppedManager(
            Settings(threads={"load": 50}),
            [],
            self.publish,
            self.load,
            state=self.memory,  # type: ignore[arg-type]  # a stand-in without a disk
            sources=[self.source],
            read_config=self.source.config,
            new_stats=lambda model, version: None,  # type: ignore[arg-type,return-value]  # unused
            mono=self.clock,
            wall=lambda: self.now,
            cpu=lambda: 0.0,
            spawn=lambda name, job: self.jobs.append(job),
        )
        self.settle()
        assert self.manager.wait_started(0)
        # What is written a moment later.
        self.settle(5.0)
        self.published.clear()

    def clock(self) -> float:
        """It goes on by ``each_look`` seconds."""
        self.now += self.each_look
        return self.now

    def add(self, model: str) -> None:
        self.source.models[model] = {1: (f"content of {model}", True)}

    def publish(self, changed: Changes) -> None:
        self.published.append(set(changed))

    def routed(self) -> list[Any]:
        return []

    def load(self, **call: Any) -> Any:
        if call["name"] in self.failing:
            raise LoadError("no luck", retry=Retry.LATER)
        call["on_warming"]()
        return Loaded(call["name"], call["version"], call["config"], self)  # type: ignore[arg-type]  # it asks for no more than this has

    def settle(self, seconds: float = 0.0) -> None:
        self.now += seconds
        self.manager.tick()
        while self.jobs:
            jobs, self.jobs = self.jobs, []
            for job in jobs:
                job()
            self.manager.tick()

    def order(self, command: Command) -> None:
        ticket = self.manager.command(command)
        self.settle()
        outcome = ticket.wait(0)
        assert outcome is not None
        assert outcome.ok, outcome


@pytest.fixture(scope="module")
def registries() -> list[Registry]:
    with structlog.testing.capture_logs():
        return [Registry(FEW), Registry(MANY)]


def _unload_and_load(one: Registry) -> None:
    one.order(UnloadModel("m0001"))
    one.order(LoadModel("m0001"))


def _pin_and_unpin(one: Registry) -> None:
    one.order(SetDefault("m0001", 1))
    one.order(SetDefault("m0001"))


def _fail_and_retry(one: Registry) -> None:
    one.failing = {"m0003"}
    one.order(UnloadModel("m0003"))
    one.manager.command(LoadModel("m0003"))
    one.settle()
    one.failing = set()
    for _ in range(3):
        one.settle(2.0)
    assert one.manager.lookup("m0003") is not None


def _another_version(one: Registry) -> None:
    one.source.models["m0002"][2] = ("another", True)
    one.settle(60.0)
    del one.source.models["m0002"][2]
    one.settle(60.0)


def _one_more(one: Registry) -> None:
    one.add("one more")
    one.settle(60.0)
    del one.source.models["one more"]
    one.settle(60.0)


EVENTS: dict[str, Callable[[Registry], None]] = {
    "unload and load": _unload_and_load,
    "pin and unpin": _pin_and_unpin,
    "a load that fails and is tried again": _fail_and_retry,
    "another version and its end": _another_version,
    "one more model and its end": _one_more,
}


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Calls of the manager's functions."""
    calls: Counter[str] = Counter()

    def note(frame: Any, event: str, _: object) -> None:
        file = frame.f_code.co_filename
        if event == "call" and "/serving/models/" in file:
            calls[f"{file.rpartition('/')[2]}:{frame.f_code.co_qualname}"] += 1

    sys.setprofile(note)
    try:
        yield calls
    finally:
        sys.setprofile(None)


def cost(one: Registry, event: Callable[[Registry], None]) -> tuple[Counter[str], list[set[str]]]:
    one.published.clear()
    with structlog.testing.capture_logs(), counted() as calls:
        event(one)
    return calls, list(one.published)


@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS)
def test_an_event_costs_as_much_among_a_thousand_models_as_among_ten(
    registries: list[Registry], event: Callable[[Registry], None]
) -> None:
    (few, few_told), (many, many_told) = (cost(one, event) for one in registries)
    assert few_told == many_told
    assert all(len(told) == 1 for told in few_told)
    assert _differing(few, many) == {}


def _differing(few: Counter[str], many: Counter[str]) -> dict[str, tuple[int, int]]:
    """Functions, and how often they were called."""
    return {name: (few[name], many[name]) for name in few | many if few[name] != many[name]}


def test_commands_of_one_turn_write_no_document_twice(registries: list[Registry]) -> None:
    one = registries[0]
    with structlog.testing.capture_logs():
        one.memory.written.clear()
        tickets = [one.manager.command(SetDefault(f"m{number:04}", 1)) for number in range(FEW)]
        one.settle()
        assert all((ticket.wait(0) or ticket).ok for ticket in tickets)  # type: ignore[union-attr]
        parts = {part_of(f"m{number:04}") for number in range(FEW)}
        assert one.memory.written == [f"models/{part}" for part in sorted(parts)]
        for number in range(FEW):
            one.order(SetDefault(f"m{number:04}"))


def test_files_that_came_with_a_command_cost_nothing_of_the_others(
    registries: list[Registry],
) -> None:
    sent = LoadModel("m0005", override=ModelConfig(), files={"1/model.onnx": b"sent"})
    with structlog.testing.capture_logs():
        for one in registries:
            one.order(sent)
            one.settle(60.0)
    (few, _), (many, _) = (cost(one, _pin_and_unpin) for one in registries)
    assert _differing(few, many) == {}
    with structlog.testing.capture_logs():
        for one in registries:
            one.order(UnloadModel("m0005"))
            one.order(LoadModel("m0005"))


def test_a_turn_in_which_nothing_happens_looks_at_no_model(registries: list[Registry]) -> None:
    (few, few_told), (many, many_told) = (cost(one, Registry.settle) for one in registries)
    assert few_told == many_told == []
    assert _differing(few, many) == {}


@pytest.mark.parametrize("looks", range(1, 13))
def test_a_retry_that_falls_due_in_the_midst_of_a_turn_is_not_lost(looks: int) -> None:
    """``looks``: at the clock, from the turn's begin on, until its time has come."""
    with structlog.testing.capture_logs():
        one = Registry(3)
        one.failing = {"m0001"}
        one.order(UnloadModel("m0001"))
        one.manager.command(LoadModel("m0001"))
        one.settle()
        one.failing = set()
        # Just before its time comes something else about the model.
        one.now, one.each_look = one.manager._reconciler._timers.next() - looks + 0.5, 1.0
        one.manager._mail.post(lambda: one.manager._reconciler.touch("m0001"))
        one.manager.tick()
        one.each_look = 0.0
        for _ in range(looks):
            one.settle(1.0)
    assert one.manager.lookup("m0001") is not None


def test_what_a_load_mentions_on_its_way_waits_for_its_end_but_not_for_ever() -> None:
    heard: list[str] = []
    with structlog.testing.capture_logs():
        manager = Registry(1).manager
    manager._mail.read()
    manager._mail.mention(lambda: heard.append("trying"))
    manager._mail.mention(lambda: heard.append("warming"))
    manager._mail.post(lambda: heard.append("loaded"))
    manager._mail.post(lambda: heard.append("another"))
    manager._mail.wait(3600.0)
    assert heard == ["trying", "warming", "loaded"]
    manager._mail.wait(3600.0)
    manager._mail.mention(lambda: heard.append("trying again"))
    manager._mail.wait(3600.0)  # nothing follows
    assert heard[3:] == ["another", "trying again"]


class Warming(Registry):
    """The manager has a turn while a version warms up."""

    def load(self, **call: Any) -> Any:
        call["on_warming"]()
        self.published.clear()
        with counted() as self.calls:
            self.manager.tick()
        self.told = list(self.published)
        return Loaded(call["name"], call["version"], call["config"], self)  # type: ignore[arg-type]  # as above


def test_that_a_version_warms_up_is_shown_and_decides_nothing() -> None:
    with structlog.testing.capture_logs():
        one = Warming(1)
    assert one.told == [{"m0000"}]
    assert one.calls["reconciler.py:Reconciler._drawn"] == 1
    assert "reconciler.py:Reconciler._decide" not in one.calls


def test_a_version_is_decided_about_when_it_comes_is_added_is_loaded_and_answers() -> None:
    """And not when its turn comes, nor on its way."""
    with structlog.testing.capture_logs():
        one = Registry(FEW)
        one.add("new")
        with counted() as calls:
            one.settle(5.0)
            one.settle(5.0)
    assert one.manager.lookup("new") is not None
    assert calls["reconciler.py:Reconciler._steps"] == 4
    assert calls["slots.py:Slots._note_warming"] == 1
