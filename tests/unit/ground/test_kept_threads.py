"""Threads that stay a while for the next work."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

import pytest

from serving.kept_threads import KeptThreads
from tests.clients.gateway import wait_until


class Works:
    """Works that say which thread runs them, and go on until told."""

    def __init__(self, threads: KeptThreads) -> None:
        self._threads = threads
        self.idents: list[int] = []
        self.names: list[str] = []

    def begin(self, name: str) -> Callable[[], None]:
        """Returns what ends it."""
        begun, ended = threading.Event(), threading.Event()

        def work() -> None:
            self.idents.append(threading.get_ident())
            self.names.append(threading.current_thread().name)
            begun.set()
            ended.wait(10)

        self._threads.spawn(name, work)
        assert begun.wait(10)
        return ended.set


def at_rest(threads: KeptThreads, count: int) -> None:
    wait_until(lambda: len(threads._resting) == count, 10, f"{count} threads are at rest")


def test_the_next_work_has_the_same_thread_by_its_own_name() -> None:
    threads = KeptThreads(idle_s=60)
    works = Works(threads)
    for name in ("one", "two", "three"):
        works.begin(name)()
        at_rest(threads, 1)
    assert len(set(works.idents)) == 1
    assert works.names == ["one", "two", "three"]


def test_works_at_the_same_time_share_no_thread() -> None:
    threads = KeptThreads(idle_s=60)
    works = Works(threads)
    ends = [works.begin(str(number)) for number in range(3)]
    assert len(set(works.idents)) == 3
    for end in ends:
        end()
    at_rest(threads, 3)


def test_a_thread_at_rest_ends_and_the_next_work_has_another() -> None:
    threads = KeptThreads(idle_s=0.01)
    works = Works(threads)
    works.begin("one")()
    wait_until(lambda: "one" not in {t.name for t in threading.enumerate()}, 10, "it has ended")
    assert threads._resting == []
    works.begin("two")()
    assert works.names == ["one", "two"]


def test_every_thread_begins_once_and_nothing_given_is_kept_by_one_at_rest() -> None:
    begun: list[int] = []
    threads = KeptThreads(begin=lambda: begun.append(threading.get_ident()), idle_s=60)
    works = Works(threads)
    for _ in range(3):
        works.begin("work")()
        at_rest(threads, 1)
    assert begun == [works.idents[0]]


def test_work_is_never_lost_between_the_end_of_a_rest_and_the_next_work() -> None:
    threads = KeptThreads(idle_s=0.0)
    done: list[int] = []
    for number in range(300):
        threads.spawn("work", partial(done.append, number))
    wait_until(lambda: len(done) == 300, 10, "all are done")
    assert sorted(done) == list(range(300))


def test_where_no_thread_can_be_had_the_caller_hears_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="start new thread"):
        KeptThreads().spawn("work", lambda: None)
