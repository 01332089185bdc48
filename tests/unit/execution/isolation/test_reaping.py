"""Processes that have ended: how they did is known at once, and they go later."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from serving.execution.isolation.parent import process, reaping
from serving.execution.isolation.parent.forked import Forked
from tests.clients.gateway import wait_until
from tests.clients.processes import state_of


def child(program: str) -> Forked:
    process = subprocess.Popen([sys.executable, "-c", program])
    # From here on it is Forked's.
    process.returncode = 0
    return Forked(process.pid)


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("raise SystemExit(3)", 3),
        ("pass", 0),
        ("import os; os.kill(os.getpid(), 11)", -signal.SIGSEGV),
    ],
)
def test_how_it_ended_is_known_before_it_is_collected(
    monkeypatch: pytest.MonkeyPatch, program: str, status: int
) -> None:
    monkeypatch.setattr(reaping, "_LATER_S", 0.3)
    ended = child(program)
    assert ended.wait() == status
    assert (ended.poll(), state_of(ended.pid)) == (status, "Z")
    wait_until(lambda: not state_of(ended.pid), 20, "it is collected")
    assert ended.poll() == status
    ended.kill()  # nobody else's number


def gone(processes: list[Forked]) -> None:
    wait_until(lambda: not any(state_of(one.pid) for one in processes), 20, "all are collected")


def test_each_of_several_is_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaping, "_LATER_S", 0.1)
    for _ in range(2):
        several = [child("import time; time.sleep(60)") for _ in range(3)]
        for one in several:
            assert one.poll() is None
            one.kill()
            assert one.wait(20) == -signal.SIGKILL
        gone(several)


def test_one_that_ends_while_there_is_no_thread_is_collected_with_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none(thread: threading.Thread) -> None:
        del thread
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(reaping, "_LATER_S", 0.0)
    # Its own: the process's may be at work.
    monkeypatch.setattr(reaping, "_ended", type(reaping._ended)())
    first, second = child("pass"), child("pass")
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", none)
        assert first.wait() == 0
    assert state_of(first.pid) == "Z"
    assert second.wait() == 0
    gone([first, second])


def test_fault_20_no_more_that_have_ended_wait_than_there_may_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reaping, "_MOST", 2)
    monkeypatch.setattr(reaping, "_ended", type(reaping._ended)())
    several = [child("pass") for _ in range(4)]
    for one in several:
        assert one.wait() == 0
    gone(several[:2])
    assert [state_of(one.pid) for one in several[2:]] == ["Z", "Z"]
    # Not ours to leave behind.
    monkeypatch.setattr(reaping, "_MOST", 0)
    last = child("pass")
    assert last.wait() == 0
    gone([*several, last])


def test_the_end_of_a_collected_one_is_not_looked_for_under_a_number_of_somebody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reaping, "_LATER_S", 0.0)
    ended = child("raise SystemExit(3)")
    assert ended.wait() == 3
    gone([ended])
    ended.pid = os.getpid()
    assert process._ended(ended, 0.1) == 3
