"""The statistics that a version's live ones are held against: of the data it was trained on.

They lie in the version's folder, named by its manifest (``statistics.baseline``), and are checked
when it is published and when it is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from serving.datasets.files import located
from serving.datasets.pieces import SetError
from serving.statistics import files
from serving.statistics.metadata import FormatError, Kind

# What TFX calls the data set that is no slice, where it names it.
ALL_EXAMPLES = "All Examples"


def read_baseline(version_folder: Path, named: str, *, is_checked: bool = False) -> Any:
    """The ``DatasetFeatureStatistics`` of all examples in the file that the manifest names, which
    lies in the version's folder. ``is_checked``: it was good before. Raises FormatError, without a
    path."""
    try:
        path = located(version_folder, named, inside=True)
    except SetError as error:
        raise FormatError(str(error)) from None
    message = files.read(path, Kind.STATISTICS)
    return _all_examples(message) if is_checked else checked(message)


def why_unusable(version_folder: Path, named: str) -> str:
    """In words; "" where it can be used, or none is named."""
    if not named:
        return ""
    try:
        read_baseline(version_folder, named)
    except FormatError as error:
        return str(error)
    return ""


def checked(message: Any) -> Any:
    """The data set of all examples in a ``DatasetFeatureStatisticsList`` (the first, where none
    has that name), where statistics can be held against it. Raises FormatError for what no data
    has: features without a name or twice, more of them than examples, counts that are no
    numbers."""
    data = _all_examples(message)
    if not data.features:
        raise FormatError("it has no feature")
    seen: set[str] = set()
    for feature in data.features:
        name = feature.name or ".".join(feature.path.step)
        if not name:
            raise FormatError("a feature has no name")
        if name in seen:
            raise FormatError(f"feature '{name[:64]}' is there twice")
        seen.add(name)
        for wrong in _wrong(feature, data.num_examples):
            raise FormatError(f"feature '{name[:64]}': {wrong}")
    return data


def _all_examples(message: Any) -> Any:
    named = (one for one in message.datasets if one.name in ("", ALL_EXAMPLES))
    return next(named, message.datasets[0])


def _wrong(feature: Any, examples: int) -> Iterator[str]:
    which = feature.WhichOneof("stats")
    if which is None:
        yield "it has no statistics"
        return
    stats = getattr(feature, which)
    if stats.common_stats.num_non_missing > examples:
        yield f"{stats.common_stats.num_non_missing} of {examples} examples have it"
    if which == "num_stats":
        yield from _wrong_numbers(stats)
    elif which == "string_stats" and not all(one.frequency >= 0 for one in stats.top_values):
        yield "a value has a frequency that none can have"


def _wrong_numbers(stats: Any) -> Iterator[str]:
    if not stats.min <= stats.max:
        yield f"its least value is {stats.min:g}, its largest {stats.max:g}"
    for histogram in stats.histograms:
        for bucket in histogram.buckets:
            if not (bucket.sample_count >= 0 and bucket.low_value <= bucket.high_value):
                yield "a histogram has a bucket that none can have"
