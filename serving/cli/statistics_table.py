"""Statistics and schemas as tables on a terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from serving.cli.output import cell, clean, print_line, print_table

_STATISTICS = (
    *("FEATURE", "TYPE", "COUNT", "MISSING", "ZEROS", "MIN", "MEAN", "STD", "MEDIAN", "MAX"),
    *("UNIQUE", "TOP VALUES"),
)
_SCHEMA = ("FEATURE", "TYPE", "PRESENCE", "VALUES", "DOMAIN", "SKEW", "DRIFT")
# In a terminal that is too narrow for all.
_DISPENSABLE = ("ZEROS", "MEDIAN", "STD", "COUNT", "TYPE")
# That the top values have at the least.
_LAST = 16
_MOST_SHOWN = 3
_MOST_WIDTH = 24
# Below it a whole number is written out.
_WHOLE = 1e9


def print_statistics(found: Any) -> None:
    """Of a ``DatasetFeatureStatisticsList`` a table for each data set."""
    for at, data in enumerate(found.datasets):
        if at:
            print_line("")
        print_line(f"{clean(data.name) or 'statistics'}: {data.num_examples:,} examples", "bold")
        rows = [_feature(one, data.num_examples) for one in data.features]
        print_table(*fitting(_STATISTICS, rows, _width()))


def _width() -> int:
    """Of the terminal; 0: there is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0


def fitting(
    headers: Sequence[str], rows: Sequence[Sequence[object]], width: int
) -> tuple[list[str], list[list[object]]]:
    """Without those columns, the least telling first, that a terminal has no place for; the last
    one may be folded."""
    kept = list(range(len(headers)))
    for name in _DISPENSABLE:
        widths = [max(len(cell(row[at])) for row in (headers, *rows)) for at in kept]
        if not width or sum(widths[:-1]) + _LAST + 2 * len(kept) <= width:
            break
        kept.remove(headers.index(name))
    return [headers[at] for at in kept], [[row[at] for at in kept] for row in rows]


def name_of(feature: Any) -> str:
    """A feature's name, or its path with dots."""
    return feature.name or ".".join(feature.path.step)


def _feature(one: Any, examples: int) -> tuple[object, ...]:
    kind = _type_name(one)
    which = one.WhichOneof("stats")
    stats = getattr(one, which) if which else None
    common = stats.common_stats if stats is not None else None
    if stats is None or common is None:
        return (name_of(one), kind, *[None] * (len(_STATISTICS) - 2))
    counts = (f"{common.num_non_missing:,}", _part(common.num_missing, examples))
    own = {custom.name: custom for custom in one.custom_stats}
    if which == "num_stats":
        middle = (stats.min, stats.mean, stats.std_dev, stats.median, stats.max)
        numbers = (_part(stats.num_zeros, common.tot_num_values), *map(short, middle))
        unique = short(own["unique"].num) if "unique" in own else None
        ranked = own["top_values"].rank_histogram.buckets if "top_values" in own else ()
        values = [(bucket.label, bucket.sample_count) for bucket in ranked]
        # Of numbers that hardly ever come twice nobody wants to see which came first.
        often = [one for one in values if one[1] > common.tot_num_values / 50]
        return (name_of(one), kind, *counts, *numbers, unique, _values(often))
    nothing = [None] * 6
    unique = stats.unique if which in ("string_stats", "bytes_stats") else None
    top = stats.top_values if which == "string_stats" else ()
    return (
        *(name_of(one), kind, *counts, *nothing, unique),
        _values([(value.value, value.frequency) for value in top]),
    )


def _type_name(one: Any) -> str:
    """Of a later release's the number."""
    known = one.DESCRIPTOR.fields_by_name["type"].enum_type.values_by_number.get(one.type)
    return known.name if known is not None else str(one.type)


def _part(count: float, whole: float) -> str:
    return f"{100 * count / whole:.3g}%" if count and whole else "0"


def short(number: float) -> str:
    """With so many digits as a table has place for."""
    whole = abs(number) < _WHOLE and number == int(number)
    return str(int(number)) if whole else f"{number:.5g}"


def _values(some: list[tuple[str, float]]) -> str | None:
    shown = [f"{clean(value[:_MOST_WIDTH])} ({count:.0f})" for value, count in some[:_MOST_SHOWN]]
    return ", ".join(shown) or None


def print_schema(schema: Any) -> None:
    """Of a ``Schema`` a row for each feature."""
    rows = [_expected(one, schema) for one in schema.feature]
    print_table(_SCHEMA, rows)
    if schema.default_environment:
        print_line(f"environments: {', '.join(map(clean, schema.default_environment))}")


def _expected(one: Any, schema: Any) -> tuple[object, ...]:
    kind = _type_name(one)
    return (
        *(one.name, kind, _presence(one), _valency(one), _domain(one, schema)),
        *(_comparator(one, "skew_comparator"), _comparator(one, "drift_comparator")),
    )


def _presence(one: Any) -> str | None:
    if one.WhichOneof("presence_constraints") != "presence":
        return None
    parts = []
    if one.presence.HasField("min_fraction"):
        fraction = one.presence.min_fraction
        parts.append("required" if fraction == 1 else f"at least {100 * fraction:.3g}%")
    if one.presence.HasField("min_count"):
        parts.append(f"at least {one.presence.min_count}")
    return ", ".join(parts) or None


def _valency(one: Any) -> str | None:
    which = one.WhichOneof("shape_type")
    if which == "shape":
        return "x".join(str(dim.size) for dim in one.shape.dim) or "single"
    if which == "value_count":
        return _range(one.value_count)
    return None


def _range(bounds: Any) -> str | None:
    low = str(bounds.min) if bounds.HasField("min") else ""
    high = str(bounds.max) if bounds.HasField("max") else ""
    return f"{low}..{high}" if low or high else None


def _domain(one: Any, schema: Any) -> str | None:
    which = one.WhichOneof("domain_info")
    if which is None:
        return None
    domain = getattr(one, which)
    if which == "domain":
        named = [*schema.string_domain, *schema.int_domain, *schema.float_domain]
        domain = next((found for found in named if found.name == one.domain), None)
        if domain is None:
            return f"{one.domain} (not there)"
    return ", ".join(_words(domain)) or which


def _words(domain: Any) -> Iterator[str]:
    name = domain.DESCRIPTOR.name
    if name == "StringDomain":
        more = len(domain.value) - _MOST_SHOWN
        yield from (f"'{clean(value[:_MOST_WIDTH])}'" for value in domain.value[:_MOST_SHOWN])
        if more > 0:
            yield f"{more} more"
    elif name in ("IntDomain", "FloatDomain"):
        if bounds := _range(domain):
            yield bounds
        for flag in ("is_categorical", "disallow_nan", "disallow_inf"):
            if getattr(domain, flag, False):
                yield flag.replace("_", " ")


def _comparator(one: Any, which: str) -> str | None:
    if not one.HasField(which):
        return None
    comparator = getattr(one, which)
    names = {"infinity_norm": "L-inf", "jensen_shannon_divergence": "JSD"}
    parts = [
        f"{names.get(field.name, field.name)} {measure.threshold:g}"
        for field, measure in comparator.ListFields()
    ]
    return ", ".join(parts) or None
