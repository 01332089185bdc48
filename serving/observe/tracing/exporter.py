"""The thread that takes spans from the core and sends them away.

What waits is in the core's ring, bounded by ``tracing.buffer_spans``; here is only the
handful that is being sent. While a collector can't be reached the ring goes on, the oldest
spans leave it, and the core counts them.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from serving import _core
from serving.backoff import wait_s
from serving.events import log
from serving.observe.otlp import Sender, SendError

# Between two looks at what has been noted: how late a span may be in the collector.
PULL_S = 1.0
# Spans of one export request, about.
AT_ONCE = 512
# For a collector's answer.
TIMEOUT_S = 2.0
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0
# Of the same handful; then it is given up, for the fault may be its own.
TRIES = 8


class SpanSource(Protocol):
    """What the exporter needs of ``_core.Server``."""

    def spans(self, timeout: float) -> list[_core.Span] | None: ...


class Converter(Protocol):
    def request(self, spans: Sequence[_core.Span]) -> bytes: ...


@dataclass(frozen=True, slots=True)
class TraceStatus:
    """Counters of spans that came this far; times in seconds since the epoch; ``error`` "" while
    all is well."""

    target: str
    exported: int
    dropped: int
    last_success: float | None
    error: str


class TraceExport:
    """``target``: where it sends to, for people. ``timeout_s``: for a collector's answer."""

    def __init__(
        self,
        source: SpanSource,
        convert: Converter,
        sender: Sender,
        target: str,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._source = source
        self._convert = convert
        self._sender = sender
        self._target = target
        self._timeout_s = timeout_s
        self._exported = 0
        self._dropped = 0
        self._last_success: float | None = None
        self._error = ""
        self._failed = 0
        self._ending = threading.Event()
        self._deadline = float("inf")
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float = 3.0) -> None:
        """Send what is left for at most so long; the server must have been stopped."""
        self._deadline = time.monotonic() + timeout
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    @property
    def exported(self) -> int:
        """Spans that the collector took."""
        return self._exported

    @property
    def dropped(self) -> int:
        """Spans that it did not take; those that the core's ring lost are the core's to count."""
        return self._dropped

    def status(self) -> TraceStatus:
        return TraceStatus(
            self._target, self._exported, self._dropped, self._last_success, self._error
        )

    def _run(self) -> None:
        while (spans := self._gathered()) is not None:
            if spans:
                self._deliver(spans)
        self._sender.close()

    def _gathered(self) -> list[_core.Span] | None:
        """What comes within ``PULL_S``, at most about ``AT_ONCE``; None at the end."""
        gathered: list[_core.Span] = []
        until = time.monotonic() + PULL_S
        while len(gathered) < AT_ONCE and (left := until - time.monotonic()) > 0:
            more = self._source.spans(left)
            if more is None:
                return gathered or None
            gathered += more
        return gathered

    def _deliver(self, spans: list[_core.Span]) -> None:
        try:
            request = self._convert.request(spans)
            refused = self._send(request)
        except SendError as error:
            self._drop(len(spans), str(error))
        except Exception as error:  # noqa: BLE001 - traces may be lost, their thread may not
            log.exception("traces_failed")
            self._drop(len(spans), type(error).__name__)
        else:
            self._exported += len(spans) - refused
            self._dropped += refused
            self._succeeded()

    def _send(self, request: bytes) -> int:
        """How many spans were refused. Raises SendError where none was taken."""
        for _ in range(TRIES - 1):
            try:
                return self._try(request)
            except SendError as error:
                if not error.passing:
                    raise
                self._say_failed(str(error))
                self._failed += 1
                wait = wait_s(self._failed, _FIRST_WAIT_S, _LONGEST_WAIT_S, random.random())
                wait = max(wait, error.retry_after_s)
                if self._ending.wait(min(wait, _LONGEST_WAIT_S)):
                    break
        return self._try(request)

    def _try(self, request: bytes) -> int:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise SendError("the gateway stopped", passing=False)
        return self._sender.send(request, min(self._timeout_s, left))

    def _succeeded(self) -> None:
        self._failed = 0
        self._last_success = time.time()
        if self._error:
            log.info("traces_sent_again", target=self._target)
            self._error = ""

    def _drop(self, count: int, words: str) -> None:
        self._dropped += count
        self._say_failed(words)

    def _say_failed(self, words: str) -> None:
        """Once an outage: each failed try says nothing new."""
        if not self._error:
            log.warning("traces_not_sent", target=self._target, reason=words)
        self._error = words
