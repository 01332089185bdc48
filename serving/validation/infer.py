"""A schema from statistics, as TensorFlow Data Validation infers it (``Schema::Update``). Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from serving.statistics.metadata import messages
from serving.validation.paths import serialized
from serving.validation.views import (
    BYTES,
    FLOAT,
    INT,
    LEAST_INT,
    MOST_INT,
    SCHEMA_TYPES,
    STRING,
    STRUCT,
    DatasetView,
    FeatureView,
)

# TFX's own default.
MAX_STRING_DOMAIN = 100
_TRUE = ("TRUE", "true", "SET", "set", "1", "")
_FALSE = ("FALSE", "false", "CLEAR", "clear", "0")
# How much the number of different values, which is a sketch's, may be off.
_UNIQUE_ERROR = 1.05


@dataclass(frozen=True, slots=True)
class Rules:
    """``max_string_domain``: with more different texts, a feature has no list of them. ``shapes``:
    a feature that is always there with as many values has a shape, instead of a count. ``ranges``:
    the least and the most number become bounds, and NaN and infinities are forbidden where there
    are none; TFX never does that."""

    max_string_domain: int = MAX_STRING_DOMAIN
    shapes: bool = True
    ranges: bool = False


def infer(statistics: Any, rules: Rules = Rules()) -> Any:
    """The Schema of what ``statistics`` (see :meth:`DatasetView.of`) are of, in its order."""
    schema = messages.Schema()
    features: dict[tuple[str, ...], Any] = {}
    # Structures come before what is in them.
    for path, view in sorted(DatasetView.of(statistics).features.items(), key=lambda e: len(e[0])):
        parent = features.get(path[:-1])
        feature = (parent.struct_domain.feature if parent is not None else schema.feature).add()
        feature.name = path[-1] if parent is not None else ".".join(path)
        features[path] = feature
        _describe(view, feature, schema, rules)
    return schema


def _describe(view: FeatureView, feature: Any, schema: Any, rules: Rules) -> None:
    feature.type = SCHEMA_TYPES[view.type]
    # What a version answers isn't missed in data that nobody has asked it about.
    required = not view.output
    feature.presence.min_count = 1 if required and view.present >= 1 else 0
    if view.present <= 0:
        return
    if required and view.missing == 0:
        feature.presence.min_fraction = 1.0
    if not (rules.shapes and _shape(view, feature)):
        _value_count(view, feature)
    _domain(view, feature, schema, rules)


def _shape(view: FeatureView, feature: Any) -> bool:
    levels = view.value_counts
    varies = any(least != most or least <= 0 for least, most in levels)
    if view.type == STRUCT or varies or any(view.missing_nested):
        return False
    for least, _ in levels:
        feature.shape.dim.add().size = min(least, MOST_INT)
    return True


def _value_count(view: FeatureView, feature: Any) -> None:
    levels = view.value_counts
    if len(levels) > 1:
        for level in levels:
            _bounds(level, feature.value_counts.value_count.add())
    elif levels[0][0] > 0:
        _bounds(levels[0], feature.value_count)


def _bounds(level: tuple[int, int], count: Any) -> None:
    least, most = level
    if least > 0:
        count.min = min(least, MOST_INT) if least == most else 1
    if 0 < least == most:
        count.max = min(most, MOST_INT)


def _domain(view: FeatureView, feature: Any, schema: Any, rules: Rules) -> None:
    if view.not_utf8 or view.type in (BYTES, STRUCT):
        return
    if _boolean(view):
        feature.bool_domain.SetInParent()
        for field, known in (("true_value", _TRUE), ("false_value", _FALSE)):
            for value in sorted(view.values.keys() & set(known))[:1]:
                setattr(feature.bool_domain, field, value)
    elif view.type == STRING and view.values and all(map(_is_int, view.values)):
        feature.int_domain.SetInParent()
    elif 0 < len(view.values) <= rules.max_string_domain and _all_listed(view):
        domain = schema.string_domain.add(name=_free(schema, serialized(view.path)))
        domain.value.extend(sorted(view.values))
        feature.domain = domain.name
    elif rules.ranges:
        _range(view, feature)


def _boolean(view: FeatureView) -> bool:
    if view.type == INT and not view.values:
        return bool(view.numbers.min >= 0 and view.numbers.max == 1)
    if view.type != STRING or not 0 < len(view.values) <= 2:
        return False
    values = sorted(view.values)
    trues = [value for value in values if value in _TRUE]
    falses = [value for value in values if value in _FALSE]
    return len(trues) <= 1 and len(falses) <= 1 and len(trues) + len(falses) == len(values)


def _all_listed(view: FeatureView) -> bool:
    """The list of values is all of them, not only the most frequent, and whole."""
    return not view.cut and (view.unique or 0) <= max(
        len(view.values) * _UNIQUE_ERROR, len(view.values)
    )


def _range(view: FeatureView, feature: Any) -> None:
    least, most = view.numbers.min, view.numbers.max
    if view.type == INT and not view.values:
        if LEAST_INT <= least <= most <= MOST_INT:
            feature.int_domain.min, feature.int_domain.max = int(least), int(most)
    elif view.type == FLOAT:
        domain = feature.float_domain
        finite = math.isfinite(least) and math.isfinite(most)
        if finite:
            domain.min, domain.max = least, most
            domain.disallow_inf = True
        if view.numbers.histograms and not view.has_nan:
            domain.disallow_nan = True


def _free(schema: Any, name: str) -> str:
    taken = {domain.name for domain in schema.string_domain}
    names = [name, *(f"{name}{index}" for index in range(2, len(taken) + 3))]
    return next(each for each in names if each not in taken)


def _is_int(text: str) -> bool:
    try:
        return "_" not in text and LEAST_INT <= int(text) <= MOST_INT
    except ValueError:
        return False
