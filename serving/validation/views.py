"""What validation reads of a feature's statistics and of a dataset's.

Over messages of ``tensorflow.metadata.v0`` (typed ``Any``: their classes are made at run time).
Weights are not looked at. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from serving.validation import counts
from serving.validation.distances import Histogram

# FeatureNameStatistics.Type
INT, FLOAT, STRING, BYTES, STRUCT = range(5)
# Histogram.HistogramType
STANDARD, QUANTILES = range(2)
# FeatureType of a schema, for each of the types above.
SCHEMA_BYTES, SCHEMA_INT, SCHEMA_FLOAT, SCHEMA_STRUCT = 1, 2, 3, 4
SCHEMA_TYPES = {
    INT: SCHEMA_INT,
    FLOAT: SCHEMA_FLOAT,
    STRING: SCHEMA_BYTES,
    BYTES: SCHEMA_BYTES,
    STRUCT: SCHEMA_STRUCT,
}
_TYPES_BY_STATS = {
    None: STRUCT,
    "num_stats": FLOAT,
    "string_stats": STRING,
    "bytes_stats": BYTES,
    "struct_stats": STRUCT,
}
TYPE_NAMES = {1: "BYTES", 2: "INT", 3: "FLOAT", 4: "STRUCT"}

# The names of datasets whose features are a version's: what it was asked, and what it answered.
INPUTS, OUTPUTS = "inputs", "outputs"
# The slice that TFX keeps the whole of a dataset in, beside others.
_WHOLE = ("", "All Examples")

# What ``serving.statistics.draw`` says beyond TFX, in ``custom_stats``.
RANK_ERROR, TOP_VALUES, UNIQUE = "quantile_rank_error", "top_values", "unique"
MISTYPED, CUT = "mistyped", "cut_values"

LEAST_INT, MOST_INT = -(2**63), 2**63 - 1
_MOST_COUNTED = 1e18
# TFX makes 10 unless told otherwise; comparing two takes time by the product of their buckets.
_MOST_BUCKETS = 4096

Path = tuple[str, ...]


@dataclass(frozen=True)
class FeatureView:
    """``path``: its steps, one for a feature that is in no other. ``message``: its
    FeatureNameStatistics. ``output``: it is what a version answered. ``examples``: of its own
    dataset, where several are one. ``worth``: as how many independent ones an example counts.
    ``labels``: what its values are called, where they are classes."""

    path: Path
    message: Any
    output: bool = False
    examples: int | None = None
    worth: float = 1.0
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return ".".join(self.path)

    @property
    def type(self) -> int:
        """One of those above; of a later release's what its statistics are of."""
        found = int(self.message.type)
        return found if found in SCHEMA_TYPES else _TYPES_BY_STATS[self.message.WhichOneof("stats")]

    @property
    def numeric(self) -> bool:
        return self.type in (INT, FLOAT)

    @property
    def numbers(self) -> Any:
        """NumericStatistics, empty where there are none."""
        return self.message.num_stats

    @cached_property
    def common(self) -> Any:
        """CommonStatistics, of whatever kind of statistics there are."""
        kind = self.message.WhichOneof("stats")
        return getattr(self.message, kind or "num_stats").common_stats

    @property
    def present(self) -> float:
        return float(self.common.num_non_missing)

    @property
    def missing(self) -> float:
        return float(self.common.num_missing)

    @property
    def total_values(self) -> float:
        common = self.common
        return float(common.tot_num_values) or _count(self.present * common.avg_num_values)

    @property
    def value_counts(self) -> list[tuple[int, int]]:
        """The least and the most values an example has, of each level of nesting."""
        nested = self.common.presence_and_valency_stats
        return [(int(each.min_num_values), int(each.max_num_values)) for each in nested] or [
            (int(self.common.min_num_values), int(self.common.max_num_values))
        ]

    @property
    def missing_nested(self) -> list[int]:
        nested = self.common.presence_and_valency_stats
        return [int(each.num_missing) for each in nested] or [int(self.common.num_missing)]

    @cached_property
    def values(self) -> dict[str, float]:
        """Value -> how often it was counted; of texts, and of categorical numbers."""
        counted = _ranked(self.message.string_stats.rank_histogram.buckets)
        top = self.message.string_stats.top_values
        return counted or {each.value: _count(each.frequency) for each in top}

    def named(self, value: str) -> str:
        """A value as words name it: a class with what it is called, ``3 cat``."""
        label = self.labels.get(value)
        return value if label is None else f"{value} {label}"

    @property
    def unique(self) -> int | None:
        """How many different values; None where they aren't counted."""
        kind = self.message.WhichOneof("stats")
        if kind == "string_stats":
            return int(self.message.string_stats.unique)
        return int(self.message.bytes_stats.unique) if kind == "bytes_stats" else None

    @cached_property
    def integers(self) -> dict[str, float]:
        """Whole number -> how often it was counted, where there are quantiles of them as well: what
        TFX has no place for."""
        for custom in self.message.custom_stats:
            if custom.name == TOP_VALUES:
                return _ranked(custom.rank_histogram.buckets)
        return {}

    @property
    def unique_integers(self) -> int:
        return int(_count(self._custom(UNIQUE) or 0.0))

    @property
    def mistyped(self) -> float:
        """How many values are not of its type."""
        return _count(self._custom(MISTYPED) or 0.0)

    @property
    def cut(self) -> bool:
        """Some of its texts are there by their first bytes only."""
        return (self._custom(CUT) or 0.0) > 0

    def _custom(self, name: str) -> float | None:
        return next((each.num for each in self.message.custom_stats if each.name == name), None)

    @property
    def rank_error(self) -> float:
        """Of quantiles, as a share of all, exceeded once in a hundred times."""
        found = self._custom(RANK_ERROR) or 0.0
        return found if 0 < found < 1 else counts.RANK_ERROR

    @property
    def not_utf8(self) -> bool:
        return bool(self.message.string_stats.invalid_utf8_count > 0)

    @property
    def has_nan(self) -> bool:
        return any(histogram.num_nan > 0 for histogram in self.numbers.histograms)

    def histogram(self, kind: int) -> Histogram | None:
        """Of the kind STANDARD or QUANTILES; None where the statistics have none."""
        return self._histograms.get(kind)

    @cached_property
    def _histograms(self) -> dict[int, Histogram]:
        """By kind, of several the first; without one of very many buckets."""
        found: dict[int, Histogram] = {}
        for each in self.numbers.histograms:
            if len(each.buckets) <= _MOST_BUCKETS:
                found.setdefault(int(each.type), _read(each))
        return found


