"""What a Parquet file takes before its values come: its foot, a dictionary and a page a column.

A file of a few hundred bytes may say gigabytes of each, and a reader takes what they say. So it is
looked at first, in the file itself, whose size is no matter.
"""

from __future__ import annotations

import os
from io import BufferedReader
from typing import Any

from serving import machine
from serving.datasets import parquet_foot, parquet_pages
from serving.datasets.parquet_thrift import ThriftError
from serving.datasets.pieces import SetError

# Of a page, or a dictionary, unpacked: what writes files makes them of 1 MiB, some of 100 MB.
PAGE_BYTES = 256 * 1024 * 1024
# Of the memory that the process may use, for all of that.
_MEMORY_PART = 4
# A foot becomes no more than so many times its size: only larger ones are walked through.
_MOST_TIMES = 352
_READ_BYTES = 4096


class FileBytes:
    """A file's bytes by their places, a few of which are held. See ``Body``."""

    def __init__(self, file: BufferedReader) -> None:
        self._file = file.fileno()
        self._size = os.fstat(self._file).st_size
        self._first, self._held = 0, b""

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, at: int, /) -> int:
        """Raises ThriftError where the file ends by now."""
        if not self._first <= at < self._first + len(self._held):
            self._first, self._held = at, os.pread(self._file, _READ_BYTES, at)
            if not self._held:
                raise ThriftError("it is cut off")
        return self._held[at - self._first]


def check_foot(file: BufferedReader) -> None:
    """Before pyarrow reads it. Raises SetError."""
    body = FileBytes(file)
    most = _most_bytes()
    try:
        if parquet_foot.size_of(body) * _MOST_TIMES <= most:
            return
        size = parquet_foot.bytes_of(body, most_chunks=None, most_values=None)
    except ThriftError as error:
        raise _damaged(error) from None
    if size > most:
        raise _too_large("what it says of its columns takes", size, most)


def check_pages(file: BufferedReader, metadata: Any) -> None:
    """``metadata``: pyarrow's FileMetaData. Raises SetError."""
    try:
        columns = parquet_pages.columns(FileBytes(file), metadata, None, None)
    except ThriftError as error:
        raise _damaged(error) from None
    for number, column in enumerate(columns):
        if (size := max(column.dictionary, column.page)) > PAGE_BYTES:
            name = metadata.schema.column(number).path[:64]
            what = "a dictionary" if column.dictionary > PAGE_BYTES else "a page"
            raise SetError(
                f"{what} of column '{name}' takes {size:,} bytes unpacked, more than the"
                f" {PAGE_BYTES:,} that it may: write it with smaller pages"
            )
    size, most = sum(one.dictionary + one.page for one in columns), _most_bytes()
    if size > most:
        raise _too_large("a dictionary and a page of each column take", size, most)


def _most_bytes() -> int:
    return machine.usable_memory() // _MEMORY_PART


def _damaged(error: ThriftError) -> SetError:
    return SetError(f"it is not a Parquet file that can be read: {error}")


def _too_large(what: str, size: int, most: int) -> SetError:
    return SetError(
        f"{what} {size:,} bytes of memory, more than the {most:,} that they may, a quarter of what"
        " may be used here"
    )
