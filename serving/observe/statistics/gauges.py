"""What Prometheus is told of statistics, and what of them stands in the windows of tracking."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from serving.observe import families
from serving.observe.families import Sample
from serving.observe.figures import Key
from serving.observe.prometheus import Exposition
from serving.observe.statistics.taker import Statistics

if TYPE_CHECKING:
    from serving.observe.statistics.book import Page


def add_metrics(exposition: Exposition, statistics: Statistics) -> None:
    """Models and versions are labels while they are there, and types of anomalies are TFX's."""
    add = exposition.add
    add(families.STATISTICS_SAMPLES, lambda: [({}, statistics.figures().samples)])
    add(
        families.STATISTICS_DROPPED,
        lambda: [({"reason": why}, n) for why, n in statistics.figures().dropped.items()],
    )
    add(families.STATISTICS_MEMORY, lambda: [({}, statistics.figures().nbytes)])
    add(families.ANOMALIES_BEGUN, lambda: _flat(statistics.pages(_begun)))
    add(families.ANOMALIES, lambda: _flat(statistics.pages(_standing)))
    add(families.FEATURE_DISTANCE, lambda: _flat(statistics.pages(_largest)))


def _flat(many: list[list[Sample]]) -> Iterator[Sample]:
    for some in many:
        yield from some


def _begun(key: Key, page: Page) -> list[Sample]:
    counts = sorted(page.alarms.counts.items())
    return [({**_labels(key), "type": kind}, count) for kind, count in counts]


def _standing(key: Key, page: Page) -> list[Sample]:
    """0 for those that were there: an alert ends by that."""
    counts = dict.fromkeys(page.alarms.counts, 0)
    for one in page.alarms.standing:
        counts[one.type] = counts.get(one.type, 0) + 1
    return [({**_labels(key), "type": kind}, count) for kind, count in sorted(counts.items())]


def _largest(key: Key, page: Page) -> list[Sample]:
    return [({**_labels(key), "kind": kind}, far) for kind, far in sorted(page.farthest.items())]


def _labels(key: Key) -> dict[str, str]:
    return {"model": key[0], "version": str(key[1])}


def figures(statistics: Statistics) -> Mapping[Key, Mapping[str, float]]:
    """Of each version of which statistics are made: how many features have an anomaly, and the
    largest distances."""
    return dict(statistics.pages(_figures))


def _figures(key: Key, page: Page) -> tuple[Key, dict[str, float]]:
    features = {one.feature for one in page.alarms.standing}
    far = {f"feature_distance/{kind}": value for kind, value in page.farthest.items()}
    return key, {"feature_anomalies": float(len(features)), **far}
