"""A bounded line with a thread of its own, for calls that take long: others pass them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from serving.errors import ErrorCode, ServingError

if TYPE_CHECKING:
    from serving import _core

# Their bodies count in the budget while they wait.
MOST_CALLS = 64


class SideLine:
    """``answer`` is called for one call after the other; nothing may escape from it."""

    def __init__(self, name: str, answer: Callable[[_core.Call], None]) -> None:
        self._answer = answer
        self._line: queue.Queue[_core.Call | None] = queue.Queue(MOST_CALLS)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def push(self, call: _core.Call) -> None:
        """Raises ServingError, FULL."""
        try:
            self._line.put_nowait(call)
        except queue.Full:
            words = f"{MOST_CALLS} tables are waiting, try again later"
            raise ServingError(ErrorCode.FULL, words) from None

    @property
    def waiting(self) -> int:
        return self._line.qsize()

    def stop(self, timeout_s: float) -> None:
        """Those in line are failed; the one that is being answered may end."""
        self._stopping.set()
        self._fail_all()
        with suppress(queue.Full):  # before each it looks whether it is to stop
            self._line.put_nowait(None)
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _fail_all(self) -> None:
        with suppress(queue.Empty):
            while True:
                call = self._line.get_nowait()
                if call is not None:
                    call.fail(ErrorCode.UNAVAILABLE, "the server is stopping")

    def _run(self) -> None:
        while (call := self._line.get()) is not None:
            # Nobody waits any more for one whose deadline has passed in line.
            if self._stopping.is_set():
                call.fail(ErrorCode.UNAVAILABLE, "the server is stopping")
            elif call.is_awaited():
                self._answer(call)
            del call
