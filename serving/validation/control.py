"""A feature held against its own past: the training data, and the window before. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from serving.statistics.metadata import messages
from serving.validation.anomalies import Anomaly
from serving.validation.compare import Comparison, Kind, comparator_of, compare
from serving.validation.measures import Measure
from serving.validation.views import DatasetView, FeatureView, Path

_TYPES = {
    Measure.L_INFTY: "COMPARATOR_L_INFTY_HIGH",
    Measure.ABSOLUTE: "COMPARATOR_NORMALIZED_ABSOLUTE_DIFFERENCE_HIGH",
    Measure.JENSEN_SHANNON: "COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH",
}
MEASURED = {
    Measure.L_INFTY: "L-infinity distance",
    Measure.ABSOLUTE: "normalized absolute difference",
    Measure.JENSEN_SHANNON: "Jensen-Shannon divergence",
}
_AGAINST = {
    Kind.SKEW: "the training data",
    Kind.DRIFT: "the window before",
    Kind.VERSIONS: "the other version",
}


@dataclass(frozen=True, slots=True)
class Control:
    """``comparator``: the field of a schema's feature that has the thresholds."""

    kind: Kind
    dataset: DatasetView

    @property
    def comparator(self) -> str:
        return comparator_of(self.kind)


def comparisons(
    view: FeatureView, feature: Any, controls: Sequence[Control], chance: float | None
) -> list[Comparison]:
    """With each of ``controls`` that has the feature, and a threshold in the schema."""
    found: list[Comparison] = []
    for control in controls:
        other = control.dataset.features.get(view.path)
        if other is not None and feature.HasField(control.comparator):
            comparator = getattr(feature, control.comparator)
            found.extend(compare(view, other, control.kind, comparator, chance))
    return found


def anomalies(
    view: FeatureView, feature: Any, controls: Sequence[Control], compared: Sequence[Comparison]
) -> Iterator[Anomaly]:
    for comparison in compared:
        if comparison.high:
            yield high(comparison)
    for control in controls:
        if view.path not in control.dataset.features and _asks(feature, control):
            words = f"{_AGAINST[control.kind].capitalize()} hasn't the feature."
            yield Anomaly("COMPARATOR_CONTROL_DATA_MISSING", "Nothing to compare with", words)


def measurements(path: Path, compared: Sequence[Comparison]) -> Any:
    """DriftSkewInfo."""
    info = messages.DriftSkewInfo()
    info.path.step.extend(path)
    for each in compared:
        skew = each.kind is Kind.SKEW
        measurement = (info.skew_measurements if skew else info.drift_measurements).add()
        measurement.type = messages.DriftSkewInfo.Measurement.Type.Value(each.distance.measure)
        measurement.value = each.distance.value
        if each.threshold is not None:
            measurement.threshold = each.threshold
    return info


def _asks(feature: Any, control: Control) -> bool:
    comparator = getattr(feature, control.comparator)
    parts = (
        comparator.infinity_norm,
        comparator.normalized_abs_difference,
        comparator.jensen_shannon_divergence,
    )
    return any(part.HasField("threshold") for part in parts)


def high(comparison: Comparison) -> Anomaly:
    """What is told of one that is above its threshold."""
    measure, against = comparison.distance.measure, _AGAINST[comparison.kind]
    words = (
        f"The {MEASURED[measure]} from {against} is {comparison.distance.value:.4g}, above"
        f" {comparison.threshold:.4g} ({comparison.samples} examples here,"
        f" {comparison.control_samples} there)."
    )
    if comparison.worst:
        words += f" It differs most in {comparison.worst[:60]!r}."
    short = f"Far from {against} ({comparison.kind})"
    return Anomaly(_TYPES[measure], short, words)
