"""What the classes among the features are called, where a model has a file of labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from serving.observe.statistics.columns import CLASS
from serving.observe.statistics.known import Known

if TYPE_CHECKING:
    from serving.observe.figures import Key

# Characters of one, and the largest number that a class may have.
_LONGEST, _MOST = 256, 1 << 31

Labels = dict[str, dict[str, str]]


def labels_of(known: Known, key: Key, message: Any) -> Labels:
    """Feature -> one of its top values -> its label, of the classes that have any. ``message``: a
    ``DatasetFeatureStatisticsList``. Nothing of a version that is not loaded."""
    version = known.version(key)
    if version is None or version.queue is None:
        return {}
    classes, found = known.features(key).classes, Labels()
    for feature in (one for dataset in message.datasets for one in dataset.features):
        name = feature.name or ".".join(feature.path.step)
        if name not in classes:
            continue
        values = list(_numbers(feature))
        labels = version.queue.labels(name.removesuffix(CLASS), [int(one) for one in values])
        named = {
            value: label[:_LONGEST] for value, label in zip(values, labels, strict=True) if label
        }
        if named:
            found[name] = named
    return found


def _numbers(feature: Any) -> Iterator[str]:
    for top in feature.string_stats.top_values:
        value = str(top.value)
        if value.isascii() and value.isdecimal() and int(value) < _MOST:
            yield value
