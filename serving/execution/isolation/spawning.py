"""Processes of ours are started by one thread, which lives as long as this process.

The kernel ends a child when its parent ends (``child.serve``), and takes the thread that
started it for the parent: one that merely loaded a model ends long before.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

Result = TypeVar("Result")


class _Spawner:
    def __init__(self) -> None:
        self.pid = os.getpid()
        self._wanted: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="spawn", daemon=True).start()

    def do(self, start: Callable[[], Result]) -> Result:
        done: Future[Result] = Future()

        def attempt() -> None:
            try:
                done.set_result(start())
            except BaseException as error:  # noqa: BLE001 - raised where it is waited for
                done.set_exception(error)

        self._wanted.put(attempt)
        return done.result()

    def _run(self) -> None:
        while True:
            self._wanted.get()()


_lock = threading.Lock()
_spawner: _Spawner | None = None


def in_lasting_thread(start: Callable[[], Result]) -> Result:
    """What ``start`` returns or raises, done in the thread that starts all children."""
    return _lasting().do(start)


def _lasting() -> _Spawner:
    global _spawner  # noqa: PLW0603 - one for the process, made when first needed
    with _lock:
        # A fork takes no thread along.
        if _spawner is None or _spawner.pid != os.getpid():
            _spawner = _Spawner()
        return _spawner