@dataclass(frozen=True)
class DatasetView:
    """``examples``: how many it has. ``features``: those of which something is known."""

    examples: int
    features: dict[Path, FeatureView]

    @classmethod
    def of(cls, statistics: Any) -> DatasetView:
        """Of DatasetFeatureStatistics, or of a list of them: its datasets ``inputs`` and
        ``outputs`` together (an output that has an input's name is ``outputs.NAME``), else the one
        that isn't a slice, else the first; an empty list has no examples. A view stays itself."""
        if isinstance(statistics, DatasetView):
            return statistics
        if statistics.DESCRIPTOR.name != "DatasetFeatureStatisticsList":
            return cls(int(statistics.num_examples), _features(statistics))
        named = {dataset.name: dataset for dataset in statistics.datasets}
        if INPUTS in named or OUTPUTS in named:
            return cls._joined([named[name] for name in (INPUTS, OUTPUTS) if name in named])
        for dataset in [named[name] for name in _WHOLE if name in named] or statistics.datasets:
            return cls(int(dataset.num_examples), _features(dataset))
        return cls(0, {})

    def labelled(self, labels: Mapping[str, Mapping[str, str]]) -> DatasetView:
        """With what values are called: feature -> value -> its label."""
        features = self.features.items()
        named = {
            path: replace(view, labels=labels[view.name]) if view.name in labels else view
            for path, view in features
        }
        return replace(self, features=named)

    @classmethod
    def _joined(cls, datasets: Sequence[Any]) -> DatasetView:
        features: dict[Path, FeatureView] = {}
        for dataset in datasets:
            output = dataset.name == OUTPUTS
            for path, view in _features(dataset).items():
                free = path if path not in features else (f"{OUTPUTS}.{path[0]}", *path[1:])
                features[free] = FeatureView(free, view.message, output, int(dataset.num_examples))
        return cls(max(int(dataset.num_examples) for dataset in datasets), features)


def _read(message: Any) -> Histogram:
    """Without buckets that can't be any."""
    bounds = [
        (each.low_value, each.high_value, _count(each.sample_count))
        for each in message.buckets
        if each.low_value <= each.high_value
    ]
    columns = np.array(bounds, dtype=np.float64).reshape(-1, 3)
    return Histogram(columns[:, 0], columns[:, 1], columns[:, 2], float(message.num_nan))


def _ranked(buckets: Any) -> dict[str, float]:
    """Of several with one label the first."""
    found: dict[str, float] = {}
    for bucket in buckets:
        found.setdefault(bucket.label, _count(bucket.sample_count))
    return found


def _count(number: float) -> float:
    """What a file says was counted; whatever it says, sums stay finite."""
    return min(max(number, 0.0), _MOST_COUNTED) if number == number else 0.0


def _features(dataset: Any) -> dict[Path, FeatureView]:
    structs = [each.name for each in dataset.features if each.type == STRUCT and each.name]
    known = [each for each in dataset.features if each.WhichOneof("stats")]
    paths = [tuple(each.path.step) or tuple(_steps(each.name, structs)) for each in known]
    return {path: FeatureView(path, each) for path, each in zip(paths, known, strict=True)}


def _steps(name: str, structs: Sequence[str]) -> Iterator[str]:
    """A feature ``a.b`` is ``b`` in ``a`` where ``a`` is a structure, and else has a dot in its
    name."""
    for struct in sorted(structs, key=len):
        if name.startswith(f"{struct}."):
            inner = [each[len(struct) + 1 :] for each in structs if each.startswith(f"{struct}.")]
            yield struct
            yield from _steps(name[len(struct) + 1 :], inner)
            return
    yield name
