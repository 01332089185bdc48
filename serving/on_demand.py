"""Work that signals ask for, in a thread of its own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import suppress

from serving.events import log


class OnDemand:
    """Does ``work`` once for all that ``ask`` while nothing is done, and once more for those
    that ask meanwhile."""

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self._work = work
        # Its ``put`` may interrupt itself, as a signal's handler does.
        self._asked: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ask(self) -> None:
        """Safe in a handler of a signal, and from any thread."""
        self._asked.put(None)

    def _run(self) -> None:
        while True:
            self._asked.get()
            with suppress(queue.Empty):
                while True:
                    self._asked.get_nowait()
            try:
                self._work()
            except Exception:  # noqa: BLE001 - the next one may go better
                log.exception("work_failed", name=self._thread.name)
