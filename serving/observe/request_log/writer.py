"""Writes sampled requests down.

It may lose requests, and counts them; it never keeps one waiting: what it is too slow for is
dropped by the core's bounded buffer (fault 100).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from serving.events import log
from serving.models.views import Changes, VersionView
from serving.observe import families
from serving.observe.prometheus import Exposition
from serving.observe.request_log.folder import Folder, TooLargeError, words
from serving.observe.request_log.forms import Form
from serving.observe.request_log.rates import Rates
from serving.settings import RequestLogSettings

if TYPE_CHECKING:
    from serving import _core

# Between two attempts to write where writing failed.
_RETRY_S = 5.0


@dataclass(frozen=True, slots=True)
class Figures:
    """Requests written and dropped (by reason) since the start; bytes of all files now."""

    written: int
    dropped: Mapping[str, int]
    bytes: int


class RequestLog:
    """A subscriber of samples that writes them into the folder of the settings, which must name
    one.

    ``form``: as ``forms.form_of`` made it. ``counters``: the server's, for the samples that never
    came here.
    """

    keeps_anomalies = True

    def __init__(
        self,
        counters: Callable[[], Mapping[str, int]],
        settings: RequestLogSettings,
        form: Form,
        *,
        retry_s: float = _RETRY_S,
        mono: Callable[[], float] = time.monotonic,
    ) -> None:
        if settings.path is None:
            raise AssertionError("the request log is off")
        self._counters, self._form = counters, form
        self._retry_s, self._mono = retry_s, mono
        self._rates = Rates(settings.rate, settings.redact)
        self._folder = Folder(
            settings.path,
            form,
            max_file_bytes=settings.max_file_bytes,
            max_bytes=settings.max_bytes,
        )
        self._written = 0
        self._dropped = dict.fromkeys(("write", "error", "too_large"), 0)
        self._failing = False
        self._next_try = 0.0

    def watch(self, changed: Changes) -> None:
        self._rates.watch(changed)

    def rate(self, version: VersionView) -> float:
        return self._rates.rate(version)

    def figures(self) -> Figures:
        """From any thread."""
        counters = self._counters()
        dropped = {
            "buffer": int(counters.get("samples_dropped", 0)),
            **self._dropped,
        }
        dropped["too_large"] += int(counters.get("samples_too_large", 0))
        return Figures(self._written, dropped, self._folder.held_bytes)

    # Everything below runs in the hub's thread.

    def begin(self) -> None:
        self._guarded(self._folder.open)

    def end(self) -> None:
        """The file gets its name."""
        self._guarded(self._folder.close)

    def keep(self, samples: Sequence[_core.Sample]) -> None:
        """Write them, or count them as dropped; never raises."""
        left = len(samples)
        try:
            if not samples or self._waits():
                self._drop("write", left)
                return
            shown = [self._rates.shown(sample.model, sample.version) for sample in samples]
            for piece, count in self._form.pieces(samples, shown, self._folder.room):
                left -= count
                if self._append(piece, count):
                    continue
                self._drop("write", left)
                return
        except Exception:  # noqa: BLE001 - a bug in here must not end the log, nor anything else
            self._drop("error", left)
            if not self._failing:
                log.exception("request_log_failed")
            self._fail()

    def _append(self, piece: bytes, count: int) -> bool:
        """False where writing failed, so that the rest need not be tried."""
        try:
            self._folder.append(piece)
        except TooLargeError:
            self._drop("too_large", count)
            return True
        except OSError as error:
            self._drop("write", count)
            self._say(error)
            return False
        self._written += count
        if self._failing:
            self._failing = False
            log.info("request_log_written_again", dropped=self._dropped["write"])
        return True

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except OSError as error:
            self._say(error)

    def _waits(self) -> bool:
        return self._failing and self._mono() < self._next_try

    def _say(self, error: OSError) -> None:
        """Once, until it works again."""
        if not self._failing:
            log.warning(
                "request_log_not_written",
                path=str(self._folder.path),
                reason=words(error),
                effect="sampled requests are dropped and counted; serving goes on",
            )
        self._fail()

    def _fail(self) -> None:
        self._failing = True
        self._next_try = self._mono() + self._retry_s

    def _drop(self, reason: str, count: int) -> None:
        self._dropped[reason] += count


def add_metrics(exposition: Exposition, request_log: RequestLog) -> None:
    """Counted since the start; the reasons are all there from then on."""
    add = exposition.add
    add(families.REQUEST_LOG_WRITTEN, lambda: [({}, request_log.figures().written)])
    add(
        families.REQUEST_LOG_DROPPED,
        lambda: [({"reason": reason}, n) for reason, n in request_log.figures().dropped.items()],
    )
    add(families.REQUEST_LOG_BYTES, lambda: [({}, request_log.figures().bytes)])
