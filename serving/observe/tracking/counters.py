"""The core's counters of each version, read out of its exposition.

What Prometheus is told and what the windows say come from the same text, so they can't differ.
A text of 100 versions has some 16,000 lines. It is read in small steps, so that no other thread
waits for the interpreter's lock, and a histogram whose count is what it was is not read again.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

# (model, version)
Key = tuple[str, int]

_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(r"\\(.)")
_BOUND = re.compile(rb'le="([^"]+)"')
_SAMPLE = re.compile(rb"^[^{\n]+\{(.*)\} (\S+)$", re.MULTILINE)
_VALUE = re.compile(rb"\} (\S+)$", re.MULTILINE)
# Histograms that are remembered.
_MOST = 100_000
_OUTCOMES = b"serving_request_total"
_TIMES = {
    "total": b"serving_request_duration_seconds",
    "queue": b"serving_queue_duration_seconds",
    "compute": b"serving_compute_duration_seconds",
    "batch": b"serving_batch_size",
}
_SIMPLE = {
    "rows": b"serving_inference_total",
    "runs": b"serving_execution_total",
    "runs_failed": b"serving_execution_failed_total",
    "expired": b"serving_dropped_expired_total",
    "cancelled": b"serving_dropped_cancelled_total",
    "queue_requests": b"serving_queue_requests",
    "queue_rows": b"serving_queue_rows",
    "in_flight_requests": b"serving_in_flight_requests",
}


@dataclass(frozen=True, slots=True)
class Histogram:
    """``counts``: observations at or below each of ``bounds``, then all of them; ``total``:
    what was observed, summed up."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float

    @property
    def count(self) -> int:
        return self.counts[-1] if self.counts else 0


EMPTY = Histogram((), (), 0.0)


@dataclass(frozen=True, slots=True)
class Counters:
    """Of one version, since the process began. ``outcomes``: (protocol, code) -> requests.
    Times in seconds, ``batch`` in rows; ``simple``: the counters and gauges without labels of
    their own."""

    outcomes: Mapping[tuple[str, str], int]
    total: Histogram
    queue: Histogram
    compute: Histogram
    batch: Histogram
    simple: Mapping[str, float]


class Reader:
    """Reads one exposition after another. For one thread."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[bytes, Histogram]] = {}
        self._sums: dict[tuple[bytes, Key], tuple[Histogram, Histogram, Histogram]] = {}

    def read(self, text: bytes) -> dict[Key, Counters]:
        """The counters of all known versions, in the text's order.

        Raises ValueError where the text is not laid out as the core's.
        """
        places = _Places(text)
        outcomes = _outcomes(text, *places.of(_OUTCOMES))
        times = {
            name: self._histograms(text, family, *places.of(family))
            for name, family in _TIMES.items()
        }
        simple: dict[Key, dict[str, float]] = {}
        for name, family in _SIMPLE.items():
            for labels, value in _SAMPLE.findall(text, *places.of(family)):
                simple.setdefault(_key(labels), {})[name] = float(value)
        if len(self._known) > _MOST:
            self._known.clear()
            self._sums.clear()
        return {
            key: Counters(
                of,
                **{name: histograms.get(key, EMPTY) for name, histograms in times.items()},
                simple=simple.get(key, {}),
            )
            for key, of in outcomes.items()
            # Unknown names share one series, and are nobody's window.
            if key[1]
        }

    def _histograms(self, text: bytes, family: bytes, start: int, end: int) -> dict[Key, Histogram]:
        """Those of one family, summed over what else they have as labels. Each ends with its
        count."""
        found: dict[Key, Histogram] = {}
        last = family + b"_count{"
        while (count_at := text.find(last, start, end)) >= 0:
            stop = text.find(b"\n", count_at)
            stop = end if stop < 0 else stop + 1
            labels, _, count = text[count_at + len(last) : stop].rpartition(b"} ")
            histogram = self._histogram(text, family + labels, count, start, count_at)
            key = _key(labels)
            other = found.get(key)
            found[key] = self._sum(family, key, other, histogram) if other else histogram
            start = stop
        return found

    def _histogram(self, text: bytes, name: bytes, count: bytes, start: int, end: int) -> Histogram:
        """The one whose buckets and sum stand between two places."""
        known = self._known.get(name)
        if known is not None and known[0] == count:
            return known[1]
        values = _VALUE.findall(text, start, end)
        bounds = known[1].bounds if known else _bounds(tuple(_BOUND.findall(text, start, end)))
        if len(values) != len(bounds) + 2:
            raise ValueError("a histogram is not laid out as the core's")
        histogram = Histogram(bounds, tuple(map(int, values[:-1])), float(values[-1]))
        self._known[name] = (count, histogram)
        return histogram

    def _sum(self, family: bytes, key: Key, one: Histogram, other: Histogram) -> Histogram:
        known = self._sums.get((family, key))
        if known is not None and known[0] is one and known[1] is other:
            return known[2]
        both = added(one, other)
        self._sums[family, key] = (one, other, both)
        return both


class _Places:
    """Where families stand in a text: the samples of each stand together."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._at = 0

    def of(self, family: bytes) -> tuple[int, int]:
        """Start and end of its samples; nothing where there are none."""
        head = b"# TYPE " + family + b" "
        # Mostly further on than the one before.
        at = self._text.find(head, self._at)
        if at < 0:
            at = self._text.find(head)
        if at < 0:
            return 0, 0
        self._at = at
        start = self._text.find(b"\n", at) + 1
        end = self._text.find(b"\n#", start - 1) + 1
        return (start, end) if end else (start, len(self._text))


def _outcomes(text: bytes, start: int, end: int) -> dict[Key, dict[tuple[str, str], int]]:
    found: dict[Key, dict[tuple[str, str], int]] = {}
    for labels, value in _SAMPLE.findall(text, start, end):
        of = _labels(labels)
        counts = found.setdefault(_key(labels), {})
        counts[of.get("protocol", ""), of.get("code", "")] = int(value)
    return found


def added(one: Histogram, other: Histogram) -> Histogram:
    """Both together; they have the same bounds."""
    if not one.counts or not other.counts:
        return one if one.counts else other
    counts = tuple(map(operator.add, one.counts, other.counts))
    return Histogram(one.bounds, counts, one.total + other.total)


@lru_cache(maxsize=64)
def _bounds(texts: tuple[bytes, ...]) -> tuple[float, ...]:
    """The finite ones."""
    return tuple(float(text) for text in texts if text != b"+Inf")


@lru_cache(maxsize=65_536)
def _labels(text: bytes) -> dict[str, str]:
    """To be read only: the cache's own."""
    pairs = _LABEL.findall(text.decode())
    return {name: _ESCAPE.sub(_unescaped, value) for name, value in pairs}


def _unescaped(found: re.Match[str]) -> str:
    return "\n" if found.group(1) == "n" else found.group(1)


@lru_cache(maxsize=65_536)
def _key(labels: bytes) -> Key:
    found = _labels(labels)
    return found.get("model", ""), int(found.get("version") or 0)
