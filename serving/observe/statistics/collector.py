"""Makes statistics of sampled requests, in a thread of its own that gives way to what serves."""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from serving.events import log
from serving.loading.low_priority import run_low_priority
from serving.models.views import Changes, VersionView
from serving.observe.figures import Key
from serving.observe.statistics.alarms import Anomaly
from serving.observe.statistics.book import Book, Page
from serving.observe.statistics.checks import Beside, check
from serving.observe.statistics.columns import tables
from serving.observe.statistics.known import Known
from serving.observe.statistics.mailbox import Mailbox
from serving.observe.statistics.reference import References
from serving.observe.statistics.rollup import Lengths, Span
from serving.observe.statistics.series import Series
from serving.observe.statistics.window import Bounds, Closed, DamagedError
from serving.settings import Settings
from serving.state_dir import StateDir

if TYPE_CHECKING:
    from serving import _core

# Samples that wait, and bytes of their tensors.
_MOST_WAITING, _MOST_WAITING_BYTES = 4096, 64 * 1024 * 1024
# Samples are gathered for so long, or until there are so many: an array of many rows costs hardly
# more than one of one.
_GATHER_S, _GATHERED = 1.0, 512
# Until what is kept of versions that left is looked at again.
_SWEEP_S = 6 * 3600.0
_DAY_S = 86400.0
# Anomalies of one window that are told one by one.
_MOST_TOLD = 8


@dataclass(frozen=True, slots=True)
class Figures:
    """Samples since the start: that statistics were made of, and dropped, by reason. ``nbytes``: of
    all windows in memory."""

    samples: int
    dropped: Mapping[str, int]
    nbytes: int


