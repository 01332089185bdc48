"""A curve of one version: points of a bounded number, packed. Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from serving.observe.figures import EMPTY, Histogram
from serving.observe.windows import difference, quantile


@dataclass(frozen=True, slots=True)
class Span:
    """``step_s``: seconds that one point covers; ``kept``: so many of them."""

    name: str
    step_s: int
    kept: int


HOUR = Span("1h", 10, 360)
DAY = Span("1d", 120, 720)
SPANS = {span.name: span for span in (HOUR, DAY)}


class Point(NamedTuple):
    """What a version did in one step. Rates are a second's, latencies of whole requests in
    milliseconds, ``batch_rows`` the mean of the runs' rows; NaN where there was none of it.
    ``queue_requests`` were waiting at its end."""

    request_rate: float
    error_rate: float
    p50_ms: float
    p99_ms: float
    batch_rows: float
    queue_requests: float


# The step's number, then the point's fields in single precision.
_ROW = struct.Struct(f"<I{len(Point._fields)}f")
NOTHING = float("nan")
POINT_BYTES = _ROW.size


class Ring:
    """The last points of one span, by the number of their step (its time / ``step_s``), ascending.
    Steps without a point take no room. Appended by one thread; whoever reads holds the same
    lock."""

    __slots__ = ("_rows",)

    def __init__(self) -> None:
        self._rows = bytearray()

    @property
    def nbytes(self) -> int:
        return len(self._rows)

    @property
    def last(self) -> int:
        """The last point's step; -1 without one."""
        return int(_ROW.unpack_from(self._rows, len(self._rows) - _ROW.size)[0]) if self else -1

    @property
    def latest(self) -> Point:
        """Raises ValueError without one."""
        if not self:
            raise ValueError("the ring is empty")
        return Point(*_ROW.unpack_from(self._rows, len(self._rows) - _ROW.size)[1:])

    def __bool__(self) -> bool:
        return bool(self._rows)

    def add(self, step: int, point: Point, kept: int) -> None:
        """What lies ``kept`` steps back or more goes."""
        self._rows += _ROW.pack(step, *point)
        self.forget(step - kept)

    def forget(self, until: int) -> None:
        """Points of the step ``until`` and of those before it."""
        old = 0
        while old < len(self._rows) and _ROW.unpack_from(self._rows, old)[0] <= until:
            old += _ROW.size
        if old:
            del self._rows[:old]

    def points(self, after: int) -> Iterator[tuple[int, Point]]:
        """Those of steps behind ``after``, oldest first."""
        for step, *values in _ROW.iter_unpack(bytes(self._rows)):
            if step > after:
                yield step, Point(*values)


@dataclass(frozen=True, slots=True)
class Look:
    """A version's counters at one moment. ``total``: histogram of whole requests, seconds;
    ``rows``, ``runs``: of the model's runs."""

    requests: int
    errors: int
    total: Histogram
    rows: float
    runs: int


UNASKED = Look(0, 0, EMPTY, 0.0, 0)


def point(before: Look, now: Look, seconds: float, queue_requests: float) -> Point:
    """What happened between two looks, ``seconds`` apart. Counters that went back began in
    between."""
    if now.requests < before.requests or now.runs < before.runs:
        before = UNASKED
    observed = difference(before.total, now.total)
    runs = now.runs - before.runs
    return Point(
        request_rate=(now.requests - before.requests) / seconds,
        error_rate=max(0, now.errors - before.errors) / seconds,
        p50_ms=_milliseconds(observed, 0.5),
        p99_ms=_milliseconds(observed, 0.99),
        batch_rows=max(0.0, now.rows - before.rows) / runs if runs else NOTHING,
        queue_requests=queue_requests,
    )


def _milliseconds(observed: Histogram, share: float) -> float:
    return quantile(observed, share) * 1e3 if observed.count > 0 else NOTHING


def columns(points: Sequence[tuple[int, Point]], span: Span) -> dict[str, list[float | None]]:
    """``at`` (seconds since the epoch, the end of each step) and a list for each field; None where
    there is no value. Rounded to what a float of single precision holds."""
    found: dict[str, list[float | None]] = {
        "at": [float((step + 1) * span.step_s) for step, _ in points]
    }
    for place, name in enumerate(Point._fields):
        found[name] = [plain(one[place]) for _, one in points]
    return found


def plain(value: float) -> float | None:
    """For JSON; None for NaN."""
    return None if value != value else float(f"{value:.6g}")
