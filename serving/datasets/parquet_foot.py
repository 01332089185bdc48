"""What a Parquet file's foot becomes in the memory of who reads it.

An entry of a byte or four stands for a struct of hundreds, and there may be as many of them as the
foot says. Its fields stand in parquet.thrift in apache/parquet-format: FileMetaData, RowGroup.
"""

from __future__ import annotations

from serving.datasets.parquet_pages import MOST_PAGES
from serving.datasets.parquet_thrift import MOST_VALUES, Body, Reader, ThriftError

_MAGIC = b"PAR1"
# At the end of a file: the foot's length, and the magic.
_LENGTH, _END = 4, 8
# Lists of FileMetaData, and of each of its row groups.
_SCHEMA, _COLUMNS = (2,), (4, 0, 1)
# As many columns as a data frame may have, and their root.
_MOST_COLUMNS = 65_536
# Bytes in Arrow 26, and some more: of a column's part of a row group, with its statistics; of a
# column, in the schema's three forms; of any other struct; of any other element.
_CHUNK, _COLUMN, _STRUCT, _ELEMENT = 1024, 2048, 256, 64


class _Counted:
    def __init__(self, most_chunks: int | None) -> None:
        self.bytes = 0
        self._chunks, self._most_chunks = 0, most_chunks

    def add(self, path: tuple[int, ...], count: int, structs: bool) -> None:
        """Raises ThriftError."""
        each = _STRUCT if structs else _ELEMENT
        if path == _SCHEMA:
            each = _COLUMN
            if count > _MOST_COLUMNS + 1:
                raise ThriftError(f"it has more than {_MOST_COLUMNS} columns")
        elif path == _COLUMNS:
            each = _CHUNK
            self._chunks += count
            if self._most_chunks is not None and self._chunks > self._most_chunks:
                raise ThriftError(f"it has more than {self._most_chunks} pages")
        self.bytes += each * count


def bytes_of(
    body: Body, most_chunks: int | None = MOST_PAGES, most_values: int | None = MOST_VALUES
) -> int:
    """Bytes that a reader takes for the foot of the file ``body``; 0 where it is no file that has
    one, which a reader sees by itself. ``most_chunks``: columns' parts of row groups that it may
    have; ``most_values``: see ``Reader``.

    Raises ThriftError where it is damaged, or is of more than can be: 65,536 columns, or those.
    """
    size = size_of(body)
    if not size:
        return 0
    counted = _Counted(most_chunks)
    Reader(body, counted.add, most_values).struct(len(body) - _END - size)
    return counted.bytes + 2 * size


def size_of(body: Body) -> int:
    """Bytes of the foot itself; 0 where there is none."""
    # The magic at the file's beginning no reader looks at.
    end = bytes(body[at] for at in range(max(0, len(body) - _END), len(body)))
    size = int.from_bytes(end[:_LENGTH], "little")
    return size if end[_LENGTH:] == _MAGIC and size <= len(body) - _END else 0
