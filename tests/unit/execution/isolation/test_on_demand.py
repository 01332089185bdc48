"""A child that comes when it is wanted: by scripted twins of one, and a clock that is set."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from serving.errors import LoadError
from serving.execution.isolation.crashes import CrashError, NotRunningError
from serving.execution.isolation.many_texts import Demand
from serving.execution.isolation.parent import on_demand, starting
from serving.execution.isolation.parent.on_demand import OnDemand
from tests.clients.gateway import wait_until


class Twin:
    def __init__(self) -> None:
        self.pid: int | None = 7
        self.trouble = ""
        self.ran: list[bool] = []
        self.closed = threading.Event()
        self.stopped: list[tuple[int, bool]] = []
        self.error: Exception | None = None

    def run_packed(
        self, names: object, feeds: object, requests: int = 0, alone: bool = False
    ) -> list[Any]:
        self.ran.append(alone)
        if self.error is not None:
            self.pid = None
            raise self.error
        return []

    def wait_ready(self, timeout: float | None = None, ending: object = None) -> bool:
        return self.pid is not None

    def stop(self, thread: int, alone: bool = True) -> None:
        self.stopped.append((thread, alone))

    def close(self) -> None:
        self.closed.set()


class Start:
    """In place of a child's start; its clock is set by hand. ``held``: until then it takes."""

    def __init__(self) -> None:
        self.now = 100.0
        self.twins: list[Twin] = []
        self.error: Exception | None = None
        self.held = threading.Event()
        self.held.set()
        self.begun = 0

    def __call__(self, started: Callable[[Any], None]) -> Any:
        self.begun += 1
        started(self)
        assert self.held.wait(20)
        if self.error is not None:
            raise self.error
        self.twins.append(Twin())
        return self.twins[-1]

    def close(self) -> None:
        """As a child is closed while it starts."""
        self.error = LoadError("its process ended")
        self.held.set()


@pytest.fixture
def start() -> Start:
    return Start()


@pytest.fixture
def child(start: Start) -> Iterator[OnDemand]:
    demand = Demand(idle_s=60, first_s=10, longest_s=300)
    one = OnDemand("m:1", cast(Any, start), lambda: None, demand, lambda: start.now)
    yield one
    one.close()


def taken(child: OnDemand) -> OnDemand:
    return cast(OnDemand, wait_until(child.take, 10, "the child is there"))


def tick(child: OnDemand) -> None:
    """Have it look at the clock."""
    with child._changed:
        child._changed.notify_all()


class Held:
    """In place of the template, which children are forked from."""

    holders = 0

    def hold(self) -> None:
        self.holders += 1

    def release(self) -> None:
        self.holders -= 1


