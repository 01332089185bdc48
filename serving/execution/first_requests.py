"""Threads for versions when they are asked first: those that nobody asks have none.

The core says which queues have got their first request. One thread hears it, and has started the
version's own a fraction of a millisecond later; from then on it has nothing to do with them.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from serving import _core
from serving.events import log

if TYPE_CHECKING:
    from serving._core import Queue

# Until threads that could not be had are tried for again; the requests wait in their queue.
_AGAIN_S = 0.5

_start: dict[int, Callable[[], None]] = {}
_numbers = itertools.count(1)


def on_first(queue: Queue, start: Callable[[], None]) -> int:
    """Have ``start`` called, in a thread of its own, once the queue has got a request; again for
    as long as it raises RuntimeError or MemoryError. What comes back ends that, see ``forget``."""
    _starter.begin()
    number = next(_numbers)
    _start[number] = start
    queue.announce_first(number)
    return number


def forget(number: int) -> None:
    """Nobody is to be started any more; who is being started just now is, all the same."""
    _start.pop(number, None)


def start(numbers: Iterable[int]) -> list[int]:
    """Start those; the numbers of those that could not be."""
    return [number for number in numbers if not _has_started(number)]


def _has_started(number: int) -> bool:
    begin = _start.get(number)
    if begin is None:
        return True
    try:
        begin()
    except (RuntimeError, MemoryError) as error:  # forgotten, its requests would wait for ever
        log.warning("threads_not_started", detail=str(error), again_s=_AGAIN_S)
        return False
    except Exception:  # noqa: BLE001 - one version's trouble; the thread starts others, too
        log.exception("threads_not_started")
    forget(number)
    return True


class _Starter:
    """One thread for all versions, asleep while no queue gets its first request."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Once; further calls do nothing."""
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="first requests", daemon=True)
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        late: list[int] = []
        while True:
            late = start([*late, *_core.wait_for_first_requests(_AGAIN_S if late else None)])


_starter = _Starter()
