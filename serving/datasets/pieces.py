"""A piece of a file of examples: columns of at most so many rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
_RAGGED = "the lists of a column do not have the same length"
# Column -> its values: arrays with the rows first.
Piece = Mapping[str, Array]

# Of one piece of a file of arrays, and of a line of text.
PIECE_BYTES = 16 * 1024 * 1024
LINE_BYTES = 1024 * 1024
MOST_COLUMNS = 16_384
# Of an evaluation set: predictions of all of them are kept until they are judged.
MOST_EXAMPLES = 1_000_000


def _unheard(done: int, total: int) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Reading:
    """How a file is read. ``rows``: of a piece; fewer where they are large. ``most``: examples that
    it may have; None: any number. ``loose``: lists of one column may differ in length, and an
    object of JSON may lack a column; their places hold objects then, and None. ``progress`` hears
    of what is done and of the whole, both in rows or both in bytes."""

    rows: int = 1024
    most: int | None = MOST_EXAMPLES
    loose: bool = False
    progress: Callable[[int, int], None] = _unheard


STRICT = Reading()


class SetError(ValueError):
    """The file can't be used; the text says why, without a path."""


def rows_of(piece: Piece) -> int:
    return min((len(values) for values in piece.values()), default=0)


def cut(piece: Piece, start: int, end: int) -> Piece:
    """Its rows from ``start`` to ``end``."""
    return {name: values[start:end] for name, values in piece.items()}


def joined(piece: Piece, other: Piece) -> Piece:
    """The rows of one, and of the other. Raises SetError."""
    if piece.keys() != other.keys():
        name = min(piece.keys() ^ other.keys())
        raise SetError(f"its examples do not all have '{name[:64]}'")
    try:
        return {name: np.concatenate((piece[name], other[name])) for name in piece}
    except ValueError:
        raise SetError(_RAGGED) from None


def check_columns(names: list[str]) -> None:
    """Raises SetError where a name is given twice, or is no text, or there are too many."""
    if len(names) > MOST_COLUMNS:
        raise SetError(f"it has more than {MOST_COLUMNS:,} columns")
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise SetError(f"column '{twice[:64]}' is there twice")
    for name in names:
        if not name.isascii() and name.encode("utf-8", "replace").decode() != name:
            raise SetError(f"column {name[:64]!a}: the name is no text")


def column(values: list[Any], *, loose: bool = False) -> Array:
    """Values of one column as an array: numbers as numbers, all else as objects. ``loose``: so are
    lists that differ in length. Raises SetError."""
    if any(isinstance(one, str | bytes) for one in values):
        # As objects at once: among numpy's texts each takes as much as the longest.
        texts = (str(one) if isinstance(one, int | float) else one for one in values)
        return np.fromiter(texts, object, len(values))
    if _has_texts(values):
        return _texts(values, loose=loose)
    try:
        found = np.asarray(values)
    except ValueError:
        if loose:
            return objects(values)
        raise SetError(_RAGGED) from None
    except OverflowError:
        if loose:
            return objects(values)
        raise SetError("a number is too large") from None
    if found.dtype.kind in "biuf":
        return found
    return np.asarray(values, object) if found.dtype.kind == "O" else found.astype(object)


def _has_texts(values: Sequence[Any]) -> bool:
    """Whether any of the lists has a text, however deep."""
    kinds = set(map(type, values))
    if str in kinds or bytes in kinds:
        return True
    if list not in kinds and tuple not in kinds:
        return False
    return any(_has_texts(one) for one in values if isinstance(one, list | tuple))


def _texts(values: list[Any], *, loose: bool) -> Array:
    """Of lists with texts in them, as objects at once."""
    found = np.asarray(values, object)
    if not any(isinstance(one, list | tuple) for one in found.flat):
        return found
    if loose:
        return objects(values)
    raise SetError(_RAGGED)


def objects(values: list[Any]) -> Array:
    """One object for each, whatever they are."""
    found = np.empty(len(values), object)
    found[:] = values
    return found
