"""One target's thread: sends what waits, and waits longer and longer while that fails."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from serving.backoff import wait_s
from serving.events import log
from serving.observe.errors import ExportError
from serving.observe.tracking.buffer import Buffer
from serving.observe.tracking.exporter import Exporter

_FIRST_WAIT_S = 1.0
_LONGEST_WAIT_S = 60.0
# Entries that are sent in one go.
_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """One target. Counters are windows, but ``failures``: attempts. Times are seconds since the
    epoch; ``error`` "" while it works."""

    name: str
    target: str
    sent: int
    dropped: int
    failures: int
    buffered: int
    buffered_bytes: int
    last_success: float | None
    last_failure: float | None
    error: str
    last_error: str


class Shipper:
    """``window_s``: how often windows come; a target is asked again at least every four."""

    def __init__(self, exporter: Exporter, buffer: Buffer, window_s: float) -> None:
        self._exporter = exporter
        self._buffer = buffer
        self._longest = min(_LONGEST_WAIT_S, 4 * window_s)
        self._wake = threading.Condition()
        self._news = False
        self._deadline: float | None = None
        self._sent = self._refused = self._failures = self._in_turn = 0
        self._last_success: float | None = None
        self._last_failure: float | None = None
        self._last_error = ""
        self._said_dropped = 0
        self._thread = threading.Thread(
            target=self._run, name=f"track-{exporter.name}", daemon=True
        )

    @property
    def exporter(self) -> Exporter:
        return self._exporter

    def start(self) -> None:
        self._thread.start()

    def offer(self, prepared: Sequence[dict[str, Any]]) -> None:
        """Take windows to be sent. Never waits for the target."""
        self._buffer.put(prepared)
        self._tell()

    def finish(self, deadline: float) -> None:
        """Ask it to end by ``deadline`` (of ``time.monotonic``): send what can be, keep the
        rest."""
        with self._wake:
            self._deadline = deadline
            self._wake.notify()

    def join(self) -> None:
        """Wait for the end. A target that hangs is left alone: what waits is brought to disk."""
        if self._thread.is_alive():
            self._thread.join(max(0.0, (self._deadline or 0.0) - time.monotonic()))
        if self._thread.is_alive():
            self._buffer.spill()

    def status(self) -> TargetStatus:
        return TargetStatus(
            name=self._exporter.name,
            target=self._exporter.target,
            sent=self._sent,
            dropped=self._buffer.dropped + self._refused,
            failures=self._failures,
            buffered=self._buffer.windows,
            buffered_bytes=self._buffer.bytes,
            last_success=self._last_success,
            last_failure=self._last_failure,
            error=self._last_error if self._in_turn else "",
            last_error=self._last_error,
        )

    def _tell(self) -> None:
        with self._wake:
            self._news = True
            self._wake.notify()

    def _run(self) -> None:
        again = time.monotonic() if self._buffer.windows else float("inf")
        while self._awaited(again):
            if self._in_turn and time.monotonic() < again:
                # Not yet: what came meanwhile goes to disk.
                self._buffer.spill()
                continue
            again = time.monotonic() + self._attempt()
        if self._time_left():
            self._attempt()
        self._buffer.spill()
        self._exporter.close()

    def _awaited(self, again: float) -> bool:
        """Wait for windows or for the time of the next attempt; False at the end."""
        with self._wake:
            while self._deadline is None and not self._news:
                left = again - time.monotonic()
                if left <= 0:
                    break
                self._wake.wait(min(left, 3600.0))
            self._news = False
            return self._deadline is None

    def _time_left(self) -> bool:
        return self._deadline is None or time.monotonic() < self._deadline

    def _attempt(self) -> float:
        """Send all there is; seconds until it should be tried again."""
        try:
            while self._buffer.windows and self._time_left():
                self._send_some()
            if not self._buffer.windows:
                self._exporter.settle()
        except ExportError as error:
            return self._failed(str(error))
        except Exception as error:  # noqa: BLE001 - a fault here must not end the thread
            log.error("tracking_fault", target=self._exporter.name, detail=repr(error))
            return self._failed("an internal error")
        self._worked()
        return float("inf")

    def _send_some(self) -> None:
        names, windows = self._buffer.first(_AT_ONCE)
        if not windows:
            return
        refused = self._exporter.send(windows)
        gone = self._buffer.sent(names)
        self._sent += max(0, gone - refused)
        self._refused += refused
        if refused:
            log.warning("tracking_refused", target=self._exporter.name, windows=refused)
        self._last_success = time.time()

    def _worked(self) -> None:
        if self._in_turn:
            log.info("tracking_recovered", target=self._exporter.name, attempts=self._in_turn)
        self._in_turn = 0

    def _failed(self, words: str) -> float:
        self._failures += 1
        self._in_turn += 1
        self._last_failure, self._last_error = time.time(), words
        self._buffer.spill()
        if self._in_turn == 1:
            log.warning(
                "tracking_failed",
                target=self._exporter.name,
                address=self._exporter.target,
                reason=words,
                effect="windows are kept and sent later",
            )
        dropped = self._buffer.dropped
        if dropped > self._said_dropped:
            log.warning(
                "tracking_dropped",
                target=self._exporter.name,
                windows=dropped - self._said_dropped,
            )
            self._said_dropped = dropped
        return wait_s(self._in_turn, _FIRST_WAIT_S, self._longest, random.random())
