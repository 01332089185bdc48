"""Memory for versions that are judged at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from serving.cancellation import Cancellation
from serving.errors import LoadError, Retry
from serving.gates.room import JudgingRoom
from serving.loading.loader import Loader
from serving.settings import Settings


class Ledger:
    def __init__(self, total: int) -> None:
        self.left = total

    @contextmanager
    def lend(self, size: int) -> Iterator[None]:
        if size > self.left:
            raise LoadError("no room", retry=Retry.LATER)
        self.left -= size
        try:
            yield
        finally:
            self.left += size


def test_one_without_room_waits_for_the_others_and_no_longer() -> None:
    ledger = Ledger(10)
    room = JudgingRoom(ledger.lend)
    entered = threading.Event()

    def second() -> None:
        with room.lent(6, Cancellation()):
            entered.set()

    with room.lent(6, Cancellation()):
        thread = threading.Thread(target=second)
        thread.start()
        assert not entered.wait(0.05)
    assert entered.wait(5)
    thread.join()
    assert ledger.left == 10


def test_with_nobody_in_its_way_or_called_off_it_is_told_at_once() -> None:
    room = JudgingRoom(Ledger(10).lend)
    with pytest.raises(LoadError), room.lent(11, Cancellation()):
        pass
    called_off = Cancellation()
    threading.Timer(0.05, called_off.cancel).start()
    with room.lent(6, Cancellation()), pytest.raises(LoadError), room.lent(6, called_off):
        pass


def test_what_a_loader_lends_comes_back() -> None:
    loader = Loader(Settings())
    for _ in range(3):
        with loader.lend(1000):
            assert loader.held_bytes == 1000
    assert loader.held_bytes == 0
    with pytest.raises(ValueError, match="odd"), loader.lend(1000):
        raise ValueError("odd")
    assert loader.held_bytes == 0
    loader.close()
