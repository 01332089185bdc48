"""Memory for versions that are judged, lent before they are, so that those which are judged at once
wait for each other and take no more together than there is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from serving.cancellation import Cancellation
from serving.errors import LoadError

# So many bytes of the memory for models, for as long as it is entered. Raises LoadError.
Lend = Callable[[int], AbstractContextManager[object]]
# For others to end, where one has no room beside them (seconds); a verdict may take this long.
_WAIT_S = 600.0


class JudgingRoom:
    """Safe from any thread."""

    def __init__(self, lend: Lend, wait_s: float = _WAIT_S) -> None:
        self._lend, self._wait_s = lend, wait_s
        self._changed = threading.Condition()
        self._judged = 0

    @contextmanager
    def lent(self, size: int, called_off: Cancellation) -> Iterator[None]:
        """Raises LoadError where there is no room, and nobody else who is judged is in its way."""
        with called_off.waking(self._wake):
            loan = self._entered(size, called_off)
        try:
            yield
        finally:
            with self._changed:
                loan.close()
                self._judged -= 1
                self._changed.notify_all()

    def _entered(self, size: int, called_off: Cancellation) -> ExitStack:
        until = time.monotonic() + self._wait_s
        with self._changed:
            while True:
                loan = ExitStack()
                try:
                    loan.enter_context(self._lend(size))
                except LoadError:
                    left = until - time.monotonic()
                    if not self._judged or called_off() or left <= 0:
                        raise
                    self._changed.wait(left)
                else:
                    self._judged += 1
                    return loan

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
