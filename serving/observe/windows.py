"""What a version did between two looks at its counters. Pure."""

from __future__ import annotations

import operator
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from serving.loading.batching.cost import CostCurve
from serving.observe.figures import EMPTY, Counters, Histogram

QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
_SUCCESS = frozenset({("grpc", "OK"), ("http", "200")})
# Codes that say: come again, or go elsewhere.
REFUSED = frozenset(
    {("grpc", "RESOURCE_EXHAUSTED"), ("grpc", "UNAVAILABLE"), ("http", "429"), ("http", "503")}
)
_COUNTED = ("rows", "runs", "runs_failed", "expired", "cancelled")
# Told of those windows only in which there were any.
_AS_SHADOW = ("shadow_copies", "shadow_failed", "shadow_compared", "shadow_different")
_GAUGES = ("queue_requests", "queue_rows", "in_flight_requests")
_COUNTS = frozenset({"requests", "errors", "refusals", *_COUNTED, *_AS_SHADOW})


@dataclass(frozen=True, slots=True)
class Window:
    """``number``: of the version's windows, from 1. ``start``, ``end``: seconds since the
    epoch. ``figures``: name -> value; what has no value (a percentile of nothing) is absent."""

    model: str
    version: int
    number: int
    start: float
    end: float
    figures: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "version": self.version,
            "number": self.number,
            "start": self.start,
            "end": self.end,
            "figures": dict(self.figures),
        }


def is_count(figure: str) -> bool:
    """Whether a figure counts what happened in its window, so that sums make sense."""
    return figure in _COUNTS or figure.startswith("errors/")


def went_back(before: Counters, now: Counters) -> bool:
    """Whether these are other counters than before: they never go back."""
    return (
        _is_other(before.total, now.total)
        or _is_other(before.queue, now.queue)
        or _is_other(before.compute, now.compute)
        or _is_other(before.batch, now.batch)
        or any(now.outcomes.get(key, 0) < count for key, count in before.outcomes.items())
        or any(now.simple.get(name, 0) < before.simple.get(name, 0) for name in _COUNTED)
    )


def _is_other(before: Histogram, now: Histogram) -> bool:
    if not before.counts:
        return False
    return before.bounds != now.bounds or now.count < before.count


def figures(
    before: Counters | None, now: Counters, seconds: float, cost: CostCurve | None = None
) -> dict[str, float]:
    """The figures of a window of ``seconds``. ``before`` None: the counters began in it;
    counters that went back did, too."""
    if before is not None and went_back(before, now):
        before = None
    found = {"window_s": seconds, **_requests(before, now, seconds)}
    for name in _COUNTED:
        found[name] = now.simple.get(name, 0.0) - (before.simple.get(name, 0.0) if before else 0.0)
    found.update(_as_shadow(before, now))
    found["row_rate"] = found["rows"] / seconds if seconds > 0 else 0.0
    found.update(_times("total_ms", before.total if before else EMPTY, now.total))
    found.update(_times("queue_ms", before.queue if before else EMPTY, now.queue))
    found.update(_times("compute_ms", before.compute if before else EMPTY, now.compute))
    batches = difference(before.batch if before else EMPTY, now.batch)
    if batches.count:
        found["batch_rows"] = batches.total / batches.count
    found.update((name, now.simple[name]) for name in _GAUGES if name in now.simple)
    found.update(_cost(cost))
    return found


def _as_shadow(before: Counters | None, now: Counters) -> dict[str, float]:
    """Of a version that got copies in the window."""
    old: Mapping[str, float] = before.simple if before else {}
    found = {name: now.simple.get(name, 0.0) - old.get(name, 0.0) for name in _AS_SHADOW}
    return found if any(found.values()) else {}


def _requests(before: Counters | None, now: Counters, seconds: float) -> dict[str, float]:
    old: Mapping[tuple[str, str], int] = before.outcomes if before else {}
    counts = {key: count - old.get(key, 0) for key, count in now.outcomes.items()}
    errors = {key: count for key, count in counts.items() if key not in _SUCCESS}
    requests = sum(counts.values())
    return {
        "requests": float(requests),
        "request_rate": requests / seconds if seconds > 0 else 0.0,
        "errors": float(sum(errors.values())),
        "refusals": float(sum(errors[key] for key in errors.keys() & REFUSED)),
        **{f"errors/{protocol}/{code}": float(n) for (protocol, code), n in errors.items()},
    }


def difference(before: Histogram, now: Histogram) -> Histogram:
    """What was observed since; ``now`` itself where there was nothing before."""
    if not before.counts or not now.counts:
        return now
    counts = tuple(map(operator.sub, now.counts, before.counts))
    return Histogram(now.bounds, counts, now.total - before.total)


def _times(name: str, before: Histogram, now: Histogram) -> dict[str, float]:
    """Milliseconds; nothing where nothing was observed."""
    if now.count == before.count:
        return {}
    observed = difference(before, now)
    return {
        f"{name}/mean": max(0.0, observed.total / observed.count) * 1e3,
        **{f"{name}/{key}": quantile(observed, share) * 1e3 for key, share in QUANTILES.items()},
    }


def quantile(observed: Histogram, share: float) -> float:
    """The value that ``share`` (above 0, to 1) of the observations don't exceed, in a straight
    line within its bucket; beyond the last bound that bound, as Prometheus has it.

    Raises ValueError without observations.
    """
    if not observed.count:
        raise ValueError("nothing was observed")
    bounds, counts = observed.bounds, observed.counts
    rank = share * observed.count
    place = bisect_left(counts, rank)
    if place >= len(bounds):
        return bounds[-1]
    floor, below = (bounds[place - 1], counts[place - 1]) if place else (0.0, 0)
    within = floor + (bounds[place] - floor) * (rank - below) / (counts[place] - below)
    # Rounded it may be beyond.
    return min(within, bounds[place])


def _cost(cost: CostCurve | None) -> Iterator[tuple[str, float]]:
    if cost is None:
        return
    yield "cost/fixed_ms", cost.fixed_s * 1e3
    yield "cost/per_row_ms", cost.per_row_s * 1e3
    if cost.best_rows is not None:
        yield "cost/best_rows", float(cost.best_rows)
