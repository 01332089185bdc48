"""TFX's three measures of two features' statistics, and what of each is certain. Pure.

The figures are TFX's (:mod:`serving.validation.distances`). What is added is how much of one
chance explains (:mod:`serving.validation.counts`), and what values' places within a histogram's
buckets explain (:mod:`serving.validation.placement`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist

import numpy as np

from serving.validation import counts, distances
from serving.validation.placement import certain_divergence
from serving.validation.views import QUANTILES, STANDARD, FeatureView

# Whose differences are looked at closely.
_MOST_VALUES = 1000
# As many as TFX makes.
_STANDARD_BUCKETS = 10
# With more different whole numbers chance may do more than their buckets.
_MOST_INTEGERS = 64


class Measure(StrEnum):
    """The names are those of TFX's ``DriftSkewInfo.Measurement.Type``."""

    L_INFTY = "L_INFTY"
    JENSEN_SHANNON = "JENSEN_SHANNON_DIVERGENCE"
    ABSOLUTE = "NORMALIZED_ABSOLUTE_DIFFERENCE"


@dataclass(frozen=True, slots=True)
class Distance:
    """``value``: TFX's figure, in [0, 1]. ``noise``: what chance may add to it. ``certain``: how
    far apart the two are at the least, however values lie within their buckets. ``worst``: the
    value with the largest difference, of values. ``source``: which histograms it is of."""

    measure: Measure
    value: float
    noise: float
    certain: float
    worst: str = ""
    source: int = STANDARD

    @property
    def least(self) -> float:
        """What of the figure chance does not explain."""
        return self.less_noise(self.value)

    @property
    def sure(self) -> float:
        """What neither chance nor places within buckets explain; above 0, the two differ."""
        return self.less_noise(self.certain)

    def less_noise(self, value: float) -> float:
        if self.measure is Measure.JENSEN_SHANNON:
            return counts.least_divergence(value, self.noise)
        return max(value - self.noise, 0.0)


def l_infinity(view: FeatureView, control: FeatureView, chance: float) -> Distance:
    """Of the shares that values have: of those that are listed, as TFX takes them. What chance may
    add is of all values, and grows by what the lists leave open."""
    value, worst = distances.l_infinity(view.values, control.values)
    values = sorted(view.values.keys() | control.values.keys())
    count, other = _examples(view), _examples(control)
    if not values or not count or not other:
        return Distance(Measure.L_INFTY, value, 0.0, value, worst)
    mine, others = _shares(view, values), _shares(control, values)
    # None of the others differs by more than 0.002: differences sum up to 2 at most.
    most = np.argsort(-np.abs(mine - others), kind="stable")[:_MOST_VALUES]
    mine, others = mine[most], others[most]
    each = chance * len(most) / len(values)
    noise = counts.difference_noise(mine, count, others, other, each)
    noise += _slack(view) + _slack(control)
    beyond = float(np.max(np.abs(mine - others) - noise))
    # Of the value that stands out most, which need not be the worst.
    shown = value - min(beyond, value) if beyond > 0 else max(float(noise.max()), value)
    return Distance(Measure.L_INFTY, value, shown, value, worst)


def absolute(view: FeatureView, control: FeatureView, chance: float) -> Distance:
    """Of the counts that values have: meant for samples of equal sizes."""
    value, worst = distances.normalized_difference(view.values, control.values)
    everything = sum(view.values.values()) + sum(control.values.values())
    both = view.values.get(worst, 0.0) + control.values.get(worst, 0.0)
    # As of counts that are Poisson's, the examples being in no way limited.
    noise = NormalDist().inv_cdf(1 - chance / 2) * math.sqrt(both) / (everything or 1.0)
    return Distance(Measure.ABSOLUTE, value, noise, value, worst)


def jensen_shannon(
    view: FeatureView, control: FeatureView, chance: float, source: int = STANDARD
) -> Distance | None:
    """Of values where both have some, else of histograms of the kind ``source``; None where the
    statistics of one have neither."""
    if view.values and control.values:
        return _of_values(view, control, chance)
    a, b = view.histogram(source), control.histogram(source)
    value = distances.jensen_shannon_of_histograms(a, b) if a and b else None
    if value is None or a is None or b is None:
        return None
    whole = _whole_numbers(view, control)
    cells = max(*(_cells(each) for each in (view, control)), len(whole[0]))
    sizes = [counts.effective(_examples(each), each.rank_error) for each in (view, control)]
    noise = counts.divergence_noise(cells, sizes[0], sizes[1], chance)
    if whole[0].size:
        certain = distances.jensen_shannon(*whole) or 0.0
    else:
        certain = _certain(view, control, noise) if value > noise else 0.0
    return Distance(Measure.JENSEN_SHANNON, value, noise, certain, source=source)


