"""Calls whose clients left: who answers them hears of it, from the core and by one thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

import grpc
import pytest

from serving import _core
from serving.protocols.left_calls import LeftCalls, left_calls
from serving.settings import load_settings

RELOAD = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"


class Departures:
    """The core's word, as a test gives it."""

    def __init__(self) -> None:
        self._words: queue.SimpleQueue[None] = queue.SimpleQueue()

    def note(self) -> None:
        self._words.put(None)

    def wait(self) -> None:
        self._words.get()


class Watched:
    def __init__(self, left: LeftCalls, *, awaited: bool = True) -> None:
        self.awaited, self.told = awaited, threading.Event()
        self.forget = left.watch(lambda: self.awaited, self.told.set)


def test_only_calls_that_nobody_waits_for_are_told_and_once() -> None:
    departures = Departures()
    left = LeftCalls(departures.wait)
    stays, goes, forgotten = (Watched(left) for _ in range(3))
    forgotten.forget()
    goes.awaited = forgotten.awaited = False
    departures.note()
    assert goes.told.wait(20)
    goes.told.clear()
    departures.note()
    late = Watched(left)
    late.awaited = False
    departures.note()
    assert late.told.wait(20)
    assert not any(one.told.is_set() for one in (stays, goes, forgotten))


def test_a_call_that_was_left_before_it_was_watched_is_told_at_once() -> None:
    assert Watched(LeftCalls(Departures().wait), awaited=False).told.is_set()


def test_one_call_that_cannot_be_ended_keeps_no_other_from_it() -> None:
    departures = Departures()
    left, awaited = LeftCalls(departures.wait), True

    def broken() -> None:
        raise RuntimeError("broken")

    left.watch(lambda: awaited, broken)
    other = Watched(left)
    awaited = other.awaited = False
    departures.note()
    assert other.told.wait(20)


@pytest.fixture
def server() -> Iterator[_core.Server]:
    settings, _ = load_settings({"http_port": 0, "grpc_port": 0}, None, {})
    one = _core.Server(settings.core())
    one.start()
    one.set_ready(True)
    yield one
    one.stop()


@pytest.mark.parametrize("timeout", [None, 0.2], ids=["cancelled", "its deadline passed"])
def test_the_core_says_when_a_call_waits_no_more(
    server: _core.Server, timeout: float | None
) -> None:
    with grpc.insecure_channel("{}:{}".format(*server.grpc_address)) as channel:
        asked = channel.unary_unary(RELOAD).future(b"", timeout)
        call = server.next_call()
        assert call is not None
        watched = threading.Event()
        left_calls.watch(call.is_awaited, watched.set)
        if timeout is None:
            assert not watched.is_set()
            asked.cancel()
        assert watched.wait(20)
        assert not call.respond(b"")
