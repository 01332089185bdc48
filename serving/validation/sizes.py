"""Whether a dataset has as many examples as the schema says. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from serving.validation.anomalies import Anomaly
from serving.validation.views import DatasetView


def sizes(dataset: DatasetView, previous: DatasetView | None, wanted: Any) -> Iterator[Anomaly]:
    """``wanted``: the schema's DatasetConstraints."""
    found = dataset.examples
    if wanted.HasField("min_examples_count") and found < wanted.min_examples_count:
        words = f"There are {found} examples: expected {wanted.min_examples_count} at least."
        yield Anomaly("DATASET_LOW_NUM_EXAMPLES", "Too few examples", words)
    if wanted.HasField("max_examples_count") and found > wanted.max_examples_count:
        words = f"There are {found} examples: expected {wanted.max_examples_count} at most."
        yield Anomaly("DATASET_HIGH_NUM_EXAMPLES", "Too many examples", words)
    if previous is not None and wanted.HasField("num_examples_drift_comparator"):
        yield from _against(found, previous.examples, wanted.num_examples_drift_comparator)


def _against(found: int, before: int, wanted: Any) -> Iterator[Anomaly]:
    words = f"There are {found} examples, and {before} in the window before: expected"
    most, least = wanted.max_fraction_threshold, wanted.min_fraction_threshold
    if wanted.HasField("max_fraction_threshold") and (before == 0 or found / before > most):
        words = f"{words} {most:g} times as many at most."
        yield Anomaly("COMPARATOR_HIGH_NUM_EXAMPLES", "Many more examples than before", words)
    if wanted.HasField("min_fraction_threshold") and before and found / before < least:
        words = f"{words} {least:g} times as many at least."
        yield Anomaly("COMPARATOR_LOW_NUM_EXAMPLES", "Many fewer examples than before", words)
