"""A source that is asked over a network, in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pytest

from serving.registry.remote.polled import Looked, PolledSource
from serving.registry.snapshot import FoundModel, Snapshot
from tests.clients.gateway import wait_until

HOUR = 3600.0


class Far:
    """What is asked: each look waits until it may end."""

    def __init__(self) -> None:
        self.snapshot = Snapshot((FoundModel("m", Path("/m")),))
        self.asked: list[set[str]] = []
        self.goes = threading.Event()
        self.goes.set()
        self.error: Exception | None = None

    def __call__(self, at_once: Collection[str]) -> Looked:
        self.asked.append(set(at_once))
        assert self.goes.wait(20)
        if self.error is not None:
            raise self.error
        return Looked(Snapshot(self.snapshot.models), HOUR)


def answered(source: PolledSource, at_once: Collection[str | tuple[str, int]]) -> Snapshot:
    """What a scan says once it says ``pending`` of none of these."""
    scanned = source.scan(at_once=at_once)
    while scanned.pending:
        time.sleep(0.005)
        scanned = source.scan()
    return scanned


@pytest.fixture
def started() -> Iterator[Callable[[Far, float], PolledSource]]:
    sources: list[PolledSource] = []

    def start(far: Far, patience_s: float = 20.0) -> PolledSource:
        one = PolledSource(Path("far"), far, patience_s)
        sources.append(one)
        one.start()
        return one

    yield start
    for one in sources:
        one.stop()


def test_a_scan_gets_what_was_last_found_and_waits_for_no_look(started) -> None:
    far = Far()
    source = started(far)
    first = source.scan()
    assert [one.name for one in first.models] == ["m"]
    far.goes.clear()
    source.hint()
    wait_until(lambda: len(far.asked) == 2, 20, "it is asked again")
    assert source.scan() is first
    assert source.scan(at_once={"other"}) is first
    far.goes.set()


def test_the_first_scan_waits_for_a_look_and_a_stop_ends_that(started) -> None:
    far = Far()
    far.goes.clear()
    source = started(far)
    got: list[Snapshot] = []
    waiting = threading.Thread(target=lambda: got.append(source.scan()))
    waiting.start()
    wait_until(lambda: far.asked, 20, "it is asked")
    assert not got
    source.stop()
    waiting.join(20)
    assert got == [Snapshot()]
    far.goes.set()


def test_who_says_that_a_model_is_there_waits_for_a_look_that_began_since(started) -> None:
    far = Far()
    source = started(far)
    source.scan()
    far.snapshot = Snapshot((FoundModel("m", Path("/m"), layout="new"),))
    assert answered(source, {("m", 7)}).models[0].layout == "new"
    assert far.asked[-1] == {"m"}


def test_who_says_so_of_a_model_that_is_new_waits_where_such_may_be_there(started) -> None:
    for discovers in (False, True):
        far = Far()
        source = PolledSource(Path("far"), far, 20.0, discovers=discovers)
        source.start()
        source.scan()
        far.snapshot = Snapshot((FoundModel("new", Path("/new")),))
        names = [one.name for one in answered(source, {"new"}).models]
        source.stop()
        assert names == (["new"] if discovers else ["m"])


def test_while_the_first_look_lasts_what_was_kept_is_told(started) -> None:
    far = Far()
    far.goes.clear()
    kept = Snapshot((FoundModel("m", Path("/kept")),))
    source = PolledSource(Path("far"), far, 20.0, lambda: kept, first_s=0.05)
    source.start()
    assert source.scan() is kept
    assert source.scan(at_once={"m"}) is kept
    far.goes.set()
    wait_until(lambda: source.scan() is not kept, 20, "the look is told")
    assert source.scan().models[0].path == Path("/m")
    source.stop()


def test_nobody_waits_longer_than_the_patience(started) -> None:
    far = Far()
    source = started(far, 0.05)
    first = source.scan()
    far.goes.clear()
    scanned = source.scan(at_once={"m"})
    assert scanned.pending == {"m"}
    assert scanned.settles_in is not None
    assert 0 < scanned.settles_in <= 0.05
    assert answered(source, ()) is first
    far.goes.set()


def test_a_look_that_somebody_waits_for_holds_no_scan_and_its_end_is_told(started) -> None:
    far, news = Far(), threading.Event()
    source = started(far)
    first = source.scan()
    source.on_news = news.set
    far.goes.clear()
    # Of models that others have nothing is being asked here.
    assert source.scan(at_once={"m", "near"}).pending == {"m"}
    assert source.scan().models is first.models
    assert source.scan(at_once={"other"}).pending == {"m"}
    assert not news.is_set()
    far.goes.set()
    assert news.wait(20)
    assert source.scan() is first


def test_news_are_told_and_the_same_is_the_same_object(started) -> None:
    far, news = Far(), threading.Event()
    source = started(far)
    first = source.scan()
    source.on_news = news.set
    source.hint()
    wait_until(lambda: len(far.asked) == 2, 20, "it is asked")
    source.hint()
    wait_until(lambda: len(far.asked) == 3, 20, "it is asked again")
    assert source.scan() is first
    assert not news.is_set()
    far.snapshot = Snapshot()
    source.hint()
    assert news.wait(20)


def test_an_error_of_ours_keeps_what_was_found(started) -> None:
    far = Far()
    source = started(far)
    source.scan()
    far.error = RuntimeError("a bug")
    broken = answered(source, {"m"})
    assert [one.name for one in broken.models] == ["m"]
    assert broken.errors[0].reason == "cannot be looked at (an internal error)"
