"""Values of a feature as what its type says they are."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from serving.statistics.features import Array, is_missing
from serving.statistics.packing import fields_of

_INTEGER = re.compile(r"\s*[+-]?[0-9]{1,19}\s*")
_FLOAT = re.compile(
    r"\s*[+-]?([0-9]+\.?[0-9]*([eE][+-]?[0-9]+)?|\.[0-9]+([eE][+-]?[0-9]+)?"
    r"|[nN][aA][nN]|[iI][nN][fF]([iI][nN][iI][tT][yY])?)\s*"
)
_NAN = re.compile(r"[+-]?nan", re.IGNORECASE)
# Characters of a text that no number of 64 bits needs.
_LONG = 64
_INT64 = np.iinfo(np.int64)
_UINT64 = np.iinfo(np.uint64)


def as_integer(text: str) -> int | None:
    """None: it is none, or none of 64 bits."""
    if _INTEGER.fullmatch(text) is None:
        return None
    found = int(text)
    return found if _INT64.min <= found <= _INT64.max else None


def as_float(text: str) -> float | None:
    return float(text) if _FLOAT.fullmatch(text) else None


def all_numbers(texts: list[str], *, integers: bool) -> Array | None:
    """What ``as_integer`` or ``as_float`` makes of each, at once; None where they have to be
    asked."""
    if max(map(len, texts), default=0) > _LONG:
        return None
    joined = "\n".join(texts)
    if not joined.isascii() or "_" in joined or "\0" in joined:
        return None  # which numpy takes for something else than these two do
    try:
        return np.asarray(texts, np.str_).astype(np.int64 if integers else np.float64)
    except (ValueError, OverflowError):
        return None


def with_nans(rows: Array) -> Array:
    """Rows of which some are texts of NaN (as a CSV file has them), with NaN instead, which is
    missing."""
    if rows.dtype.kind != "O" or rows.ndim != 1:
        return rows
    places = [at for at, one in enumerate(rows.tolist()) if isinstance(one, str) and _is_nan(one)]
    if not places:
        return rows
    found = rows.copy()
    found[places] = math.nan
    return found


def _is_nan(text: str) -> bool:
    return text[-1:] in ("n", "N") and _NAN.fullmatch(text) is not None


def numbers(values: Array, *, integers: bool) -> tuple[Array, int]:
    """Values of one axis as numbers, and how many of them are none (these, and what is missing, are
    left out). ``integers``: where all are, as int64 or uint64, else float64."""
    if values.dtype.kind in "biuf" or values.dtype.name.startswith(("bfloat", "float")):
        return values, 0
    given = [one for one in values.tolist() if one is not None and one != ""]
    if (at_once := _alike(given, integers=integers)) is not None:
        return at_once, 0
    found: list[Any] = []
    mistyped = 0
    for one in given:
        number = _number(one, integers=integers)
        if number is not None:
            found.append(number)
        elif not is_missing(one):
            mistyped += 1
    return _array(found), mistyped


def _alike(given: list[Any], *, integers: bool) -> Array | None:
    """The same at once, where all are of one type."""
    kinds = set(map(type, given))
    if kinds == {str}:
        return all_numbers(given, integers=integers)
    if kinds <= {int} or (kinds <= {int, float} and not integers):
        return _array(given)
    return None


def _number(one: Any, *, integers: bool) -> int | float | None:
    if isinstance(one, int | np.integer | np.bool_):
        return int(one)
    if isinstance(one, float | np.floating):
        return float(one)
    if isinstance(one, bytes):
        one = one[:64].decode("utf-8", "replace")
    if not isinstance(one, str):
        return None
    whole = as_integer(one) if integers else None
    return as_float(one) if whole is None else whole


def _array(found: list[Any]) -> Array:
    if all(isinstance(one, int) for one in found):
        low, high = min(found, default=0), max(found, default=0)
        if _INT64.min <= low and high <= _INT64.max:
            return np.asarray(found, np.int64)
        if low >= 0 and high <= _UINT64.max:
            return np.asarray(found, np.uint64)
    return np.asarray([_float(one) for one in found], np.float64)


def _float(one: Any) -> float:
    try:
        return float(one)
    except OverflowError:  # of an integer of a thousand digits
        return float("inf") if one > 0 else float("-inf")


@dataclass(slots=True)
class Lengths:
    """Of texts or bytes, in bytes (a text's: of UTF-8). ``invalid``: that were not UTF-8."""

    count: int = 0
    total: int = 0
    least: int = 0
    most: int = 0
    invalid: int = 0

    def add(self, length: int, count: int) -> None:
        self.least = min(self.least, length) if self.count else length
        self.most = max(self.most, length)
        self.count += count
        self.total += length * count

    def merge(self, other: Lengths) -> None:
        if other.count:
            self.least = min(self.least, other.least) if self.count else other.least
        self.most = max(self.most, other.most)
        self.count += other.count
        self.total += other.total
        self.invalid += other.invalid

    def facts(self) -> dict[str, Any]:
        return fields_of(self)


def texts(values: Array, lengths: Lengths) -> dict[str, int]:
    """Values of one axis as texts, each with how often it comes; their lengths are noted."""
    found: dict[str, int] = {}
    for one, count in _counted(values.tolist()):
        if one is None or one != one:
            continue
        if isinstance(one, bytes):
            text = one.decode("utf-8", "replace")
            lengths.add(len(one), count)
            lengths.invalid += 0 if _is_utf8(one) else count
        else:
            text = one if isinstance(one, str) else str(one)
            size = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
            lengths.add(size, count)
        found[text] = found.get(text, 0) + count
    return found


def _counted(some: list[Any]) -> Iterable[tuple[Any, int]]:
    try:
        return Counter(some).items()
    except TypeError:  # of what has no hash
        return Counter(map(str, some)).items()


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def many_bytes(values: Array, lengths: Lengths) -> dict[str, int]:
    """Values of one axis as bytes, each as a text of as many characters, with how often it
    comes."""
    found: dict[str, int] = {}
    for one, count in _counted(values.tolist()):
        if one is None or one != one:
            continue
        data = one if isinstance(one, bytes) else str(one).encode("utf-8", "replace")
        lengths.add(len(data), count)
        text = data.decode("latin-1")
        found[text] = found.get(text, 0) + count
    return found
