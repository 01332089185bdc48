"""What a closed window shows, held against the version's schema, its baseline, the window before
and the version that answers beside it. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from serving.observe.statistics.alarms import Anomaly
from serving.observe.statistics.distances import Distance
from serving.observe.statistics.reference import Reference
from serving.observe.statistics.rollup import Span
from serving.validation.anomalies import ERROR, rows
from serving.validation.check import validate
from serving.validation.compare import Comparison, Kind, against
from serving.validation.control import high
from serving.validation.views import DatasetView

# Fewer rows say nothing by a distance that no threshold asks for: that waits for longer windows.
_FEWEST_ROWS = 30
# Characters of a feature's name, and of what is wrong with it: a schema may hold a name of
# megabytes, and each anomaly is kept, logged and shown.
_MOST_NAME, _MOST_WORDS = 255, 500
_NO_LABELS: Mapping[str, Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True)
class Beside:
    """What a window is compared with, as messages; None: there is nothing."""

    previous: Any = None
    base: Any = None


@dataclass(frozen=True)
class Shown:
    """What a window shows."""

    anomalies: tuple[Anomaly, ...]
    distances: tuple[Distance, ...]


def check(
    message: Any,
    span: Span,
    end: float,
    reference: Reference,
    beside: Beside,
    labels: Mapping[str, Mapping[str, str]] = _NO_LABELS,
) -> Shown:
    """``message``: ``DatasetFeatureStatisticsList`` of the window that ended at ``end``.
    ``labels``: what classes are called, as ``labels.labels_of`` has it."""
    here = DatasetView.of(message).labelled(labels)
    compared = list(_compared(here, reference, beside))
    found = list(_anomalies(here, span, end, reference, beside))
    found += [
        _of_version(one, span, end) for one in compared if one.kind is Kind.VERSIONS and one.high
    ]
    distances = tuple(_distance(one, span, end) for one in compared)
    return Shown(tuple(found), distances)


def _anomalies(
    here: DatasetView, span: Span, end: float, reference: Reference, beside: Beside
) -> Iterator[Anomaly]:
    if reference.schema is None:
        return
    found = validate(here, reference.schema, reference.baseline, beside.previous)
    for row in rows(found):
        name, words = row["feature"][:_MOST_NAME], row["description"][:_MOST_WORDS]
        yield Anomaly(end, name, row["type"], words, row["severity"], span)


def _compared(here: DatasetView, reference: Reference, beside: Beside) -> Iterator[Comparison]:
    kinds = (
        (Kind.SKEW, reference.baseline),
        (Kind.DRIFT, beside.previous),
        (Kind.VERSIONS, beside.base),
    )
    plain = here.examples >= _FEWEST_ROWS
    for kind, other in kinds:
        if other is not None:
            there = DatasetView.of(other)
            yield from against(here, there, reference.schema, kind, plain=plain)


def _distance(one: Comparison, span: Span, end: float) -> Distance:
    return Distance(
        name=one.name,
        kind=one.kind.value,
        distance=_finite(one.distance.value),
        threshold=_finite(one.threshold),
        measure=one.distance.measure.value,
        samples=one.samples,
        too_few=one.too_few,
        at=end,
        window=str(span),
    )


def _finite(value: float | None) -> float | None:
    """What JSON has: a schema may state any number."""
    return value if value is not None and math.isfinite(value) else None


def _of_version(one: Comparison, span: Span, end: float) -> Anomaly:
    found = high(one)
    return Anomaly(end, one.name, found.type, found.description, ERROR, span)
