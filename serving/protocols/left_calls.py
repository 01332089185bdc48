"""Calls whose answer takes long, and whose clients may leave before it.

The core says when the client of some call has left, or its deadline has passed. Then one thread
looks at the calls that are watched, and tells those who answer the ones that nobody waits for.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from functools import partial

from serving import _core
from serving.events import log


class LeftCalls:
    """Its thread starts with the first call that is watched, and sleeps while nobody leaves. Safe
    from any thread; ``wait`` returns when some client has left since the last time."""

    def __init__(self, wait: Callable[[], None] = _core.wait_for_left_calls) -> None:
        self._wait = wait
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._watched: dict[int, tuple[Callable[[], bool], Callable[[], None]]] = {}
        self._thread: threading.Thread | None = None

    def watch(
        self, is_awaited: Callable[[], bool], on_left: Callable[[], None]
    ) -> Callable[[], None]:
        """Call ``on_left`` once nobody waits: at once where that is so already, else from the
        thread that looks. What is given back ends that."""
        with self._lock:
            number = next(self._numbers)
            self._watched[number] = is_awaited, on_left
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="left calls", daemon=True)
                self._thread.start()
        # It may have left before.
        self._look_at(number)
        return partial(self._forget, number)

    def look(self) -> None:
        """Tell of those that nobody waits for now."""
        with self._lock:
            numbers = list(self._watched)
        for number in numbers:
            self._look_at(number)

    def _forget(self, number: int) -> None:
        with self._lock:
            self._watched.pop(number, None)

    def _run(self) -> None:
        while True:
            self._wait()
            self.look()

    def _look_at(self, number: int) -> None:
        with self._lock:
            found = self._watched.get(number)
        if found is None:
            return
        is_awaited, on_left = found
        if is_awaited():
            return
        self._forget(number)
        try:
            on_left()
        except Exception:  # noqa: BLE001 - one call's trouble; the thread watches others, too
            log.exception("left_call_not_ended")


left_calls = LeftCalls()
