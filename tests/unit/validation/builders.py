"""Statistics and schemas for tests, by few words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from google.protobuf import text_format

from serving.statistics.metadata import messages

Number = float | int


def schema(text: str) -> Any:
    return text_format.Parse(text, messages.Schema(), descriptor_pool=messages.pool)


def dataset(examples: int, *features: Any, name: str = "") -> Any:
    made = messages.DatasetFeatureStatistics(name=name, num_examples=examples)
    made.features.extend(features)
    return made


def listed(*datasets: Any) -> Any:
    made = messages.DatasetFeatureStatisticsList()
    made.datasets.extend(datasets)
    return made


def texts(name: str, counts: Mapping[str, Number], missing: int = 0, **more: Any) -> Any:
    """A feature of texts, each so often."""
    made = messages.FeatureNameStatistics(name=name, type=more.pop("type", 2))
    stats = made.string_stats
    stats.unique = len(counts)
    _common(stats.common_stats, int(sum(counts.values())), missing)
    ranked = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    for rank, (value, count) in enumerate(ranked):
        stats.rank_histogram.buckets.add(
            low_rank=rank, high_rank=rank, label=value, sample_count=count
        )
        stats.top_values.add(value=value, frequency=count)
    for field, value in more.items():
        setattr(stats, field, value)
    return made


def numbers(
    name: str, values: Sequence[Number] | Any, missing: int = 0, *, whole: bool = False
) -> Any:
    """A feature of these numbers, with both kinds of histogram, 10 buckets each; NaN is counted
    apart."""
    all_values = np.asarray(values, dtype=np.float64)
    known = all_values[~np.isnan(all_values)]
    finite = known[np.isfinite(known)]
    made = messages.FeatureNameStatistics(name=name, type=0 if whole else 1)
    stats = made.num_stats
    _common(stats.common_stats, len(all_values), missing)
    if len(known):
        stats.min, stats.max = float(known.min()), float(known.max())
        stats.num_zeros = int(np.count_nonzero(known == 0))
    nans = len(all_values) - len(known)
    if len(finite):
        counts, edges = np.histogram(finite, 10)
        histogram(stats, 0, edges, counts.tolist(), nans)
        edges = np.quantile(finite, np.linspace(0, 1, 11))
        histogram(stats, 1, edges, [len(finite) / 10] * 10, nans)
    return made


def histogram(
    stats: Any, kind: int, edges: Sequence[Number] | Any, counts: Sequence[Number], nans: int = 0
) -> None:
    made = stats.histograms.add(type=kind, num_nan=nans)
    for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True):
        made.buckets.add(low_value=float(low), high_value=float(high), sample_count=float(count))


def bucketed(
    name: str, kind: int, edges: Sequence[Number], counts: Sequence[Number], nans: int = 0
) -> Any:
    """A feature of floats by one histogram."""
    made = messages.FeatureNameStatistics(name=name, type=1)
    _common(made.num_stats.common_stats, int(sum(counts)) + nans, 0)
    made.num_stats.min, made.num_stats.max = float(edges[0]), float(edges[-1])
    histogram(made.num_stats, kind, edges, counts, nans)
    return made


def _common(common: Any, present: int, missing: int) -> None:
    common.num_non_missing, common.num_missing = present, missing
    if present:
        common.min_num_values = common.max_num_values = 1
        common.avg_num_values, common.tot_num_values = 1.0, present
    assert not math.isnan(common.avg_num_values)
