"""What the columns of files are: their types, and which lists are columns of their own.

Texts of a CSV file may be numbers, lists may all have one length: that is known once all of a file
was seen, before its statistics are begun.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from serving.statistics.features import (
    MOST_COLUMNS,
    PLAIN,
    Array,
    FeatureType,
    flat_row,
    is_missing,
)
from serving.statistics.reading_values import all_numbers, as_float, as_integer

_ANY = -1
_NUMBERS = {int, float, bool}
_WIDER = (FeatureType.INT, FeatureType.FLOAT, FeatureType.STRING)
# Images and the like; what TFX's statistics call BYTES.
_RAW = ("image_domain", "audio_domain", "video_domain")


@dataclass(slots=True)
class Column:
    """``kind``: None as long as all is missing. ``width``: of its lists, all of one length; 0: it
    has none; -1: they differ, or are nested."""

    kind: FeatureType | None = None
    width: int | None = None

    def see(self, array: Array) -> None:
        """``array``: a piece's values, the rows first."""
        if array.dtype.kind == "O" and array.ndim == 1:
            self._see_objects(array)
        else:
            self._seen_width(0 if array.ndim == 1 else array.shape[1] if array.ndim == 2 else _ANY)
            self._seen_type(_kind(array))

    def _seen_width(self, width: int) -> None:
        self.width = width if self.width in (None, width) else _ANY

    def _seen_type(self, found: FeatureType | None) -> None:
        if found is not None and (
            self.kind is None or _WIDER.index(found) > _WIDER.index(self.kind)
        ):
            self.kind = found

    def _see_objects(self, array: Array) -> None:
        """Of a column whose type can't get wider only the lists' lengths matter."""
        values = [one for one in array.tolist() if one is not None and one != ""]
        kinds = set(map(type, values))
        if kinds and kinds <= PLAIN:
            self._seen_width(0)
            if self.kind is not FeatureType.STRING:
                self._see_plain(values, kinds)
            return
        for one in values:
            if isinstance(one, list | tuple | np.ndarray):
                nested = any(isinstance(item, list | tuple | np.ndarray) for item in one)
                self._seen_width(_ANY if nested else len(one))
                if self.kind is not FeatureType.STRING:
                    for item in flat_row(one)[1]:
                        self._seen_type(_type_of(item))
            elif not is_missing(one):
                self._seen_width(0)
                if self.kind is not FeatureType.STRING:
                    self._seen_type(_type_of(one))

    def _see_plain(self, values: list[Any], kinds: set[type]) -> None:
        if kinds == {str}:
            for kind in (FeatureType.INT, FeatureType.FLOAT):
                if all_numbers(values, integers=kind is FeatureType.INT) is not None:
                    self._seen_type(kind)
                    return
        elif kinds <= _NUMBERS:
            self._seen_type(FeatureType.FLOAT if float in kinds else FeatureType.INT)
            return
        for one in values:
            self._seen_type(_type_of(one))
            if self.kind is FeatureType.STRING:
                return

    @property
    def splits(self) -> bool:
        return self.width is not None and 0 < self.width <= MOST_COLUMNS


def _kind(array: Array) -> FeatureType | None:
    kind = array.dtype.kind
    if kind in "biu":
        return FeatureType.INT
    if kind == "f":
        return FeatureType.FLOAT
    if kind == "O":
        found = Column()
        for one in array.flat:
            found._seen_type(_type_of(one))
        return found.kind
    return FeatureType.STRING


def _type_of(value: Any) -> FeatureType | None:
    """Of one value; a text may be that of a number."""
    if is_missing(value):
        return FeatureType.FLOAT if isinstance(value, float | np.floating) else None
    if isinstance(value, int | np.integer | np.bool_):
        return FeatureType.INT
    if isinstance(value, float | np.floating):
        return FeatureType.FLOAT
    if isinstance(value, str):
        if as_integer(value) is not None:
            return FeatureType.INT
        if as_float(value) is not None:
            return FeatureType.FLOAT
    return FeatureType.STRING


class Layout:
    """Of all files. ``texts_are_texts``: a text of a number is none: all but CSV say what is
    one."""

    def __init__(self) -> None:
        self.columns: dict[str, Column] = {}

    def see(self, piece: Mapping[str, Array], *, texts_are_texts: bool) -> None:
        for name, array in piece.items():
            column = self.columns.setdefault(name, Column())
            if texts_are_texts and column.kind is not FeatureType.STRING and _has_text(array):
                column.kind = FeatureType.STRING
            column.see(array)

    def features(self, piece: Mapping[str, Array]) -> dict[str, Array]:
        """Of a piece: lists that all have one length as columns ``NAME[i]``."""
        found: dict[str, Array] = {}
        for name, array in piece.items():
            column = self.columns.get(name)
            if column is None or not column.splits:
                found[name] = _as_rows(array)
            else:
                found |= _split(name, array, column.width or 0)
        return found

    def check(self) -> None:
        """Raises ValueError where two columns would be one feature: 'x[0]', and lists 'x'."""
        for name, column in self.columns.items():
            for at in range(column.width or 0) if column.splits else ():
                if (other := f"{name}[{at}]") in self.columns:
                    raise ValueError(
                        f"column '{other[:64]}' and the place {at} of the lists of column"
                        f" '{name[:64]}' would be one feature: give one of them another name"
                    )

    def types(self) -> dict[str, FeatureType]:
        """By feature."""
        found: dict[str, FeatureType] = {}
        for name, column in self.columns.items():
            kind = column.kind or FeatureType.STRING
            if column.splits:
                found |= {f"{name}[{at}]": kind for at in range(column.width or 0)}
            else:
                found[name] = kind
        return found


def _has_text(array: Array) -> bool:
    if array.dtype.kind in "US":
        return True
    if array.dtype.kind != "O":
        return False
    if (kinds := set(map(type, array.flat))) <= PLAIN:
        return bool(kinds & {str, bytes})
    return any(
        isinstance(item, str | bytes)
        for one in array.flat
        for item in (one if isinstance(one, list | tuple) else (one,))
    )


def _as_rows(array: Array) -> Array:
    return array.reshape(1) if array.ndim == 0 else array


def _split(name: str, array: Array, width: int) -> dict[str, Array]:
    """A row that has no list misses each of the columns."""
    if array.ndim == 2 and array.shape[1] == width:
        return {f"{name}[{at}]": array[:, at] for at in range(width)}
    rows = [one if isinstance(one, list | tuple | np.ndarray) else [None] * width for one in array]
    found = {}
    for at in range(width):
        column = np.empty(len(rows), object)
        column[:] = [row[at] for row in rows]
        found[f"{name}[{at}]"] = column
    return found


def schema_types(schema: Any) -> tuple[dict[str, FeatureType], set[str]]:
    """What a ``Schema`` says of its features: their types, and which integers are categories."""
    kinds = {1: FeatureType.STRING, 2: FeatureType.INT, 3: FeatureType.FLOAT}
    types: dict[str, FeatureType] = {}
    categorical = set()
    shared = {one.name: one for one in schema.int_domain}
    for feature in schema.feature:
        if (kind := kinds.get(feature.type)) is None:
            continue
        domain = feature.WhichOneof("domain_info")
        raw = kind is FeatureType.STRING and domain in _RAW
        types[feature.name] = FeatureType.BYTES if raw else kind
        named = shared.get(feature.domain) if domain == "domain" else None
        if (named or feature.int_domain).is_categorical:
            categorical.add(feature.name)
    return types, categorical
