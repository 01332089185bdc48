"""What the features of data are: of a tensor, a batch of tensors, a piece of a file.

A feature is a named column; a column of a tensor of rank 2 that has at most 256 of them, named
``TENSOR[i]``; any other tensor is one feature. Its values are an array whose first axis are the
rows (examples). Missing is NaN, an empty text, or None; a row misses a feature where all that it
has of it is missing.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
MOST_COLUMNS = 256
# Of single values.
PLAIN = {str, bytes, int, float, bool, type(None)}
# Lists in lists, in a row of a file.
_MOST_NESTED = 32


class FeatureType(StrEnum):
    """TFX's types of a feature, but for structures. BYTES: what is no text, such as images."""

    INT = "INT"
    FLOAT = "FLOAT"
    STRING = "STRING"
    BYTES = "BYTES"


def columns_of(
    name: str, array: Array, shape: Sequence[int] | None = None, names: Sequence[str] = ()
) -> dict[str, Array]:
    """Features of one tensor.

    ``array``: rows first. ``shape``: as the model states it, -1 for what may vary: a second axis of
    any size (a text's tokens) has no columns; without it the array's own decides. ``names``: of the
    columns, where they have any. A tensor without an axis is one row.
    """
    if array.ndim != 2 or not _has_columns(array, shape):
        return {name: array.reshape(1) if array.ndim == 0 else array}
    if len(names) != array.shape[1]:
        names = [f"{name}[{at}]" for at in range(array.shape[1])]
    return {column: array[:, at] for at, column in enumerate(names)}


def of_tensors(
    tensors: Mapping[str, Array],
    shapes: Mapping[str, Sequence[int]] | None = None,
    names: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Array]:
    """Features of all tensors of a batch, or columns of a piece. ``shapes``, ``names``: of those
    tensors for which they are known, as ``columns_of`` takes them."""
    found: dict[str, Array] = {}
    for name, array in tensors.items():
        shape, columns = (shapes or {}).get(name), (names or {}).get(name, ())
        found |= columns_of(name, array, shape, columns)
    return found


def _has_columns(array: Array, shape: Sequence[int] | None) -> bool:
    if not 0 < array.shape[1] <= MOST_COLUMNS:
        return False
    return shape is None or (len(shape) == 2 and shape[1] > 0)


def unmatched(inputs: Sequence[str], features: Collection[str]) -> list[str]:
    """Inputs of a model of which none of the features is one, by its name."""
    tensors = {name.rpartition("[")[0] for name in features if name.endswith("]")}
    return [name for name in inputs if name not in features and name not in tensors]


def feature_type(array: Array) -> FeatureType:
    """By the array's dtype; of objects by the first few that are not missing. Truth is a number, as
    in TFX."""
    kind = array.dtype.kind
    if kind in "biu":
        return FeatureType.INT
    if kind == "f" or array.dtype.name.startswith(("bfloat", "float")):
        return FeatureType.FLOAT
    if kind == "O":
        return _type_of_objects(array)
    return FeatureType.STRING


def _type_of_objects(array: Array) -> FeatureType:
    found = FeatureType.INT
    seen = False
    for one in Flat.of(array[:1024]).values.tolist():
        if isinstance(one, float | np.floating):
            found = FeatureType.FLOAT
        elif not isinstance(one, int | np.integer | np.bool_):
            return FeatureType.STRING
        seen = True
    return found if seen else FeatureType.STRING