def few_integers(view: FeatureView, control: FeatureView) -> bool:
    """So few whole numbers that each has a bucket of its own where all are equally wide; quantiles
    of as many don't move while shares do."""
    values = _whole_numbers(view, control)[0]
    return 0 < len(values) <= _STANDARD_BUCKETS


def _of_values(view: FeatureView, control: FeatureView, chance: float) -> Distance | None:
    value = distances.jensen_shannon_of_values(view.values, control.values)
    if value is None:
        return None
    cells = len(view.values.keys() | control.values.keys())
    noise = counts.divergence_noise(cells, _examples(view), _examples(control), chance)
    return Distance(Measure.JENSEN_SHANNON, value, noise, _certain_of_values(view, control))


def _whole_numbers(
    view: FeatureView, control: FeatureView
) -> tuple[distances.Floats, distances.Floats]:
    """How often both have each whole number, where there are few, and all were counted: there is
    no doubt where those lie. Else empty."""
    values = sorted(view.integers.keys() | control.integers.keys())
    counted = view.integers and control.integers and len(values) <= _MOST_INTEGERS
    if not counted or any(not _all_counted(each) for each in (view, control)):
        return np.zeros(0), np.zeros(0)
    a, b = ([each.integers.get(value, 0.0) for value in values] for each in (view, control))
    return np.array(a), np.array(b)


def _all_counted(view: FeatureView) -> bool:
    return sum(view.integers.values()) >= view.total_values * (1 - 1e-9)


def _certain_of_values(view: FeatureView, control: FeatureView) -> float:
    """Values that both list, and all others as one: where lists end is no difference."""
    lossy = _slack(view) + _slack(control) > 0
    join = view.values.keys() & control.values.keys() if lossy else None
    values = sorted(view.values.keys() | control.values.keys() if join is None else join)
    mine, others = _shares(view, values), _shares(control, values)
    a = np.append(mine, max(1.0 - float(mine.sum()), 0.0))
    b = np.append(others, max(1.0 - float(others.sum()), 0.0))
    return distances.jensen_shannon(a, b) or 0.0


def _certain(view: FeatureView, control: FeatureView, enough: float) -> float:
    """By quantiles where there are any: a sketch's counts of rare values, of which the other kind
    has whole buckets, are the least certain of all it knows."""
    for kind in (QUANTILES, STANDARD):
        a, b = view.histogram(kind), control.histogram(kind)
        if a is not None and b is not None:
            return certain_divergence(a, b, enough) or 0.0
    return 0.0


def _cells(view: FeatureView) -> int:
    """Buckets with something in them, of whichever histogram has more: one of an extreme range has
    nearly all in one. As many as TFX makes, at least, which is more than what placing leaves."""
    found = [view.histogram(kind) for kind in (STANDARD, QUANTILES)]
    filled = [int(np.count_nonzero(each.counts)) for each in found if each is not None]
    return max(_STANDARD_BUCKETS, *filled)


def _slack(view: FeatureView) -> float:
    """By how much a listed share may be wrong, and what an unlisted value may have: as much as the
    rarest that is listed, if not all are."""
    listed, total = sum(view.values.values()), _total(view)
    if not total or listed >= total * (1 - 1e-9):
        return 0.0
    return min(view.values.values(), default=total) / total


def _total(view: FeatureView) -> float:
    return max(view.total_values, sum(view.values.values()))


def _examples(view: FeatureView) -> float:
    """Values of one example go together: there is no more to go by than there are examples."""
    total = _total(view)
    return (min(view.present or total, total) or view.present) * view.worth


def _shares(view: FeatureView, values: list[str]) -> distances.Floats:
    """Of all values, listed or not."""
    return np.array([view.values.get(value, 0.0) for value in values]) / (_total(view) or 1.0)
