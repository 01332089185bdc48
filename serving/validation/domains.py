"""Whether a feature's values are those that the schema allows. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from serving.statistics.values import kept_of
from serving.validation import counts
from serving.validation.anomalies import Anomaly
from serving.validation.schemas import SchemaView
from serving.validation.specification import domain_of
from serving.validation.views import (
    BYTES,
    FLOAT,
    INT,
    LEAST_INT,
    MOST_INT,
    QUANTILES,
    STRING,
    FeatureView,
)

_MOST_NAMED = 10
_MOST_LETTERS = 60
_OUTSIDE = "Values out of range"
_INVALID = "Invalid values"
_NOT_BOOLEAN = "Values that are not boolean"
# Domains that bytes which are no text may have.
_OF_BYTES = (None, "natural_language_domain", "image_domain", "url_domain")


def domain(
    view: FeatureView, feature: Any, schema: SchemaView, chance: float | None, alike: bool
) -> Iterator[Anomaly]:
    """``alike``: ranges hold for whole numbers and others alike."""
    kind = domain_of(schema, feature)
    if view.type == BYTES and kind not in _OF_BYTES:
        words = f"Its values are bytes that are no text: a {kind} doesn't go with them."
        yield Anomaly("DOMAIN_INVALID_FOR_TYPE", "Other kind of values", words)
        return
    match kind:
        case "domain" | "string_domain":
            yield from _texts(view, feature, schema.values_of(feature), chance)
        case "bool_domain":
            yield from _booleans(view, feature.bool_domain)
        case "int_domain":
            yield from _integers(view, feature.int_domain, alike)
        case "float_domain":
            yield from _floats(view, feature.float_domain, alike)


def _texts(
    view: FeatureView, feature: Any, allowed: list[str] | None, chance: float | None
) -> Iterator[Anomaly]:
    if allowed is None:
        return
    if view.not_utf8:
        yield Anomaly("ENUM_TYPE_INVALID_UTF8", "Not UTF-8", "Some values are not UTF-8.")
        return
    known = set(map(kept_of, allowed)).union(allowed) if view.cut else set(allowed)
    others = {value: count for value, count in view.values.items() if value not in known}
    constraints = feature.distribution_constraints
    stray = max(1.0 - constraints.min_domain_mass, 0.0)
    if others and _beyond(sum(others.values()), view, stray, chance):
        share = "" if stray == 0 else f"; {100 * stray:.4g} % may be"
        words = f"Values that are not in the domain: {_listed(others, view)}{share}."
        yield Anomaly("ENUM_TYPE_UNEXPECTED_STRING_VALUES", "Unexpected values", words)


def _beyond(count: float, view: FeatureView, stray: float, chance: float | None) -> bool:
    total = view.total_values
    if stray == 0 or not total:
        return stray == 0
    share = min(count / total, 1.0)
    if chance is None or share <= stray:
        return share > stray
    low, _ = counts.share_limits(np.array([share]), view.present, chance)
    return bool(low[0] > stray)


def _booleans(view: FeatureView, wanted: Any) -> Iterator[Anomaly]:
    numbers = view.numbers
    if view.type == INT:
        if numbers.min < 0:
            words = f"It has {numbers.min:g}: expected 0 or 1."
            yield Anomaly("BOOL_TYPE_SMALL_INT", _NOT_BOOLEAN, words)
        elif numbers.max > 1:
            words = f"It has {numbers.max:g}: expected 0 or 1."
            yield Anomaly("BOOL_TYPE_BIG_INT", _NOT_BOOLEAN, words)
    elif view.type == FLOAT:
        odd = _odd_boolean(view)
        if odd:
            words = f"It has {odd}: expected 0 or 1."
            yield Anomaly("BOOL_TYPE_UNEXPECTED_FLOAT", _NOT_BOOLEAN, words)
    elif view.type == STRING:
        texts = [(wanted.true_value, "true_value"), (wanted.false_value, "false_value")]
        known = {text for text, field in texts if wanted.HasField(field)}
        others = {value: count for value, count in view.values.items() if value not in known}
        if others:
            expected = " or ".join(repr(text) for text in sorted(known)) or "nothing"
            words = f"It has {_listed(others, view)}: expected {expected}."
            yield Anomaly("BOOL_TYPE_UNEXPECTED_STRING", _NOT_BOOLEAN, words)


def _odd_boolean(view: FeatureView) -> str:
    """A float that is neither 0 nor 1, in words; as far as histograms show one."""
    for extreme in (view.numbers.min, view.numbers.max):
        if extreme not in (0.0, 1.0):
            return f"{extreme:g}"
    if view.has_nan:
        return "NaN"
    for histogram in view.numbers.histograms:
        for bucket in histogram.buckets:
            within = bucket.low_value > 0 and bucket.high_value < 1
            if histogram.type == QUANTILES and bucket.sample_count > 0 and within:
                return f"{bucket.low_value:g}"
    return ""


def _integers(view: FeatureView, wanted: Any, alike: bool) -> Iterator[Anomaly]:
    bounded = wanted.HasField("min") or wanted.HasField("max")
    numbers = _whole(view)
    if isinstance(numbers, str):
        if view.type in (STRING, BYTES):
            words = f"It has {numbers!r}, which is no whole number."
            yield Anomaly("INT_TYPE_NOT_INT_STRING", _INVALID, words)
        elif bounded:
            words = f"It has {numbers}, which has no place in 64 bits."
            yield Anomaly("DOMAIN_INVALID_FOR_TYPE", _INVALID, words)
        return
    if numbers is None and alike and view.type == FLOAT:
        numbers = (view.numbers.min, view.numbers.max)
    if numbers is None:
        return
    if wanted.HasField("min") and numbers[0] < wanted.min:
        words = f"It has {_number_of(view, numbers[0])}: expected {wanted.min} at least."
        yield Anomaly("INT_TYPE_SMALL_INT", _OUTSIDE, words)
    if wanted.HasField("max") and numbers[1] > wanted.max:
        words = f"It has {_number_of(view, numbers[1])}: expected {wanted.max} at most."
        yield Anomaly("INT_TYPE_BIG_INT", _OUTSIDE, words)


def _whole(view: FeatureView) -> tuple[float, float] | str | None:
    """The least and the most whole number; or a value that is none, as text; None where the
    feature is not of whole numbers."""
    if view.type == INT and not view.values:
        for extreme in (view.numbers.min, view.numbers.max):
            if not LEAST_INT <= extreme <= MOST_INT:
                return f"{extreme:g}"
        return int(view.numbers.min), int(view.numbers.max)
    if view.type not in (INT, STRING, BYTES) or not view.values:
        return None
    return _extremes(view.values, whole=True)


def _floats(view: FeatureView, wanted: Any, alike: bool) -> Iterator[Anomaly]:
    if wanted.disallow_nan and _some_nan(view):
        yield Anomaly("FLOAT_TYPE_HAS_NAN", _INVALID, "It has NaN, which the schema forbids.")
    numbers = _real(view, alike)
    if isinstance(numbers, str):
        words = f"It has {numbers!r}, which is no number."
        yield Anomaly("FLOAT_TYPE_STRING_NOT_FLOAT", _INVALID, words)
        return
    if numbers is None:
        return
    least, most = numbers
    if wanted.HasField("min") and _single(least) < wanted.min:
        words = f"It has {least:.6g}: expected {wanted.min:.6g} at least."
        yield Anomaly("FLOAT_TYPE_SMALL_FLOAT", _OUTSIDE, words)
    if wanted.HasField("max") and _single(most) > wanted.max:
        words = f"It has {most:.6g}: expected {wanted.max:.6g} at most."
        yield Anomaly("FLOAT_TYPE_BIG_FLOAT", _OUTSIDE, words)
    if wanted.disallow_inf and (math.isinf(least) or math.isinf(most)):
        words = "It has infinities, which the schema forbids."
        yield Anomaly("FLOAT_TYPE_HAS_INF", _INVALID, words)


def _single(number: float) -> float:
    """As the schema has its bounds, in 32 bits."""
    with np.errstate(over="ignore"):
        return float(np.float32(number))


def _some_nan(view: FeatureView) -> bool:
    if view.type == STRING:
        numbers = [_number(value) for value in view.values]
        return any(number is not None and math.isnan(number) for number in numbers)
    return view.type == FLOAT and view.has_nan


def _real(view: FeatureView, alike: bool) -> tuple[float, float] | str | None:
    if view.type == FLOAT or (alike and view.type == INT and not view.values):
        return float(view.numbers.min), float(view.numbers.max)
    if view.type in (STRING, BYTES) and view.values:
        return _extremes(view.values, whole=False)
    return None


def _extremes(values: Mapping[str, float], *, whole: bool) -> tuple[float, float] | str:
    found: list[float] = []
    for value in sorted(values):
        number = _number(value)
        if number is None or (whole and not _is_whole(value)):
            return value[:_MOST_LETTERS]
        found.append(int(value) if whole else number)
    return min(found), max(found)


def _number(text: str) -> float | None:
    try:
        # Python's own underscores are nobody else's.
        return None if "_" in text else float(text)
    except ValueError:
        return None


def _is_whole(text: str) -> bool:
    try:
        return "_" not in text and LEAST_INT <= int(text) <= MOST_INT
    except ValueError:
        return False


def _listed(values: Mapping[str, float], view: FeatureView) -> str:
    """The most frequent, with their shares."""
    most = sorted(values.items(), key=lambda each: (-each[1], each[0]))
    words = [
        f"{_short(view.named(value))} ({_share(count, view.total_values)})"
        for value, count in most[:_MOST_NAMED]
    ]
    more = len(most) - len(words)
    return ", ".join(words) + (f" and {more} others" if more else "")


def _number_of(view: FeatureView, number: float) -> str:
    named = view.named(str(number))
    return _short(named) if str(number) in view.labels else named


def _short(value: str) -> str:
    return repr(value if len(value) <= _MOST_LETTERS else value[:_MOST_LETTERS] + "...")


def _share(count: float, total: float) -> str:
    percent = 100 * count / total if total else 0.0
    return "<1 %" if percent < 1 else f"{percent:.0f} %"
