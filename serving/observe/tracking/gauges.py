"""What Prometheus is told of tracking."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from serving.observe import families
from serving.observe.families import Family, Sample
from serving.observe.prometheus import Exposition
from serving.observe.tracking.shipper import TargetStatus
from serving.observe.tracking.tracker import Tracker

_OF_TARGETS: tuple[tuple[Family, Callable[[TargetStatus], float | None]], ...] = (
    (families.TRACKING_SENT, lambda one: one.sent),
    (families.TRACKING_DROPPED, lambda one: one.dropped),
    (families.TRACKING_FAILURES, lambda one: one.failures),
    (families.TRACKING_BUFFERED, lambda one: one.buffered),
    (families.TRACKING_BUFFERED_BYTES, lambda one: one.buffered_bytes),
    (families.TRACKING_LAST_SUCCESS, lambda one: one.last_success),
)


def add_tracking(exposition: Exposition, tracker: Tracker) -> None:
    """The families of the targets that are set."""
    for family, value in _OF_TARGETS:
        exposition.add(family, partial(_samples, tracker, value))


def _samples(tracker: Tracker, value: Callable[[TargetStatus], float | None]) -> Iterator[Sample]:
    for one in tracker.status():
        found = value(one)
        if found is not None:
            yield {"target": one.name}, found
