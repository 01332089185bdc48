"""By how much metrics grew while a model config list was taken: ``metric_names`` of a
``ReloadConfigRequest``, as TensorFlow Serving's model service answers them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from serving.errors import ErrorCode, ServingError

# Each is looked for in all that is measured.
MAX_NAMES = 64
MAX_NAME_BYTES = 255
# What counts the same here, by TensorFlow Serving's name as its own text form has it.
_SAME = {":tensorflow:serving:request_count": "serving_request_total"}

# A name, and its labels as they are written.
_Series = tuple[str, bytes]


def of(names: Iterable[str], scrape: Callable[[], bytes]) -> Callable[[], Mapping[str, int]]:
    """What tells the increases since now, by the names as they were asked: of all that a name
    counts, rounded down; 0 of a name that counts nothing. ``scrape``: all that is measured, in
    Prometheus' text form. Raises ServingError for more names, or longer ones, than may be."""
    asked = {name: _ours(name) for name in dict.fromkeys(names)}
    if not asked:
        return dict
    if len(asked) > MAX_NAMES or any(len(name.encode()) > MAX_NAME_BYTES for name in asked):
        raise ServingError(
            ErrorCode.BAD_REQUEST,
            f"'metric_names' may hold {MAX_NAMES} names of {MAX_NAME_BYTES} bytes each",
        )
    return partial(_increases, asked, _series(asked.values(), scrape()), scrape)


def _ours(name: str) -> str:
    shown = name.replace("/", ":")
    return _SAME.get(shown, shown)


def _increases(
    asked: Mapping[str, str], before: Mapping[_Series, float], scrape: Callable[[], bytes]
) -> Mapping[str, int]:
    """A series that has gone meanwhile, with its model, takes nothing away."""
    sums = dict.fromkeys(asked.values(), 0.0)
    for series, value in _series(asked.values(), scrape()).items():
        sums[series[0]] += value - before.get(series, 0)
    return {name: int(sums[ours]) for name, ours in asked.items()}


def _series(names: Iterable[str], text: bytes) -> dict[_Series, float]:
    either = "|".join(map(re.escape, names)).encode()
    found = re.findall(rb"^(%s)(\{.*\})? (\d\S*)$" % either, text, re.MULTILINE)
    return {(name.decode(), labels): float(value) for name, labels, value in found}
