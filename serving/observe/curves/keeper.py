"""Looks at all versions' counters every few seconds, and keeps what became of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

import numpy as np

from serving import _core
from serving.events import log
from serving.observe.curves.memory import MemoryCurve, MemoryCurves
from serving.observe.curves.ring import DAY, HOUR, UNASKED, Look, Point, Ring, Span, point
from serving.observe.figures import Histogram, Key

_OK = _core.OUTCOMES.index("ok")
# Versions that went away of which is remembered how often they were asked.
_MOST_GONE = 10_000


class Figures(Protocol):
    """What is asked of ``_core.Server``."""

    def figures(self, select: Sequence[Key] | None = None) -> _core.Figures: ...


@dataclass(slots=True)
class _Kept:
    """Of one version. ``day_before``: as it stood when the day's step began that goes on; None
    while nothing happened in that."""

    look: Look
    hour: Ring = field(default_factory=Ring)
    day: Ring = field(default_factory=Ring)
    day_before: Look | None = None

    def ring(self, span: Span) -> Ring:
        return self.hour if span is HOUR else self.day


class Curves:
    """Curves of the ``most`` versions that were asked last; versions that nobody asks cost a
    comparison every ten seconds and no memory. Read from any thread.

    ``on_step`` is told after each look which versions did something in it, or took other memory
    than before. ``memory``: what they take, looked at with the rest; None: nobody does. ``mono``
    and ``wall`` are for tests.
    """

    def __init__(
        self,
        source: Figures,
        most: int,
        *,
        memory: MemoryCurves | None = None,
        mono: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._source, self._most, self._mono = source, most, mono
        self._memory = memory
        self.on_step: Callable[[Collection[Key]], None] = lambda _: None
        # A clock that is never set, on the epoch's seconds.
        self._epoch = wall() - mono()
        self._kept: dict[Key, _Kept] = {}
        # Requests of every version at the last look.
        self._seen: dict[Key, int] = {}
        self._looked = self._day_began = mono()
        self._step = self._step_now() - 1
        self._day = self._day_of(self._step + 1)
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="curves", daemon=True)

    def start(self) -> None:
        if self._most:
            self._thread.start()

    def stop(self, timeout: float = 3.0) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def now(self) -> dict[Key, Point]:
        """What each version did in the last step, of those that did something."""
        with self._lock:
            return {
                key: kept.hour.latest
                for key, kept in self._kept.items()
                if kept.hour.last == self._step
            }

    def of(self, model: str, span: Span) -> Mapping[int, list[tuple[int, Point]]]:
        """Version -> its points of that span, (step, point), oldest first."""
        first = self._first(span)
        with self._lock:
            found = {
                version: list(kept.ring(span).points(first - 1))
                for (name, version), kept in self._kept.items()
                if name == model
            }
        return {version: found[version] for version in sorted(found) if found[version]}

    def memory_of(self, model: str, span: Span) -> Mapping[int, MemoryCurve]:
        """Version -> what it took in that span, of those that took any."""
        return {} if self._memory is None else self._memory.of(model, span, self._first(span))

    def _first(self, span: Span) -> int:
        """The step that the span begins with."""
        return int((self._mono() + self._epoch) // span.step_s) - span.kept

    @property
    def nbytes(self) -> int:
        """Of all points."""
        with self._lock:
            return sum(one.hour.nbytes + one.day.nbytes for one in self._kept.values())

    def _step_now(self) -> int:
        return int((self._mono() + self._epoch) // HOUR.step_s)

    @staticmethod
    def _day_of(step: int) -> int:
        """The day's step that one of the hour's is part of."""
        return step * HOUR.step_s // DAY.step_s

    def _run(self) -> None:
        while not self._stopping.wait(self._due()):
            try:
                self.look()
            except Exception:  # noqa: BLE001 - the next look tries again
                log.exception("curves_failed")

    def _due(self) -> float:
        """Seconds to the end of the step that goes on."""
        return HOUR.step_s - (self._mono() + self._epoch) % HOUR.step_s + 0.01

    def look(self) -> None:
        """Close the step that has just ended; of several that ended, as when the machine slept,
        the last."""
        now, step = self._mono(), self._step_now() - 1
        if step <= self._step:
            return
        changed = self._changed()
        looks = looks_of(self._source.figures(list(changed))) if changed else {}
        with self._lock:
            for key in looks:
                self._note(key, *looks[key], step, now - self._looked, was=changed[key])
            self._step, self._looked = step, now
            day = self._day_of(step + 1) - 1
            closed = day if day >= self._day else None
            if closed is not None:
                self._close_day(closed, now)
        held = self._memory.look(step, closed) if self._memory is not None else set[Key]()
        self.on_step(looks.keys() | held)

    def _changed(self) -> dict[Key, int]:
        """Versions that were asked since the last look, and how often they had been until then. A
        version that went away may come back, and its counters go on."""
        figures = self._source.figures(None)
        totals = figures.outcomes.sum(axis=(1, 2)).tolist()
        seen, changed = self._seen, {}
        for key, total in zip(figures.versions, totals, strict=True):
            was = seen.get(key, 0)
            if key[1] and was != total:
                seen[key] = total
                changed[key] = was
        if len(seen) > len(totals) + _MOST_GONE:
            there = set(figures.versions)
            self._seen = {key: n for key, n in seen.items() if key in there or key in self._kept}
        return changed

    def _note(
        self, key: Key, look: Look, queue: float, step: int, seconds: float, *, was: int
    ) -> None:
        # The one that was asked last is last.
        kept = self._kept.pop(key, None)
        if kept is None and was:
            # Its curves made room for others': what happened before is in none of its steps.
            self._kept[key] = _Kept(look)
        else:
            kept = self._kept[key] = kept or _Kept(UNASKED)
            self._add(kept, look, queue, step, seconds)
        while len(self._kept) > self._most:
            del self._kept[next(iter(self._kept))]

    def _add(self, kept: _Kept, look: Look, queue: float, step: int, seconds: float) -> None:
        kept.hour.add(step, point(kept.look, look, seconds, queue), HOUR.kept)
        if kept.day_before is None:
            kept.day_before = kept.look
        kept.look = look

    def _close_day(self, step: int, now: float) -> None:
        seconds, oldest = now - self._day_began, []
        for key, kept in self._kept.items():
            if kept.day_before is not None:
                queue = kept.hour.latest.queue_requests if kept.hour else 0.0
                kept.day.add(step, point(kept.day_before, kept.look, seconds, queue), DAY.kept)
                kept.day_before = None
            elif 0 <= kept.day.last <= step - DAY.kept:
                oldest.append(key)
            kept.hour.forget(self._step - HOUR.kept)
        for key in oldest:
            del self._kept[key]
        self._day, self._day_began = step + 1, now


def looks_of(figures: _core.Figures) -> dict[Key, tuple[Look, float]]:
    """Of each version, and how many requests wait for it."""
    outcomes = figures.outcomes.sum(axis=1)
    requests, good = outcomes.sum(axis=1).tolist(), outcomes[:, _OK].tolist()
    kinds = figures.histograms
    total, batch = kinds["total"], kinds["batch"]
    bounds = _bounds(total.bounds.tobytes())
    counts, sums = _summed(total.counts), total.sums.sum(axis=1).tolist()
    rows, runs = batch.sums.sum(axis=1).tolist(), _summed(batch.counts)
    waiting = figures.counts["queue_requests"].tolist()
    return {
        key: (
            Look(
                requests[row],
                requests[row] - good[row],
                Histogram(bounds, tuple(counts[row]), sums[row]),
                rows[row],
                runs[row][-1],
            ),
            float(waiting[row]),
        )
        for row, key in enumerate(figures.versions)
    }


@lru_cache(maxsize=2)
def _bounds(packed: bytes) -> tuple[float, ...]:
    """The same tuple for all looks that are kept."""
    return tuple(np.frombuffer(packed, np.float64).tolist())


def _summed(counts: np.ndarray[tuple[int, ...], np.dtype[np.uint64]]) -> list[list[int]]:
    """A version's series together."""
    found: list[list[int]] = counts.sum(axis=1).tolist()
    return found
