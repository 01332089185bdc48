"""Whether a feature is there as often, and with as many values, as the schema says. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from serving.validation import counts
from serving.validation.anomalies import Anomaly
from serving.validation.views import FeatureView


def presence(
    view: FeatureView, examples: int, feature: Any, chance: float | None
) -> Iterator[Anomaly]:
    """``examples``: how many there are. With ``chance``, a fraction below 1 counts as missed only
    where that isn't one by chance; 1 is missed by one example."""
    if not feature.HasField("presence"):
        return
    wanted = feature.presence
    if view.present < wanted.min_count:
        yield Anomaly(
            "FEATURE_TYPE_LOW_NUMBER_PRESENT",
            "Present too rarely",
            f"It is in {view.present:.0f} examples: expected in {wanted.min_count} at least.",
        )
    fraction = 1.0 if view.missing == 0 or not examples else view.present / examples
    least = min(wanted.min_fraction, 1.0)
    if _below(fraction, examples, least, chance) or (least == 1 and view.missing > 0):
        yield Anomaly(
            "FEATURE_TYPE_LOW_FRACTION_PRESENT",
            "Present too rarely",
            f"It is in {_percent(fraction)} of {examples} examples: expected in"
            f" {_percent(least)} at least.",
        )


def valency(view: FeatureView, feature: Any) -> Iterator[Anomaly]:
    """How many values an example has, at each level of nesting."""
    nested = feature.HasField("value_counts")
    if not nested and not feature.HasField("value_count"):
        return
    wanted = list(feature.value_counts.value_count) if nested else [feature.value_count]
    found = view.value_counts
    if len(found) != len(wanted):
        yield Anomaly(
            "VALUE_NESTEDNESS_MISMATCH",
            "Other nesting of values",
            f"Its values are nested {len(found)} deep: expected {len(wanted)}.",
        )
        return
    for (least, most), count in zip(found, wanted, strict=True):
        if count.HasField("min") and least < count.min:
            words = f"An example has {least} values: expected {count.min} at least."
            yield Anomaly("FEATURE_TYPE_LOW_NUMBER_VALUES", "Too few values", words)
        if count.HasField("max") and most > max(count.max, count.min):
            words = f"An example has {most} values: expected {count.max} at most."
            yield Anomaly("FEATURE_TYPE_HIGH_NUMBER_VALUES", "Too many values", words)


def shape(view: FeatureView, feature: Any) -> Iterator[Anomaly]:
    """A fixed shape is of one that is always there, with always as many values."""
    if not feature.HasField("shape") or any(dim.size <= 0 for dim in feature.shape.dim):
        return
    wanted = math.prod(dim.size for dim in feature.shape.dim)
    varies = any(least != most or least == 0 for least, most in view.value_counts)
    if varies or any(view.missing_nested):
        words = "It has a fixed shape, and is missing in some examples, or its length varies."
    elif (found := math.prod(least for least, _ in view.value_counts)) != wanted:
        words = f"Its examples have {found} values: expected {wanted}, by its shape."
    else:
        return
    yield Anomaly("INVALID_FEATURE_SHAPE", "Other shape", words)


def unique(view: FeatureView, feature: Any) -> Iterator[Anomaly]:
    """How many different values there are."""
    if not feature.HasField("unique_constraints"):
        return
    wanted, found = feature.unique_constraints, view.unique
    if found is None:
        words = "Different values are asked for, and only those of texts are counted."
        yield Anomaly("FEATURE_TYPE_NO_UNIQUE", "No different values", words)
        return
    if found < wanted.min:
        words = f"It has {found} different values: expected {wanted.min} at least."
        yield Anomaly("FEATURE_TYPE_LOW_UNIQUE", "Too few different values", words)
    if found > wanted.max:
        words = f"It has {found} different values: expected {wanted.max} at most."
        yield Anomaly("FEATURE_TYPE_HIGH_UNIQUE", "Too many different values", words)


def _below(fraction: float, examples: int, wanted: float, chance: float | None) -> bool:
    if fraction >= wanted:
        return False
    if chance is None:
        return True
    _, high = counts.share_limits(np.array([fraction]), examples, chance)
    return bool(high[0] < wanted)


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.4g} %"
