"""Arrow's values as Python's own.

A text of a dictionary is made once, however many rows have it: in a file of 300 bytes all of a
million rows may have a text of a megabyte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from serving.datasets.pieces import SetError


def listed(values: Any) -> list[Any]:
    """Times that Python has no value for (nanoseconds, the year 10,000) as texts. Raises
    SetError."""
    from pyarrow import types

    kind = values.type
    if types.is_dictionary(kind):
        return _of_dictionary(values)
    if not _holds_dictionary(kind):
        return _plain(values)
    if types.is_struct(kind):
        return _structs(values)
    if types.is_map(kind):
        return _lists(values, partial(_pairs, values))
    if types.is_fixed_size_list(kind):
        return _fixed_lists(values)
    return _lists(values, lambda of: listed(of(values.values)))


def _holds_dictionary(kind: Any) -> bool:
    from pyarrow import types

    return types.is_dictionary(kind) or (
        types.is_nested(kind)
        and any(_holds_dictionary(kind.field(at).type) for at in range(kind.num_fields))
    )


def _of_dictionary(values: Any) -> list[Any]:
    """Only of those that these rows have: the dictionary may be that of many pieces."""
    import pyarrow as pa

    places = values.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
    used, at = np.unique(places, return_inverse=True)
    given = listed(values.dictionary.take(pa.array(used[used >= 0], pa.int64())))
    if len(given) < len(used):
        given = [None, *given]
    return [given[place] for place in at.tolist()]


def _pairs(values: Any, of: Callable[[Any], Any]) -> Iterable[tuple[Any, Any]]:
    return zip(listed(of(values.keys)), listed(of(values.items)), strict=True)


def _structs(values: Any) -> list[Any]:
    names = [field.name for field in values.type]
    columns = [listed(one) for one in values.flatten()]
    missing = values.is_null().to_pylist()
    rows = zip(*columns, strict=True)
    return [
        None if none else dict(zip(names, row, strict=True))
        for none, row in zip(missing, rows, strict=True)
    ]


def _lists(values: Any, flat: Callable[[Callable[[Any], Any]], Iterable[Any]]) -> list[Any]:
    """``flat``: what all lists hold, one after the other, of the part of a child that they are."""
    bounds = values.offsets.to_pylist()
    first, size = bounds[0], bounds[-1] - bounds[0]
    all_ = list(flat(lambda child: child.slice(first, size)))
    missing = values.is_null().to_pylist()
    return [
        None if none else all_[start - first : end - first]
        for none, start, end in zip(missing, bounds, bounds[1:], strict=False)
    ]


def _fixed_lists(values: Any) -> list[Any]:
    size, rest = values.type.list_size, iter(listed(values.flatten()))
    missing = values.is_null().to_pylist()
    return [None if none else list(islice(rest, size)) for none in missing]


def _plain(values: Any) -> list[Any]:
    import pyarrow as pa
    from pyarrow import types

    try:
        return list(values.to_pylist())
    except UnicodeDecodeError:
        raise SetError("a text in it is not UTF-8") from None
    except (ValueError, OverflowError) as error:
        if not types.is_temporal(values.type):
            raise SetError("it has a value that is not read of Parquet") from error
    whole = types.is_duration(values.type)
    return list(values.cast(pa.int64() if whole else pa.string()).to_pylist())
