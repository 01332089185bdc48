"""A feature that is always the same here, and isn't in the training data. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from serving.validation import counts
from serving.validation.anomalies import Anomaly
from serving.validation.counts import CHANCE
from serving.validation.views import FeatureView


def constancy(view: FeatureView, baseline: FeatureView, chance: float | None) -> Iterator[Anomaly]:
    """Told under TFX's FEATURE_TYPE_LOW_UNIQUE, which has no name of its own for it: where so many
    examples would all have the first one's value by chance less often than ``chance``, however
    often it may be in what the training data are drawn from."""
    value = _only(view)
    if value is None or _only(baseline) is not None:
        return
    share, chance = _share(baseline, value), chance or CHANCE
    count = min(view.present, _numbers(view))
    if share is None or count < 1 or not baseline.present:
        return
    _, most = counts.share_limits(np.array([min(share, 1.0)]), baseline.present, chance)
    if float(most[0]) ** (count - 1) > chance:
        return
    words = (
        f"All of {count:.0f} examples have {_told(view, value)}; in the training data"
        f" {'about ' if baseline.numeric else ''}{100 * share:.3g} % have it at most."
    )
    yield Anomaly("FEATURE_TYPE_LOW_UNIQUE", "Constant, where the training data varies", words)


def _only(view: FeatureView) -> str | float | None:
    """The one value that all examples have; None where there are several, or it isn't known."""
    if view.present <= 0:
        return None
    if view.values:
        alone = len(view.values) == 1 and (view.unique or 1) == 1
        return next(iter(view.values)) if alone else None
    if not view.numeric:
        return None
    numbers = view.numbers
    return float(numbers.min) if numbers.min == numbers.max else None


def _numbers(view: FeatureView) -> float:
    """How many there are that are not NaN, where it is said."""
    found = (view.histogram(each.type) for each in view.numbers.histograms)
    return min((each.total for each in found if each is not None), default=view.present)


def _share(view: FeatureView, value: str | float) -> float | None:
    """How much of ``view`` may have the value at most; None where it can't be said."""
    if isinstance(value, str):
        total = max(sum(view.values.values()), view.total_values)
        return view.values.get(value, 0.0) / total if view.values else None
    if not view.numeric or not view.total_values:
        return None
    shares = [view.numbers.num_zeros / view.total_values] if value == 0 else []
    if view.integers and view.unique_integers <= len(view.integers):
        shares.append(view.integers.get(f"{value:.0f}", 0.0) / view.total_values)
    for message in view.numbers.histograms:
        histogram = view.histogram(message.type)
        if histogram is not None and histogram.total:
            holds = (histogram.lows <= value) & (value <= histogram.highs)
            shares.append(float(np.sum(histogram.counts[holds])) / histogram.total)
    return min(shares) if shares else None


def _told(view: FeatureView, value: str | float) -> str:
    return repr(view.named(value)[:60]) if isinstance(value, str) else f"{value:g}"
