"""Work that is called off: who looks sees it, who waits is woken once."""

from __future__ import annotations

import threading

from serving.cancellation import Cancellation


def test_it_is_cancelled_once_and_for_good() -> None:
    one, woken = Cancellation(), list[int]()
    assert not one()
    with one.waking(lambda: woken.append(1)):
        one.cancel()
        one.cancel()
    assert one()
    assert woken == [1]


def test_who_comes_late_is_woken_at_once() -> None:
    one, woken = Cancellation(), list[int]()
    one.cancel()
    with one.waking(lambda: woken.append(1)):
        assert woken == [1]


def test_who_has_gone_is_left_alone() -> None:
    one, woken = Cancellation(), list[int]()
    with one.waking(lambda: woken.append(1)), one.waking(lambda: woken.append(2)):
        pass
    one.cancel()
    assert woken == []


def test_a_wait_ends_when_another_thread_cancels() -> None:
    one, woken = Cancellation(), threading.Event()
    with one.waking(woken.set):
        threading.Timer(0.05, one.cancel).start()
        assert woken.wait(20)
