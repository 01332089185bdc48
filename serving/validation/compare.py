"""A feature's distribution against another's: how far apart, and whether that is believed. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from serving.validation import measures
from serving.validation.counts import CHANCE
from serving.validation.measures import Distance, Measure
from serving.validation.schemas import SchemaView
from serving.validation.views import QUANTILES, STANDARD, DatasetView, FeatureView, Path

# HistogramSelection.Type
_BY_QUANTILES = 1
# Where no threshold says how far is far.
_FAR = 0.1


class Kind(StrEnum):
    """What a feature is compared with: the training data, the window before, another version."""

    SKEW = "skew"
    DRIFT = "drift"
    VERSIONS = "versions"


class Finding(StrEnum):
    """``TOO_FEW``: chance may be why it is above the threshold, or far above would not show.
    ``UNCLEAR``: above it, but the buckets are so rough that both may be alike."""

    WITHIN = "within"
    HIGH = "high"
    TOO_FEW = "too few"
    UNCLEAR = "unclear"
    NO_THRESHOLD = "no threshold"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One measure of one feature. ``samples``, ``control_samples``: examples that have the feature,
    here and where it is compared with. ``worst``: the value that differs most, as words name it."""

    path: Path
    kind: Kind
    distance: Distance
    threshold: float | None
    samples: int
    control_samples: int
    finding: Finding
    worst: str = ""

    @property
    def name(self) -> str:
        return ".".join(self.path)

    @property
    def high(self) -> bool:
        return self.finding is Finding.HIGH

    @property
    def too_few(self) -> bool:
        return self.finding is Finding.TOO_FEW


def compare(
    view: FeatureView,
    control: FeatureView,
    kind: Kind,
    comparator: Any,
    chance: float | None = CHANCE,
) -> list[Comparison]:
    """By each measure that ``comparator`` (FeatureComparator) has a threshold for; one that the
    statistics don't permit is left out, as TFX does.

    ``chance``: the probability of an alarm where nothing differs. None: each figure is believed,
    as TFX does.
    """
    found = []
    for measure, part in _asked(comparator):
        source = QUANTILES if _by_quantiles(measure, part) else STANDARD
        distance = _measured(measure, view, control, chance or CHANCE, source)
        if distance is not None:
            finding = _finding(distance, part.threshold, chance is not None)
            found.append(_comparison(view, control, kind, distance, part.threshold, finding))
    return found


def measured(
    view: FeatureView, control: FeatureView, kind: Kind, chance: float = CHANCE
) -> Comparison | None:
    """By the measure that suits the feature, without a threshold: L-infinity of values, the
    Jensen-Shannon divergence of numbers, by quantiles where there are any, and not of a few whole
    numbers. None where the statistics permit neither."""
    distance: Distance | None
    if view.values and control.values:
        distance = measures.l_infinity(view, control, chance)
    else:
        few = measures.few_integers(view, control)
        sources = (STANDARD, QUANTILES) if few else (QUANTILES, STANDARD)
        found = (measures.jensen_shannon(view, control, chance, each) for each in sources)
        distance = next((each for each in found if each is not None), None)
    if distance is None:
        return None
    finding = Finding.TOO_FEW if _blind(distance, _FAR) else Finding.NO_THRESHOLD
    return _comparison(view, control, kind, distance, None, finding)


def against(
    here: DatasetView,
    there: DatasetView,
    schema: Any | None,
    kind: Kind,
    *,
    chance: float = CHANCE,
    plain: bool = True,
) -> list[Comparison]:
    """Each feature that both have: by the measures that ``schema`` has a threshold for
    (``skew_comparator``, else ``drift_comparator``), else, if ``plain``, by the one that suits it,
    without a threshold. ``chance``: of a false alarm in all features together."""
    features = SchemaView(schema).features if schema is not None else {}
    common = [path for path in here.features if path in there.features]
    each = chance / max(len(common), 1)
    found: list[Comparison] = []
    for path in common:
        view, other, feature = here.features[path], there.features[path], features.get(path)
        rows = (
            compare(view, other, kind, getattr(feature, comparator_of(kind)), each)
            if feature is not None
            else []
        )
        alone = measured(view, other, kind, each) if plain and not rows else None
        found += rows or ([alone] if alone is not None else [])
    return found


def comparator_of(kind: Kind) -> str:
    """The field of a schema's feature that has the thresholds."""
    return "skew_comparator" if kind is Kind.SKEW else "drift_comparator"


def _asked(comparator: Any) -> list[tuple[Measure, Any]]:
    """In TFX's order."""
    parts = (
        (Measure.L_INFTY, comparator.infinity_norm),
        (Measure.ABSOLUTE, comparator.normalized_abs_difference),
        (Measure.JENSEN_SHANNON, comparator.jensen_shannon_divergence),
    )
    return [(measure, part) for measure, part in parts if part.HasField("threshold")]


def _by_quantiles(measure: Measure, part: Any) -> bool:
    return measure is Measure.JENSEN_SHANNON and part.source.type == _BY_QUANTILES


def _measured(
    measure: Measure, view: FeatureView, control: FeatureView, chance: float, source: int
) -> Distance | None:
    match measure:
        case Measure.L_INFTY:
            return measures.l_infinity(view, control, chance)
        case Measure.ABSOLUTE:
            return measures.absolute(view, control, chance)
        case Measure.JENSEN_SHANNON:
            return measures.jensen_shannon(view, control, chance, source)


def _finding(distance: Distance, threshold: float, careful: bool) -> Finding:
    above = distance.value > threshold
    if not careful:
        return Finding.HIGH if above else Finding.WITHIN
    if not above:
        return Finding.TOO_FEW if _blind(distance, threshold) else Finding.WITHIN
    if distance.least > threshold and distance.sure > 0:
        return Finding.HIGH
    # With more examples the same would be seen where chance adds less than the threshold.
    rough = distance.least > threshold and distance.noise <= threshold
    return Finding.UNCLEAR if rough else Finding.TOO_FEW


def _blind(distance: Distance, threshold: float) -> bool:
    """A figure half way from the threshold to the most there is would go unnoticed."""
    return distance.less_noise((1 + threshold) / 2) <= threshold


def _comparison(
    view: FeatureView,
    control: FeatureView,
    kind: Kind,
    distance: Distance,
    threshold: float | None,
    finding: Finding,
) -> Comparison:
    samples, others = int(view.present), int(control.present)
    worst = view.named(distance.worst)
    return Comparison(view.path, kind, distance, threshold, samples, others, finding, worst)
