"""What the classes among the features are called, where a model has a file of labels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from serving.observe.statistics.columns import CLASS
from serving.observe.statistics.known import Known
from serving.validation.views import DatasetView

if TYPE_CHECKING:
    from serving.observe.figures import Key

# Characters of one, and the largest number that a class may have.
_LONGEST, _MOST = 256, 1 << 31

Labels = dict[str, dict[str, str]]


def labels_of(known: Known, key: Key, message: Any) -> Labels:
    """Feature -> one of its top values -> its label, of the classes that have any. ``message``: a
    ``DatasetFeatureStatisticsList``. Nothing of a version that is not loaded."""
    features = (one for dataset in message.datasets for one in dataset.features)
    values = (
        (one.name or ".".join(one.path.step), [top.value for top in one.string_stats.top_values])
        for one in features
    )
    return _labels(known, key, values)


def labels_of_words(known: Known, key: Key, *statistics: Any) -> Labels:
    """The same of all values that are counted in any of ``statistics`` (as ``DatasetView.of``
    takes them; None: there are none), whichever a word may be said of. Nothing, at once, where the
    model has no file of labels."""
    version = known.version(key)
    config = version.facts.config if version is not None else None
    if config is None or all(output.labels is None for output in config.outputs):
        return {}
    values: dict[str, dict[str, None]] = {}
    for one in statistics:
        for view in DatasetView.of(one).features.values() if one is not None else ():
            values.setdefault(view.name, {}).update(dict.fromkeys(view.values))
    return _labels(known, key, values.items())


def _labels(known: Known, key: Key, values: Iterable[tuple[str, Iterable[str]]]) -> Labels:
    """``values``: of each feature, whichever it is."""
    version = known.version(key)
    if version is None or version.queue is None:
        return {}
    classes, found = known.features(key).classes, Labels()
    for name, given in values:
        if name not in classes:
            continue
        numbers = [value for value in given if _is_class(value)]
        labels = version.queue.labels(name.removesuffix(CLASS), [int(one) for one in numbers])
        named = {
            number: label[:_LONGEST] for number, label in zip(numbers, labels, strict=True) if label
        }
        if named:
            found[name] = named
    return found


def _is_class(value: str) -> bool:
    return value.isascii() and value.isdecimal() and int(value) < _MOST
