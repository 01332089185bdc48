"""Files of lines: CSV with a head, and one JSON object a line."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from io import BufferedReader
from typing import Any

from serving.datasets.pieces import (
    LINE_BYTES,
    PIECE_BYTES,
    STRICT,
    Piece,
    Reading,
    SetError,
    check_columns,
    column,
    objects,
)

# Of one piece of JSON: what it becomes takes up to thirty times as much.
_JSON_BYTES = PIECE_BYTES // 8
# Of one piece, there or missing: as many as the widest files have.
_MOST_VALUES = 1_000_000


def csv_pieces(file: BufferedReader, reading: Reading = STRICT) -> Iterator[Piece]:
    """Numbers stay texts until it is known what they are for. Raises SetError."""
    lines = _Record(_texts(file))
    rows = csv.reader(lines, strict=True)
    try:
        names = next(rows, None)
        lines.size = 0
        if not names:
            raise SetError("it has no head with the columns' names")
        check_columns(names)
        size = _size(file)
        while some := _few(_fitting(rows, lines, len(names)), _step(len(names), reading)):
            reading.progress(file.tell(), size)
            yield {name: objects([row[at] for row in some]) for at, name in enumerate(names)}
    except csv.Error as error:
        raise SetError(f"line {rows.line_num}: it is not CSV: {error}") from None


def _few(rows: Iterator[list[str]], most: int) -> list[list[str]]:
    """As many as make a piece."""
    found: list[list[str]] = []
    size = 0
    for row in rows:
        found.append(row)
        size += sum(map(len, row))
        if len(found) >= most or size >= PIECE_BYTES:
            break
    return found


class _Record:
    """Lines, of which those of one record, that quotes hold together, have no more than one line
    may have. Raises SetError."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self.size = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        found = next(self._lines)
        self.size += len(found)
        if self.size > LINE_BYTES:
            raise SetError(f"a row has more than {LINE_BYTES} bytes")
        return found


def _fitting(rows: Any, lines: _Record, columns: int) -> Iterator[list[str]]:
    for row in rows:
        lines.size = 0
        if not row:
            continue
        if len(row) != columns:
            words = f"line {rows.line_num}: {len(row)} values, and the head names {columns}"
            raise SetError(words)
        yield row


def _step(columns: int, reading: Reading) -> int:
    return max(1, min(reading.rows, _MOST_VALUES // max(1, columns)))


def _size(file: BufferedReader) -> int:
    return os.fstat(file.fileno()).st_size


def json_pieces(file: BufferedReader, reading: Reading = STRICT) -> Iterator[Piece]:
    """Raises SetError."""
    lines, size = _json(file), _size(file)
    while some := _some(lines, reading.rows):
        names = list(dict.fromkeys(name for one in some for name in one))
        check_columns(names)
        if not reading.loose:
            _check_same(some)
        reading.progress(file.tell(), size)
        yield {name: column([one.get(name) for one in some], loose=reading.loose) for name in names}


def _check_same(some: list[dict[str, Any]]) -> None:
    for one in some:
        if one.keys() != some[0].keys():
            other = min(one.keys() ^ some[0].keys())
            raise SetError(f"its objects do not all have '{other[:64]}'")


def _json(file: BufferedReader) -> Iterator[dict[str, Any]]:
    for number, text in enumerate(_texts(file), 1):
        if not text.strip():
            continue
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            raise SetError(f"line {number}: it is not JSON") from None
        if not isinstance(found, dict):
            raise SetError(f"line {number}: it is no object")
        yield _Sized(found, len(text))


class _Sized(dict[str, Any]):
    """``size``: characters of its line."""

    def __init__(self, found: dict[str, Any], size: int) -> None:
        super().__init__(found)
        self.size = size


def _some(lines: Iterator[dict[str, Any]], rows: int) -> list[dict[str, Any]]:
    """As many as make a piece: objects with other names each take a place in all columns."""
    found: list[dict[str, Any]] = []
    names: set[str] = set()
    size = 0
    for one in lines:
        found.append(one)
        names.update(one)
        size += one.size if isinstance(one, _Sized) else 0
        is_large = size >= _JSON_BYTES or len(found) * len(names) >= _MOST_VALUES
        if is_large or len(found) >= rows:
            break
    return found


def _texts(file: BufferedReader) -> Iterator[str]:
    """Lines, none longer than ``LINE_BYTES``. Raises SetError."""
    first = True
    while data := file.readline(LINE_BYTES + 1):
        if len(data) > LINE_BYTES:
            raise SetError(f"a line has more than {LINE_BYTES} bytes")
        try:
            yield data.decode("utf-8-sig" if first else "utf-8")
        except UnicodeDecodeError:
            raise SetError("it is not UTF-8") from None
        first = False
