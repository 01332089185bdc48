"""Makes windows of samples, closes them and checks what they show: the work of one thread."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from serving.delivery.features import Pair, Step
from serving.events import log
from serving.observe.figures import Key
from serving.observe.statistics.alarms import Anomaly
from serving.observe.statistics.book import Book, Page
from serving.observe.statistics.checks import Beside, check
from serving.observe.statistics.columns import tables
from serving.observe.statistics.damaged import DamagedError
from serving.observe.statistics.known import Known
from serving.observe.statistics.labels import labels_of_words
from serving.observe.statistics.mailbox import Mailbox
from serving.observe.statistics.pending import Pending
from serving.observe.statistics.reference import baseline_of
from serving.observe.statistics.references import References
from serving.observe.statistics.rollout_steps import RolloutSteps, farthest
from serving.observe.statistics.rollup import Lengths, Span
from serving.observe.statistics.series import Series
from serving.observe.statistics.window import Bounds, Closed
from serving.observe.statistics.writers import Writers
from serving.rollout.features import Apart
from serving.settings.statistics import StatisticsSettings
from serving.state_dir import StateDir

if TYPE_CHECKING:
    from serving import _core

# Of a handful that is gathered for a moment.
_GATHERED = 512
# Of a version, that are counted at once; of all versions, that wait for it.
_ENOUGH = 64
_MOST_PENDING, _MOST_PENDING_BYTES = 4096, 16 * 1024 * 1024
# Until what is kept of versions that left is looked at again.
_SWEEP_S = 6 * 3600.0
_DAY_S = 86400.0
# Anomalies of one window that are told one by one.
_MOST_TOLD = 8
# Of the memory of all windows, what rollouts' steps may take beside.
_STEPS_PART = 1 / 8


@dataclass(frozen=True, slots=True)
class Made:
    """Samples that statistics are made of, and those that were left out, by reason; ``nbytes``: of
    all windows in memory, and of what they are held against."""

    samples: int
    left_out: Mapping[str, int]
    nbytes: int


class Collector:
    """``run`` is the thread's. ``clock``: seconds since the epoch; ``gather_s``: how long samples
    are gathered."""

    def __init__(
        self,
        settings: StatisticsSettings,
        state: StateDir,
        known: Known,
        mailbox: Mailbox,
        clock: Callable[[], float],
        gather_s: float,
    ) -> None:
        keep = {
            Span.MINUTE: settings.keep_windows,
            Span.HOUR: settings.keep_hours,
            Span.DAY: settings.keep_days,
        }
        self._lengths = Lengths(settings.window_s, keep)
        bounds = Bounds(settings.max_features, settings.max_window_bytes)
        series = partial(Series, bounds, self._lengths)
        self._book = Book(state, series, settings.memory_bytes, settings.keep_days * _DAY_S)
        most_bytes = settings.memory_bytes * _STEPS_PART
        self._steps = RolloutSteps(bounds, max(1, int(most_bytes / (2 * bounds.most_bytes))))
        self._known, self._mailbox = known, mailbox
        self._clock, self._gather_s = clock, gather_s
        self._samples = self._failed = 0
        self._swept = 0.0
        self._pending = Pending(_ENOUGH, _MOST_PENDING, _MOST_PENDING_BYTES)
        # When the window does that goes on.
        self._ends = self._lengths.end(Span.MINUTE, clock())
        # Of everything in the book; held for milliseconds.
        self._lock = threading.Lock()
        self._references = References(self._book, self._lock, known)

    # From any thread.

    def made(self) -> Made:
        left_out = {"memory": self._book.left_out, "error": self._failed}
        nbytes = self._book.nbytes + self._steps.nbytes
        return Made(self._samples + len(self._pending), left_out, nbytes)

    def read(self, key: Key, of: Callable[[Page], Any]) -> Any:
        """What ``of`` makes of what is known of a version; None where nothing is."""
        self._flush(key)
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
        return baseline_of(self._known.version(key))

    # Of rollouts' steps: see ``StepStatistics``.

    def follow(self, steps: Mapping[Pair, Step]) -> None:
        # What waits was asked before the step began.
        for pair in [pair for pair, step in steps.items() if self._steps.is_new(pair, step)]:
            self._flush_both(pair)
        with self._lock:
            self._steps.follow(steps)

    def counted(self, pair: Pair) -> tuple[int, int] | None:
        self._flush_both(pair)
        with self._lock:
            return self._steps.counted(pair)

    def farthest(self, pair: Pair, chance: float) -> Mapping[str, Apart]:
        keys = [(pair[0], version) for version in pair[1:]]
        of_values = [self._of_values(key) for key in keys]
        with self._lock:
            counted, messages = self._steps.counted(pair), self._steps.messages(pair, of_values)
        return farthest(*messages, *counted, chance) if counted and messages else {}

    def _of_values(self, key: Key) -> frozenset[str]:
        """Features of whole numbers that count nothing."""
        return self._known.features(key).classes | self._references.of(key).categorical

    def _flush_both(self, pair: Pair) -> None:
        for version in pair[1:]:
            self._flush((pair[0], version))

    # The thread's own.

    def run(self) -> None:
        """Until no more samples come; then everything is written down."""
        while not self._mailbox.ended:
            try:
                self.turn()
            except Exception:  # noqa: BLE001 - a bug in here must not end the statistics
                self._failed += 1
                log.exception("statistics_failed")
        self._last_turn()

    def turn(self) -> None:
        """Wait for samples, or for the end of a window, and do what is due."""
        now = self._clock()
        self._sweep(now)
        if self._mailbox.wait(self._until_due(now)):
            # Those that come while a window goes on are its own: not gathered beyond its end.
            began = self._clock()
            left = max(0.0, self._ends - began)
            self._take(self._mailbox.gather(_GATHERED, min(self._gather_s, left)), began)
        self._close_due(self._clock())

    def _last_turn(self) -> None:
        """Everything is written down before anything is checked: the process may not wait."""
        try:
            self._take(self._mailbox.gather(0, 0.0), self._clock())
            self._flush_all()
            with Writers() as disk:
                self._write_all(disk, self._clock())
        except Exception:  # noqa: BLE001 - the process ends all the same
            log.exception("statistics_failed")

    def _write_all(self, disk: Writers, now: float) -> None:
        closed = {}
        for key in list(self._book.pages):
            closed[key] = self._close(key, now, last=True)
            self._write(disk, key, now)
        # Not two of one version at once.
        disk.finish()
        for key in sorted(closed, key=self._has_base):
            if closed[key]:
                self._check(key, closed[key])
                self._write(disk, key, now)

    def _write(self, disk: Writers, key: Key, now: float) -> None:
        with self._lock:
            work = self._book.to_write(key, now)
        if work is not None:
            disk.write(work)

    def _until_due(self, now: float) -> float | None:
        """Seconds until the window ends; None: none goes on, and nothing is to be done until a
        sample comes."""
        if not self._book.pages and not len(self._pending):
            return None
        return max(0.0, self._ends - now)

    def _take(self, samples: Sequence[_core.Sample], began: float) -> None:
        """They wait for others of their version, until the window ends at the latest. ``began``:
        when they were first gathered (seconds since the epoch)."""
        self._close_due(began)
        with self._lock:
            due = self._pending.add(samples)
        for key in due:
            self._flush(key)

    def _flush(self, key: Key) -> None:
        """Count what waits of a version. From any thread."""
        with self._lock:
            samples = self._pending.take(key)
        try:
            self._add(key, samples)
        except Exception:  # noqa: BLE001 - one version's tensors keep those of others from nothing
            self._failed += len(samples)
            log.exception("statistics_not_made", model=key[0], version=key[1])

    def _add(self, key: Key, samples: Sequence[_core.Sample]) -> None:
        features = self._known.features(key)
        inputs = list(tables(features.inputs, (sample.inputs for sample in samples)))
        outputs = list(tables(features.outputs, (sample.outputs for sample in samples)))
        if not inputs and not outputs:
            return
        with self._lock:
            self._steps.add(key, inputs, outputs, len(samples))
            # In the window in which they came, if it is over by now.
            at = min(self._clock(), math.nextafter(self._ends, 0.0))
            page = self._book.page(key, at, len(samples))
            if page is not None:
                page.series.classes = features.classes
                page.series.add(inputs, outputs, len(samples), at)
                self._book.recount(page)
                self._samples += len(samples)

    def _flush_all(self) -> None:
        for key in self._pending.versions():
            self._flush(key)

    def _close_due(self, now: float) -> None:
        """Once the window is over what waits is counted, and it is closed and checked."""
        if now < self._ends:
            return
        self._flush_all()
        self._ends = self._lengths.end(Span.MINUTE, now)
        # One by one: who reads waits for one of them at most. Whom others are compared with is
        # closed before them.
        for key in sorted(self._book.pages, key=self._has_base):
            self._check(key, self._close(key, now))
            with self._lock:
                self._book.tidy(key, now)
        self._known.forget_gone()
        with self._lock:
            self._book.drop_references()

    def _has_base(self, key: Key) -> bool:
        return any(self._known.bases(key))

    def _close(self, key: Key, now: float, *, last: bool = False) -> Sequence[Closed]:
        with self._lock:
            page = self._book.pages.get(key)
            if page is None:
                return ()
            closed = page.series.close_due(now)
            if last:
                closed += page.series.close_live()
            if closed:
                self._book.recount(page)
            return closed

    def _check(self, key: Key, closed: Sequence[Closed]) -> None:
        for window in closed:
            try:
                self._check_one(key, window)
            except Exception:  # noqa: BLE001 - the statistics themselves are there
                log.exception("statistics_not_checked", model=key[0], version=key[1])

    def _check_one(self, key: Key, window: Closed) -> None:
        version, page = self._known.version(key), self._book.pages.get(key)
        if version is None or page is None:
            return
        reference = self._references.of(key).reference()
        page.series.categorical = reference.categorical
        previous = self._before(page, window)
        base = next((self._beside(one, window) for one in self._known.bases(key)), None)
        message = window.message()
        labels = labels_of_words(self._known, key, message, reference.baseline, previous, base)
        beside = Beside(previous, base)
        shown = check(message, window.span, window.end, reference, beside, labels)
        with self._lock:
            new, over = page.alarms.note(window.span, shown.anomalies)
            page.changed |= bool(shown.anomalies or over)
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
