"""A feature's sketches as TFX's ``FeatureNameStatistics``.

What TFX has no field for stands in ``custom_stats`` (``docs/insight.md`` lists them).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from serving.statistics.features import FeatureType
from serving.statistics.metadata import messages
from serving.statistics.numbers import Extremes, Moments, Quantiles
from serving.statistics.presence import Presence
from serving.statistics.reading_values import Lengths
from serving.statistics.values import Frequencies

BUCKETS = 10
TOP_VALUES = 20
RANKED_VALUES = 1000


class Sketched(Protocol):
    """What is drawn: a ``FeatureSketch``."""

    type: FeatureType
    presence: Presence
    extremes: Extremes
    moments: Moments
    lengths: Lengths
    mistyped: int
    quantiles: Quantiles | None
    frequencies: Frequencies | None


def feature(sketch: Sketched, name: str, examples: int | None, *, categorical: bool) -> Any:
    """``name``: one step of its path, as TFX writes it. ``examples``: rows that there were."""
    made = messages.FeatureNameStatistics()
    made.type = messages.enum("FeatureNameStatistics.Type")[sketch.type]
    made.path.step.append(name)
    match sketch.type:
        case FeatureType.STRING:
            _texts(sketch, made.string_stats)
            common = made.string_stats.common_stats
        case FeatureType.BYTES:
            _bytes(sketch, made.bytes_stats)
            common = made.bytes_stats.common_stats
        case FeatureType.INT if categorical:
            _texts(sketch, made.string_stats)
            common = made.string_stats.common_stats
        case _:
            _numbers(sketch, made.num_stats)
            common = made.num_stats.common_stats
    _common(sketch.presence, common, examples)
    _custom(sketch, made)
    return made


def _common(presence: Presence, common: Any, examples: int | None) -> None:
    missing = presence.missing
    if examples is not None:
        missing = max(missing, examples - presence.non_missing)
    common.num_non_missing = presence.non_missing
    common.num_missing = missing
    common.min_num_values = presence.least
    common.max_num_values = presence.most
    common.tot_num_values = presence.total
    if presence.non_missing:
        common.avg_num_values = presence.total / presence.non_missing


def _numbers(sketch: Sketched, numeric: Any) -> None:
    """As TFX has them but for infinities, which are in ``min`` and ``max`` only: mean, deviation
    and both histograms are of the finite numbers (TFX's mean would be one itself, or NaN)."""
    extremes = sketch.extremes
    if extremes.finite_least is not None and extremes.finite_least == extremes.finite_most:
        # What is constant has no deviation, not even by rounding.
        numeric.mean = float(extremes.finite_least)
    else:
        numeric.mean, numeric.std_dev = sketch.moments.result()
    numeric.num_zeros = extremes.zeros
    if extremes.least is not None and extremes.most is not None:
        numeric.min, numeric.max = float(extremes.least), float(extremes.most)
    if sketch.quantiles is None:
        return
    numeric.median = sketch.quantiles.median
    for made in (_standard(sketch), _quantiles(sketch)):
        made.num_nan, made.num_undefined = extremes.nans, extremes.infinities
        numeric.histograms.append(made)


def edges(least: float, most: float, count: int = BUCKETS) -> list[float]:
    """Of ``count`` buckets of equal widths; rising, and fewer where so many do not fit between.
    Neither end's difference is taken, which may be more than a float holds."""
    parts = (step / count for step in range(count + 1))
    found = [least * (1 - part) + most * part for part in parts]
    found[0], found[-1] = least, most
    return list(np.unique(np.clip(found, least, most)).tolist())


def _standard(sketch: Sketched) -> Any:
    """Ten buckets of equal widths from the least finite number to the largest; one where all are
    the same. Each but the last without its upper end. Counts come from the sketch of quantiles:
    exact as long as it holds every number, then within twice its error; their sum is exact."""
    made = messages.Histogram(type=messages.enum("Histogram.HistogramType")["STANDARD"])
    least, most, count = _finite(sketch)
    if not count:
        return made
    ends = edges(least, most)
    if len(ends) == 1:
        made.buckets.add(low_value=least, high_value=most, sample_count=count)
        return made
    assert sketch.quantiles is not None
    below = [0, *(round(share * count) for share in sketch.quantiles.below(ends[1:-1])), count]
    for low, high, before, until in zip(ends, ends[1:], below, below[1:], strict=False):
        made.buckets.add(low_value=low, high_value=high, sample_count=until - before)
    return made


def _quantiles(sketch: Sketched) -> Any:
    """Ten buckets with a tenth of the finite numbers each."""
    made = messages.Histogram(type=messages.enum("Histogram.HistogramType")["QUANTILES"])
    least, most, count = _finite(sketch)
    if not count:
        return made
    assert sketch.quantiles is not None
    inner = sketch.quantiles.at([step / BUCKETS for step in range(1, BUCKETS)])
    ends = [least, *inner, most]
    for low, high in pairwise(ends):
        made.buckets.add(low_value=low, high_value=high, sample_count=count / BUCKETS)
    return made


def _finite(sketch: Sketched) -> tuple[float, float, int]:
    extremes = sketch.extremes
    if extremes.finite_least is None or extremes.finite_most is None:
        return 0.0, 0.0, 0
    return float(extremes.finite_least), float(extremes.finite_most), sketch.moments.count


def _texts(sketch: Sketched, text: Any) -> None:
    lengths = sketch.lengths
    text.avg_length = lengths.total / lengths.count if lengths.count else 0.0
    text.invalid_utf8_count = lengths.invalid
    if sketch.frequencies is None:
        return
    text.unique = min(sketch.frequencies.unique, sketch.presence.total)
    top = sketch.frequencies.top(RANKED_VALUES)
    for value, count in top[:TOP_VALUES]:
        text.top_values.add(value=value, frequency=count)
    _ranked(top, text.rank_histogram)


def _ranked(top: Sequence[tuple[str, int]], histogram: Any) -> None:
    for rank, (value, count) in enumerate(top):
        histogram.buckets.add(low_rank=rank, high_rank=rank, label=value, sample_count=count)


def _bytes(sketch: Sketched, made: Any) -> None:
    lengths = sketch.lengths
    if sketch.frequencies is not None:
        made.unique = min(sketch.frequencies.unique, sketch.presence.total)
    if lengths.count:
        made.avg_num_bytes = lengths.total / lengths.count
        made.min_num_bytes = lengths.least
        made.max_num_bytes = lengths.most
        made.max_num_bytes_int = lengths.most


def _custom(sketch: Sketched, made: Any) -> None:
    """What is zero is left out."""
    lengths, frequencies = sketch.lengths, sketch.frequencies
    facts: dict[str, float] = {
        "infinities": sketch.extremes.infinities,
        "mistyped": sketch.mistyped,
        "min_length": lengths.least,
        "max_length": lengths.most,
        "cut_values": frequencies.cut if frequencies is not None else 0,
    }
    if sketch.quantiles is not None and sketch.quantiles.estimates:
        facts["quantile_rank_error"] = sketch.quantiles.error
    numeric = made.WhichOneof("stats") == "num_stats"
    if numeric and frequencies is not None:
        facts["unique"] = min(frequencies.unique, sketch.presence.total)
    for name, number in facts.items():
        if number:
            made.custom_stats.add(name=name, num=number)
    if numeric and frequencies is not None and (top := frequencies.top(RANKED_VALUES)):
        _ranked(top, made.custom_stats.add(name="top_values").rank_histogram)
    _shapes(sketch.presence, made)


def _shapes(presence: Presence, made: Any) -> None:
    """Where there is another than a single value."""
    shapes = sorted(presence.shapes.items(), key=lambda one: (-one[1], one[0]))
    if not any(shape for shape, _ in shapes) and not presence.other_shapes:
        return
    histogram = made.custom_stats.add(name="shapes").rank_histogram
    _ranked(shapes, histogram)
    if presence.other_shapes:
        rank = len(shapes)
        histogram.buckets.add(
            low_rank=rank, high_rank=rank, label="other", sample_count=presence.other_shapes
        )