def test_what_it_is_forked_from_is_there_as_long_as_it_may_be_wanted(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held()
    monkeypatch.setattr(starting, "_template", held)
    one = OnDemand("m:1", cast(Any, start), lambda: None)
    assert held.holders == 1
    one.close()
    one.close()
    assert held.holders == 0


def test_it_is_started_once_when_first_wanted_and_runs_go_elsewhere_meanwhile(
    child: OnDemand, start: Start
) -> None:
    assert start.begun == 0
    start.held.clear()
    assert [child.take() for _ in range(5)] == [None] * 5
    start.held.set()
    assert taken(child).run_packed([], {}) == []
    assert start.begun == 1


def test_it_is_awaited_from_the_run_that_it_is_started_for_until_it_is_there(
    child: OnDemand, start: Start
) -> None:
    awaited = [child.is_awaited]
    start.held.clear()
    assert child.take() is None
    awaited.append(child.is_awaited)
    start.held.set()
    assert child.wait_ready(5)
    awaited.append(child.is_awaited)
    assert awaited == [False, True, False]
    assert child.take() is child


def test_it_ends_when_nobody_used_it_for_a_while_and_comes_again(
    child: OnDemand, start: Start
) -> None:
    taken(child).run_packed([], {})
    start.now += 59
    tick(child)
    assert taken(child) is child
    start.now += 59
    tick(child)
    assert not start.twins[0].closed.is_set()
    start.now += 61
    tick(child)
    assert start.twins[0].closed.wait(10)
    assert child.process is None
    taken(child).run_packed([], {})
    assert len(start.twins) == 2


def test_a_run_in_it_keeps_it_however_long_it_takes(child: OnDemand, start: Start) -> None:
    taken(child)
    (twin,) = start.twins
    inside, go_on = threading.Event(), threading.Event()

    def run(*given: object) -> list[Any]:
        inside.set()
        assert go_on.wait(20)
        return []

    twin.run_packed = run  # type: ignore[method-assign, assignment]  # its own
    thread = threading.Thread(target=child.run_packed, args=([], {}))
    thread.start()
    assert inside.wait(10)
    start.now += 1000
    tick(child)
    assert not twin.closed.wait(0.1)
    go_on.set()
    thread.join(10)
    assert child.process is not None


def test_a_start_that_fails_is_said_once_and_tried_again_later(
    child: OnDemand, start: Start
) -> None:
    start.error = LoadError("there is no room for it")
    with capture_logs() as logs:
        for attempt in (1, 2, 3):
            assert child.take() is None
            wait_until(lambda n=attempt: start.begun == n and not child._thread, 10, "it failed")
            assert child.take() is None
            assert start.begun == attempt, "tried again at once"
            assert "there is no room for it" in child.trouble
            start.now += 1000
        start.error = None
        taken(child)
    told = [one for one in logs if one["log_level"] == "warning"]
    assert [one["event"] for one in told] == ["texts_process_failed"]
    assert child.trouble == ""


def test_where_no_thread_can_be_had_runs_go_elsewhere_and_it_is_tried_again_later(
    child: OnDemand, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_thread(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        assert child.take() is None
        assert child.take() is None
    assert "no thread can be had for it" in child.trouble
    assert child.take() is None
    assert start.begun == 0, "tried again at once"
    start.now += 1000
    taken(child)
    assert child.trouble == ""


def test_closed_after_it_got_no_thread_it_has_nothing_to_wait_for(
    child: OnDemand, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_thread(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        assert child.take() is None
    child.close()


def test_one_that_somebody_killed_is_not_waited_for(child: OnDemand, start: Start) -> None:
    taken(child)
    start.twins[0].error = CrashError("SIGKILL", alone=False, killed=True)
    with pytest.raises(CrashError):
        child.run_packed([], {})
    assert child.take() is None
    start.twins[0].pid = 8
    assert child.take() is child


def test_after_one_of_several_runs_ended_it_none_of_them_goes_elsewhere(
    child: OnDemand, start: Start
) -> None:
    """Nobody knows which of them it was."""
    taken(child)
    start.twins[0].error = CrashError("SIGSEGV", alone=False)
    with pytest.raises(CrashError):
        child.run_packed([], {})
    assert child.take() is child


def test_after_a_run_that_ended_it_its_like_wait_for_the_next(
    child: OnDemand, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_demand, "_PATIENCE_S", 0.05)
    taken(child)
    start.twins[0].error = CrashError("SIGSEGV", alone=True)
    with pytest.raises(CrashError):
        child.run_packed([], {})
    assert child.take() is child
    assert not child.wait_ready()
    start.twins[0].pid = 8
    assert child.wait_ready()
    start.now += 1000
    tick(child)
    assert start.twins[0].closed.wait(10)
    wait_until(lambda: child._thread is None, 10, "it is gone")
    start.held.clear()
    assert child.take() is child, "a run of its kind goes nowhere else"
    with pytest.raises(NotRunningError):
        child.run_packed([], {})
    assert not child.wait_ready()
    start.held.set()
    wait_until(child.wait_ready, 10, "the next one is there")


def test_closed_it_ends_what_it_has_and_starts_nothing(child: OnDemand, start: Start) -> None:
    taken(child)
    child.close()
    assert start.twins[0].closed.wait(10)
    assert child.take() is None
    assert start.begun == 1


def test_closed_it_ends_a_start_and_says_nothing(child: OnDemand, start: Start) -> None:
    start.held.clear()
    with capture_logs() as logs:
        assert child.take() is None
        wait_until(lambda: start.begun, 10, "it begins")
        child.close()
        wait_until(lambda: child._thread is None, 10, "the start has ended")
    assert not start.twins
    assert logs == []


def test_a_word_to_stop_reaches_it(child: OnDemand, start: Start) -> None:
    child.stop(3)
    taken(child).stop(5, alone=False)
    assert start.twins[0].stopped == [(5, False)]
