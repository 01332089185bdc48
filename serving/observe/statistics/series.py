"""The windows of one version: the open ones, and the last closed ones. Time is an argument."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from serving.observe.statistics.columns import Table
from serving.observe.statistics.damaged import DamagedError
from serving.observe.statistics.rollup import Lengths, Span
from serving.observe.statistics.window import Bounds, Closed, Open

# Of the document that outlives the process, before it is written (``StateDir`` takes 4 MiB).
_MOST_KEPT = 3 * 1024 * 1024


class Series:
    """A short window goes into the hour when it closes, an hour into the day: so each sample is
    counted once, and a window's sketches live no longer than they are added to."""

    def __init__(self, bounds: Bounds, lengths: Lengths) -> None:
        self._bounds, self._lengths = bounds, lengths
        # Features of whole numbers that count nothing: by what the outputs are, and by the schema.
        self.classes: frozenset[str] = frozenset()
        self.categorical: frozenset[str] = frozenset()
        # The longer ones hold what is closed of the shorter ones.
        self._open: dict[Span, Open] = {}
        self._closed: dict[Span, deque[Closed]] = {
            span: deque(maxlen=lengths.keep[span]) for span in Span
        }

    @property
    def live(self) -> Open | None:
        """The short window that goes on."""
        return self._open.get(Span.MINUTE)

    @property
    def nbytes(self) -> int:
        closed = sum(one.nbytes for kept in self._closed.values() for one in kept)
        return closed + sum(one.nbytes for one in self._open.values())

    def add(
        self, inputs: Iterable[Table], outputs: Iterable[Table], samples: int, now: float
    ) -> None:
        """``close_due`` is asked first, so that nothing falls into a window that is over."""
        live = self.live
        if live is None:
            start = self._lengths.start(Span.MINUTE, now)
            live = self._open[Span.MINUTE] = Open.new(start, self._bounds)
        live.add(inputs, outputs, samples)

    def close_due(self, now: float) -> list[Closed]:
        """The windows that are over, the shortest first; none of an empty one."""
        found: list[Closed] = []
        for span, longer in ((Span.MINUTE, Span.HOUR), (Span.HOUR, Span.DAY), (Span.DAY, None)):
            one = self._open.get(span)
            if one is not None and self._lengths.end(span, one.start) <= now:
                found += self._close(span, longer)
        return found

    def close_live(self) -> list[Closed]:
        """The short window, before its time: the process ends."""
        return self._close(Span.MINUTE, Span.HOUR) if self.live is not None else []

    def _close(self, span: Span, longer: Span | None) -> list[Closed]:
        one = self._open.pop(span)
        closed = one.closed(span, self._lengths.end(span, one.start), self._of_values)
        self._closed[span].append(closed)
        return [*(self._into(longer, one) if longer is not None else ()), closed]

    def _into(self, span: Span, one: Open) -> list[Closed]:
        """Merge a closed window into the longer one that it is in; the one before that closes."""
        start = self._lengths.start(span, one.start)
        there = self._open.get(span)
        ended: list[Closed] = []
        if there is not None and (there.start != start or not there.goes_with(one)):
            ended = self._close(span, Span.DAY if span is Span.HOUR else None)
            there = None
        if there is None:
            one.start = start
            self._open[span] = one
        else:
            there.merge(one)
        return ended

    @property
    def _of_values(self) -> frozenset[str]:
        return self.classes | self.categorical

    def closed(self, span: Span) -> tuple[Closed, ...]:
        """Oldest first."""
        return tuple(self._closed[span])

    def message(self, span: Span | None, at: float | None) -> tuple[Any, float, float, int] | None:
        """What is known of a window, when it began and ends, and its samples. ``span`` None: the
        short one that goes on, or the last with anything in it. ``at`` None: of short ones the last
        that closed, of hours and days the one that goes on, with what is closed of it, or else the
        last. None where there is none.

        Raises DamagedError.
        """
        if span is None and self.live is not None:
            return self._told(self.live, Span.MINUTE)
        span = span or Span.MINUTE
        closed = self._closed[span]
        if at is not None:
            found = next((one for one in closed if one.start <= at < one.end), None)
            if found is not None:
                return found.message(), found.start, found.end, found.samples
        going = self._going(span)
        if going is not None and (at is None or self._lengths.start(span, at) == going.start):
            return self._told(going, span)
        if at is None and closed:
            last = closed[-1]
            return last.message(), last.start, last.end, last.samples
        return None

    def _told(self, one: Open, span: Span) -> tuple[Any, float, float, int]:
        end = self._lengths.end(span, one.start)
        return one.message(self._of_values), one.start, end, one.samples

    def _going(self, span: Span) -> Open | None:
        """An hour or a day with what is closed of it: a copy where that takes two together."""
        if span is Span.MINUTE:
            return None
        hour, day = self._open.get(Span.HOUR), self._open.get(Span.DAY)
        if span is Span.HOUR or hour is None:
            return self._open.get(span)
        start = self._lengths.start(Span.DAY, hour.start)
        together = Open.new(start, self._bounds)
        if day is not None and day.start == start and day.goes_with(hour):
            together.merge(day)
        together.merge(hour)
        return together

    def to_json(self) -> dict[str, Any]:
        """What is to outlive the process, without the short window that goes on. Where it is too
        much, the oldest short windows stay out, then hours and days."""
        going = {str(s): o.to_json() for s, o in self._open.items() if s is not Span.MINUTE}
        room = _MOST_KEPT - sum(len(text) for one in going.values() for text in _texts(one))
        closed: list[list[Any]] = []
        for span in (Span.DAY, Span.HOUR, Span.MINUTE):
            for one in reversed(self._closed[span]):
                told = one.to_json()
                room -= len(told[-1])
                if room < 0:
                    break
                closed.append(told)
        return {"open": going, "closed": closed[::-1]}

    def take(self, given: Any) -> None:
        """What ``to_json`` made. Raises DamagedError, and is as it was then."""
        if not isinstance(given, dict):
            raise DamagedError("it is no object")
        kept, going = given.get("closed"), given.get("open")
        if not isinstance(kept, list) or not isinstance(going, dict):
            raise DamagedError("it lacks its windows")
        closed = sorted((Closed.from_json(one) for one in kept), key=lambda one: one.start)
        spans = {Span.HOUR, Span.DAY}
        opened = {span: Open.from_json(going[span]) for span in spans if span in going}
        for one in closed:
            self._closed[one.span].append(one)
        self._open |= opened


def _texts(told: dict[str, Any]) -> list[str]:
    return [value for value in told.values() if isinstance(value, str)]
