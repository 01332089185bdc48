"""Thresholds out of past windows: what a feature's distance never was while all was well. Pure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from serving.validation.compare import Comparison, Kind, measured
from serving.validation.counts import CHANCE
from serving.validation.measures import Measure
from serving.validation.views import QUANTILES, STANDARD, DatasetView, Path

# With fewer distances nothing is suggested.
LEAST_WINDOWS = 8
_QUANTILE = 0.99
_MARGIN = 0.5
_LEAST, _DIGITS = 0.005, 3
# HistogramSelection.Type, by Histogram.HistogramType
_SOURCES = {QUANTILES: 1, STANDARD: 2}


@dataclass(frozen=True, slots=True)
class Suggestion:
    """``threshold``: a quantile of the distances, and a margin more. None: ``windows`` distances
    meant something, which are too few. ``source``: of which kind of histogram."""

    path: Path
    kind: Kind
    measure: Measure
    source: int
    windows: int
    threshold: float | None


def suggest(
    windows: Sequence[Any],
    baseline: Any | None = None,
    *,
    quantile: float = _QUANTILE,
    margin: float = _MARGIN,
    least_windows: int = LEAST_WINDOWS,
) -> list[Suggestion]:
    """For each feature of ``windows`` (statistics, in the order of time): of drift by the distance
    of each window from the one before, of skew by each one's from ``baseline``. Windows too small
    for a distance to mean anything are left out."""
    views = [DatasetView.of(window) for window in windows]
    pairs = [(Kind.DRIFT, here, before) for before, here in itertools.pairwise(views)]
    if baseline is not None:
        training = DatasetView.of(baseline)
        pairs += [(Kind.SKEW, here, training) for here in views]
    found: dict[tuple[Path, Kind], dict[tuple[Measure, int], list[float]]] = {}
    for kind, here, there in pairs:
        for path, comparison in _compared(here, there, kind):
            distance = comparison.distance
            by_measure = found.setdefault((path, kind), {})
            distances = by_measure.setdefault((distance.measure, distance.source), [])
            if not comparison.too_few:
                distances.append(distance.value)
    made = []
    for key, by_measure in sorted(found.items()):
        # What suits a feature may change between windows: what suited most of them.
        how, distances = max(by_measure.items(), key=lambda each: len(each[1]))
        threshold = _threshold(distances, quantile, margin, least_windows)
        made.append(Suggestion(*key, *how, len(distances), threshold))
    return made


def apply(schema: Any, suggestions: Iterable[Suggestion]) -> list[Suggestion]:
    """Write them into ``schema``, where it has the feature and no threshold of that kind and
    measure; the ones that were written."""
    features = {feature.name: feature for feature in schema.feature}
    written = []
    for suggestion in suggestions:
        feature = features.get(".".join(suggestion.path))
        if feature is not None and _write(feature, suggestion):
            written.append(suggestion)
    return written


def _compared(
    here: DatasetView, there: DatasetView, kind: Kind
) -> Iterable[tuple[Path, Comparison]]:
    for path, view in here.features.items():
        other = there.features.get(path)
        comparison = measured(view, other, kind, CHANCE) if other is not None else None
        if comparison is not None:
            yield path, comparison


def _threshold(
    distances: Sequence[float], quantile: float, margin: float, least_windows: int
) -> float | None:
    if len(distances) < least_windows:
        return None
    ranked = sorted(distances)
    figure = ranked[min(math.ceil(quantile * len(ranked)), len(ranked)) - 1] * (1 + margin)
    rounded = 0.0 if figure <= 0 else round(figure, _DIGITS - 1 - math.floor(math.log10(figure)))
    return min(max(rounded, _LEAST), 1.0)


def _write(feature: Any, suggestion: Suggestion) -> bool:
    if suggestion.threshold is None:
        return False
    skew = suggestion.kind is Kind.SKEW
    comparator = feature.skew_comparator if skew else feature.drift_comparator
    if suggestion.measure is Measure.L_INFTY:
        part = comparator.infinity_norm
    else:
        part = comparator.jensen_shannon_divergence
    if part.HasField("threshold"):
        return False
    part.threshold = suggestion.threshold
    if suggestion.measure is Measure.JENSEN_SHANNON:
        part.source.type = _SOURCES[suggestion.source]
    return True
