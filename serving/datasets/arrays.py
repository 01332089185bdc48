"""Files of numpy arrays: each array is a column, its first axis the examples."""

from __future__ import annotations

import lzma
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from io import BufferedReader
from math import prod
from typing import IO, NamedTuple

import numpy as np

from serving.datasets.pieces import (
    PIECE_BYTES,
    STRICT,
    Array,
    Piece,
    Reading,
    SetError,
    check_columns,
)

# Of an array's head, which numpy reads as long as it says it is: up to 4 GiB.
_MOST_HEAD = 64 * 1024
_READ_HEADER = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class _Bounded:
    """A stream of which no more than so many bytes are read at once."""

    def __init__(self, stream: IO[bytes], most: int) -> None:
        self._stream, self._most = stream, most

    def read(self, size: int = -1, /) -> bytes:
        """Raises ValueError."""
        if not 0 <= size <= self._most:
            raise ValueError(f"more than {self._most} bytes")
        return self._stream.read(size)


class _Column(NamedTuple):
    """An array whose head has been read. ``row_bytes``: of one example."""

    name: str
    stream: IO[bytes]
    rows: int
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]

    @property
    def row_bytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize


def pieces(file: BufferedReader, reading: Reading = STRICT) -> Iterator[Piece]:
    """Raises SetError."""
    try:
        with ExitStack() as stack:
            archive = stack.enter_context(zipfile.ZipFile(file))  # file: opened already
            columns = _columns(archive, stack)
            yield from _pieces(columns, reading)
    except (
        *(zipfile.BadZipFile, zlib.error, struct.error, EOFError),
        *(NotImplementedError, RuntimeError, lzma.LZMAError),
    ) as error:
        # The last three: a compression that is not known, or a password.
        raise SetError("it is not a numpy file of plain arrays") from error


def _columns(archive: zipfile.ZipFile, stack: ExitStack) -> list[_Column]:
    entries = [one for one in archive.namelist() if not one.endswith("/")]
    names = [one.removesuffix(".npy") for one in entries]
    check_columns(names)
    found = [
        _opened(name, stack.enter_context(archive.open(entry)))  # file: part of one that is open
        for name, entry in zip(names, entries, strict=True)
    ]
    if not found:
        raise SetError("it holds no array")
    counts = {one.rows for one in found}
    if len(counts) > 1:
        raise SetError(f"its arrays do not have as many rows as each other: {sorted(counts)[:4]}")
    if sum(one.row_bytes for one in found) > PIECE_BYTES:
        raise SetError(f"a row of its arrays has more than {PIECE_BYTES} bytes")
    if counts != {0} and not any(one.row_bytes for one in found):
        # Nothing would say how many of them there really are.
        raise SetError("its rows have no values")
    return found


def _opened(name: str, stream: IO[bytes]) -> _Column:
    try:
        read_header = _READ_HEADER[np.lib.format.read_magic(stream)]
        shape, by_columns, dtype = read_header(_Bounded(stream, _MOST_HEAD))
    except (ValueError, KeyError) as error:
        raise SetError(f"array '{name[:64]}' is not one of plain values") from error
    if dtype.hasobject:
        raise SetError(f"array '{name[:64]}' holds objects, which are not read")
    if dtype.kind not in "biufUS":
        raise SetError(f"array '{name[:64]}' holds neither numbers nor texts")
    if any(size < 0 for size in shape):
        raise SetError(f"array '{name[:64]}' is not one of plain values")
    if not shape or (by_columns and len(shape) > 1):
        raise SetError(f"array '{name[:64]}' has no rows first: save it in C order")
    column = _Column(name, stream, shape[0], tuple(shape[1:]), dtype)
    if column.row_bytes > PIECE_BYTES:
        raise SetError(f"a row of '{name[:64]}' has more than {PIECE_BYTES} bytes")
    return column


def _pieces(columns: list[_Column], reading: Reading) -> Iterator[Piece]:
    most = max(1, sum(column.row_bytes for column in columns))
    step = max(1, min(reading.rows, PIECE_BYTES // most))
    left = total = columns[0].rows
    while left > 0:
        rows = min(step, left)
        left -= rows
        reading.progress(total - left, total)
        yield {column.name: _read(column, rows) for column in columns}


def _read(column: _Column, rows: int) -> Array:
    wanted = rows * column.row_bytes
    data = column.stream.read(wanted)
    if len(data) < wanted:
        raise SetError(f"array '{column.name[:64]}' ends early")
    shape = (rows, *column.shape)
    if not wanted:
        return np.zeros(shape, column.dtype)
    found = np.frombuffer(data, column.dtype).reshape(shape)
    if found.dtype.kind == "S":
        return np.char.decode(found, "utf-8", "replace").astype(object)
    if found.dtype.kind == "U":
        letters = found.reshape(-1).view(np.dtype("u4").newbyteorder(found.dtype.byteorder))
        if letters.max() > sys.maxunicode:
            raise SetError(f"array '{column.name[:64]}' holds a text that is none")
        return found.astype(object)
    return found
