"""Threads that ask until they are told to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Self


class Asking:
    """While the block lasts. ``asks``: each in a thread of its own, to return soon once ``_stop``
    is set."""

    def __init__(self, *asks: Callable[[], None]) -> None:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=one) for one in asks]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