class Statistics:
    """A taker of samples. ``state``: where windows outlive the process; ``clock``: seconds since
    the epoch."""

    def __init__(
        self,
        settings: Settings,
        state: StateDir,
        *,
        clock: Callable[[], float] = time.time,
        gather_s: float = _GATHER_S,
    ) -> None:
        given = settings.statistics
        self._per_second = given.samples_per_second or math.inf
        keep = {
            Span.MINUTE: given.keep_windows,
            Span.HOUR: given.keep_hours,
            Span.DAY: given.keep_days,
        }
        self._lengths = Lengths(given.window_s, keep)
        bounds = Bounds(given.max_features, given.max_window_bytes)
        series = partial(Series, bounds, self._lengths)
        self._book = Book(state, series, given.memory_bytes, given.keep_days * _DAY_S)
        self._known = Known(settings.request_log.redact)
        self._references = References()
        self._mailbox = Mailbox(_MOST_WAITING, _MOST_WAITING_BYTES)
        self._clock, self._gather_s = clock, gather_s
        self._samples = self._failed = 0
        self._swept = 0.0
        # Of everything in the book; held for milliseconds.
        self._lock = threading.Lock()
        self._thread = threading.Thread(
            target=lambda: run_low_priority(self._run), name="statistics", daemon=True
        )

    # The hub's side: nothing here waits for the thread.

    def watch(self, changed: Changes) -> None:
        """See ``Taker``."""
        self._known.watch(changed)

    def per_second(self, version: VersionView) -> float:
        """See ``Paced``."""
        return self._per_second

    def begin(self) -> None:
        """See ``Taker``."""
        self._thread.start()

    def keep(self, samples: Sequence[_core.Sample]) -> None:
        """See ``Taker``."""
        if samples:
            self._mailbox.put(samples)

    def end(self, timeout: float = 5.0) -> None:
        """See ``Taker``: what waits is counted, and everything written down."""
        self._mailbox.end()
        if self._thread.ident is not None:
            self._thread.join(timeout)

    # From any thread.

    def figures(self) -> Figures:
        dropped = {
            "queue": self._mailbox.dropped,
            "memory": self._book.left_out,
            "error": self._failed,
        }
        return Figures(self._samples, dropped, self._book.nbytes)

    def read(self, key: Key, of: Callable[[Page], Any]) -> Any:
        """What ``of`` makes of what is known of a version; None where nothing is."""
        with self._lock:
            page = self._book.look(key)
            return None if page is None else of(page)

    def pages(self, of: Callable[[Key, Page], Any]) -> list[Any]:
        """What ``of`` makes of each version that is there, of those in memory."""
        with self._lock:
            here = [key for key in self._book.pages if self._known.version(key) is not None]
            return [of(key, self._book.pages[key]) for key in sorted(here)]

    def baseline(self, key: Key) -> Any:
        """``DatasetFeatureStatistics`` that the version came with; None without any."""
        version, features = self._known.version(key), self._known.features(key)
        return References().of(key, version, features).baseline

    def is_there(self, key: Key) -> bool:
        return self._known.version(key) is not None

    # The thread's own.

    def _run(self) -> None:
        while not self._mailbox.ended:
            try:
                self._turn()
            except Exception:  # noqa: BLE001 - a bug in here must not end the statistics
                self._failed += 1
                log.exception("statistics_failed")
        self._last_turn()

    def _turn(self) -> None:
        now = self._clock()
        self._sweep(now)
        if self._mailbox.wait(self._until_due(now)):
            samples = self._mailbox.gather(_GATHERED, self._gather_s)
            self._close_due(self._clock())
            self._count(samples)
        self._close_due(self._clock())

    def _last_turn(self) -> None:
        now = self._clock()
        try:
            self._close_due(now)
            self._count(self._mailbox.gather(0, 0.0))
            with self._lock:
                ended = [(key, page.series.close_live()) for key, page in self._book.pages.items()]
            self._check(ended)
            with self._lock:
                self._book.write_all(now)
        except Exception:  # noqa: BLE001 - the process ends all the same
            log.exception("statistics_failed")

    def _until_due(self, now: float) -> float | None:
        """Seconds until a window ends; None: none goes on, and nothing is to be done until a sample
        comes."""
        if not self._book.pages:
            return None
        return max(0.0, self._lengths.end(Span.MINUTE, now) - now)

    def _count(self, samples: Sequence[_core.Sample]) -> None:
        by_version: dict[Key, list[_core.Sample]] = defaultdict(list)
        for sample in samples:
            by_version[sample.model, sample.version].append(sample)
        for key, some in by_version.items():
            try:
                self._add(key, some)
            except Exception:  # noqa: BLE001 - one version's tensors keep those of others from nothing
                self._failed += len(some)
                log.exception("statistics_not_made", model=key[0], version=key[1])

    def _add(self, key: Key, samples: Sequence[_core.Sample]) -> None:
        features = self._known.features(key)
        inputs = list(tables(features.inputs, (sample.inputs for sample in samples)))
        outputs = list(tables(features.outputs, (sample.outputs for sample in samples)))
        if not inputs and not outputs:
            return
        now = self._clock()
        with self._lock:
            page = self._book.page(key, now, len(samples))
            if page is not None:
                page.series.classes = features.classes
                page.series.add(inputs, outputs, len(samples), now)
                self._book.recount(page)
                self._samples += len(samples)

    def _close_due(self, now: float) -> None:
        with self._lock:
            ended = [(key, page.series.close_due(now)) for key, page in self._book.pages.items()]
        if any(closed for _, closed in ended):
            self._check(ended)
            with self._lock:
                for key, closed in ended:
                    if closed:
                        self._book.recount(self._book.pages[key])
                self._book.tidy(now)
            self._known.forget_gone()
            self._references.keep(set(self._book.pages))

    def _check(self, ended: Sequence[tuple[Key, Sequence[Closed]]]) -> None:
        for key, closed in ended:
            for window in closed:
                try:
                    self._check_one(key, window)
                except Exception:  # noqa: BLE001 - the statistics themselves are there
                    log.exception("statistics_not_checked", model=key[0], version=key[1])

    def _check_one(self, key: Key, window: Closed) -> None:
        version = self._known.version(key)
        if version is None:
            return
        reference = self._references.of(key, version, self._known.features(key))
        page = self._book.pages[key]
        page.series.categorical = reference.categorical
        previous = self._before(page, window)
        base = next((self._beside(one, window) for one in self._known.bases(key)), None)
        message = window.message()
        shown = check(message, window.span, window.end, reference, Beside(previous, base))
        with self._lock:
            new, over = page.alarms.note(window.span, shown.anomalies)
            page.compared(shown.distances)
        _tell(key, new, over)

    def _before(self, page: Page, window: Closed) -> Any:
        """The window right before, as a message; None where that had no samples."""
        kept = page.series.closed(window.span)
        before = next((one for one in reversed(kept) if one.end == window.start), None)
        return _message(before)

    def _beside(self, key: Key, window: Closed) -> Any:
        """Another version's window of the same time."""
        page = self._book.pages.get(key)
        kept = page.series.closed(window.span) if page is not None else ()
        return _message(next((one for one in kept if one.start == window.start), None))

    def _sweep(self, now: float) -> None:
        if now - self._swept > _SWEEP_S:
            self._swept = now
            with self._lock:
                self._book.drop_old(now)


def _message(window: Closed | None) -> Any:
    try:
        return window.message() if window is not None else None
    except DamagedError:
        return None


def _tell(key: Key, new: Sequence[Anomaly], over: int) -> None:
    names = {"model": key[0], "version": key[1]}
    for one in new[:_MOST_TOLD]:
        log.warning(
            "feature_anomaly",
            **names,
            feature=one.feature,
            type=one.type,
            description=one.description,
            window=str(one.window),
        )
    if len(new) > _MOST_TOLD:
        log.warning("feature_anomalies_more", **names, count=len(new) - _MOST_TOLD)
    if over:
        log.info("feature_anomalies_over", **names, count=over)