@dataclass(frozen=True, slots=True)
class Flat:
    """The values of a feature in some rows.

    ``values``: of the rows that have it, one after the other, one axis. ``lengths``: how many each
    of those rows has, one axis of integers. ``shapes``: of those rows' values -> how many have it.
    ``missing``: rows that have none; ``nans``: NaN in these. A NaN, or an empty text, beside values
    of the same row is kept.
    """

    values: Array
    lengths: Array
    shapes: Mapping[tuple[int, ...], int]
    missing: int
    nans: int = 0

    @classmethod
    def of(cls, array: Array) -> Flat:
        """``array``: rows first."""
        if array.dtype.kind == "O" and array.ndim == 1:
            return _of_objects(array)
        rows = array.shape[0]
        size = math.prod(array.shape[1:])
        # Not -1, which an array without values refuses.
        kept = array.reshape(rows, size)
        present = _present(kept)
        missing = rows - int(np.count_nonzero(present))
        # Where all of a row is missing, all of a float's row is NaN.
        nans = missing * size if array.dtype.kind not in "OUS" else 0
        if missing:
            nans = sum(map(_is_nan, kept[~present].flat)) if array.dtype.kind == "O" else nans
            kept = kept[present]
        lengths = np.full(rows - missing, size, np.int64)
        shapes = {tuple(array.shape[1:]): rows - missing} if rows > missing else {}
        return cls(kept.reshape(-1), lengths, shapes, missing, nans)


def _present(rows: Array) -> Array:
    """Which rows of a matrix have a value. One that has room for none has them all."""
    count, size = rows.shape
    kind = rows.dtype.kind
    if not size or kind in "biu":
        return np.ones(count, bool)
    if kind == "O":
        flat = rows.reshape(-1).tolist()
        has = np.fromiter((not is_missing(one) for one in flat), bool, len(flat))
        present: Array = np.any(has.reshape(rows.shape), axis=1)
        return present
    # Not "", not NaN.
    there = rows != rows.dtype.type() if kind in "US" else rows == rows
    some: Array = np.any(np.asarray(there), axis=1)
    return some


def is_missing(value: object) -> bool:
    """Whether one value says that there is none."""
    if value is None or (isinstance(value, str | bytes) and not value):
        return True
    return _is_nan(value)


def _is_nan(value: object) -> bool:
    return isinstance(value, float | np.floating) and bool(value != value)


def _of_singles(given: list[Any], kinds: set[type]) -> Flat:
    """Of single values of plain types, none of them a list."""
    has_nan = float in kinds
    values = [one for one in given if one is not None and one != "" and one != b""]
    kept = [one for one in values if one == one] if has_nan else values
    found = np.empty(len(kept), object)
    found[:] = kept
    shapes: dict[tuple[int, ...], int] = {(): len(kept)} if kept else {}
    missing, nans = len(given) - len(kept), len(values) - len(kept)
    return Flat(found, np.ones(len(kept), np.int64), shapes, missing, nans)


def _of_objects(array: Array) -> Flat:
    """Of single values, and of lists, which may differ in length."""
    given = array.tolist()
    kinds = set(map(type, given))
    if kinds <= PLAIN:
        return _of_singles(given, kinds)
    values: list[Any] = []
    lengths: list[int] = []
    shapes: dict[tuple[int, ...], int] = {}
    missing = nans = 0
    for one in given:
        many = isinstance(one, list | tuple | np.ndarray)
        shape, some = flat_row(one) if many else ((), [one])
        if some and all(map(is_missing, some)):
            missing += 1
            nans += sum(map(_is_nan, some))
            continue
        values += some
        lengths.append(len(some))
        shapes[shape] = shapes.get(shape, 0) + 1
    found = np.empty(len(values), object)
    found[:] = values
    return Flat(found, np.asarray(lengths, np.int64), shapes, missing, nans)


def flat_row(row: Any) -> tuple[tuple[int, ...], list[Any]]:
    """Its shape, -1 where lists of one level differ in length, and its values."""
    shape: list[int] = []
    level: list[Any] = list(row)
    shape.append(len(level))
    for _ in range(_MOST_NESTED):
        nested = [isinstance(one, list | tuple | np.ndarray) for one in level]
        if not any(nested):
            break
        sizes = {len(one) if many else -1 for one, many in zip(level, nested, strict=True)}
        shape.append(sizes.pop() if len(sizes) == 1 else -1)
        level = [
            value
            for one, many in zip(level, nested, strict=True)
            for value in (one if many else (one,))
        ]
    return tuple(shape), level
