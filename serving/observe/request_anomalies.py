"""What Prometheus is told of requests that are not as their model's schema says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from serving.models.views import ModelView
from serving.observe import families
from serving.observe.families import Sample
from serving.observe.prometheus import Exposition


def add_request_anomalies(exposition: Exposition, views: Callable[[], Iterable[ModelView]]) -> None:
    """Models and versions are labels while they are there; features, of which there may be many,
    are none."""
    exposition.add(families.REQUEST_ANOMALIES, lambda: _samples(views()))


def _samples(views: Iterable[ModelView]) -> Iterator[Sample]:
    for view in views:
        for version in view.versions:
            counts: Counter[tuple[str, str]] = Counter()
            for _, kind, refused, count in version.queue.anomalies() if version.queue else ():
                counts[kind, "reject" if refused else "log"] += count
            for (kind, mode), count in sorted(counts.items()):
                labels = {"model": view.name, "version": str(version.number)}
                yield {**labels, "type": kind, "mode": mode}, count
