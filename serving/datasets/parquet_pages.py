"""What the pages of a Parquet file become when they are unpacked, as their own heads have it.

A file's foot says it too, but a reader takes the memory that a page's head asks for. What heads say
stands in parquet.thrift in apache/parquet-format: PageHeader, DataPageHeader, DictionaryPageHeader,
DataPageHeaderV2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from serving.datasets.parquet_thrift import MOST_VALUES, Body, Reader, ThriftError

# Encodings: each text as it is, or the number of an entry of the dictionary.
_PLAIN, _PLAIN_DICTIONARY, _RLE_DICTIONARY = 0, 2, 8
_BY_DICTIONARY = frozenset((_PLAIN, _PLAIN_DICTIONARY, _RLE_DICTIONARY))
# Of a page's head: its sizes, and where its kind has (the number of values, their encoding).
_UNPACKED, _PACKED = 2, 3
_DATA, _DICTIONARY, _DATA_2 = 5, 7, 8
_ENCODING = {_DATA: 2, _DICTIONARY: 2, _DATA_2: 4}
_VALUES = 1
# Bytes that a value of a dictionary takes at least, by its physical type, and those that a reader
# notes of it besides.
_LEAST = {"INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8, "BYTE_ARRAY": 4}
_NOTED = 20
# Pages of a table, of which one holds 20,000 rows or 1 MiB where nobody says otherwise.
MOST_PAGES = 65_536


class PageError(ThriftError):
    """The file's pages are damaged, or too many, or say what can't be."""


@dataclass(slots=True)
class Column:
    """``unpacked``: bytes of all its pages; ``by_dictionary``: whether every text in them stands as
    it is or as an entry of a dictionary, so that none is made of parts of others. ``dictionary``,
    ``page``: bytes of the largest dictionary and of the largest page, which a reader holds at a
    time."""

    unpacked: int = 0
    by_dictionary: bool = True
    dictionary: int = 0
    page: int = 0

    def add(self, head: dict[int, Any]) -> None:
        size = head[_UNPACKED]
        self.unpacked += size
        self.by_dictionary &= _encoding(head) in _BY_DICTIONARY
        if _DICTIONARY in head:
            self.dictionary = max(self.dictionary, size + _NOTED * _values(head, _DICTIONARY))
        else:
            self.page = max(self.page, size)


def columns(
    body: Body,
    metadata: Any,
    most_pages: int | None = MOST_PAGES,
    most_values: int | None = MOST_VALUES,
) -> list[Column]:
    """Of each column of ``metadata`` (pyarrow's FileMetaData), in its order. ``most_pages``: that
    the file may have; ``most_values``: see ``Reader``.

    Raises PageError.
    """
    chunks = metadata.num_row_groups * metadata.num_columns
    _check(chunks, most_pages)
    found = [Column() for _ in range(metadata.num_columns)]
    pages, reader = 0, Reader(body, most_values=most_values)
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        for number, column in enumerate(found):
            for head in _heads(reader, len(body), row_group.column(number)):
                pages += 1
                _check(pages, most_pages)
                column.add(head)
    return found


def _check(pages: int, most: int | None) -> None:
    if most is not None and pages > most:
        raise PageError(f"it has more than {most} pages")


def _heads(reader: Reader, size: int, chunk: Any) -> Iterator[dict[int, Any]]:
    """As many as hold the values that the chunk says it has, which is where a reader ends."""
    at, first = chunk.data_page_offset, chunk.dictionary_page_offset
    if chunk.has_dictionary_page and first and 0 < first < at:
        at = first
    values, all_values, least = 0, chunk.num_values, _LEAST.get(chunk.physical_type, 0)
    while values < all_values:
        head, at = _head(reader, at)
        unpacked, packed = head.get(_UNPACKED, -1), head.get(_PACKED, -1)
        if unpacked < 0 or packed < 0 or at + packed > size:
            raise PageError("a page's sizes are wrong")
        at += packed
        values += _values(head, _DATA) + _values(head, _DATA_2)
        if values > all_values or least * _values(head, _DICTIONARY) > unpacked:
            raise PageError("a page has more values than there can be")
        yield head


def _head(reader: Reader, at: int) -> tuple[dict[int, Any], int]:
    try:
        return reader.struct(at)
    except ThriftError as error:
        raise PageError(f"a page's head: {error}") from None


def _values(head: dict[int, Any], kind: int) -> int:
    return max(int(_part(head, kind).get(_VALUES, 0)), 0)


def _part(head: dict[int, Any], kind: int) -> dict[int, Any]:
    found = head.get(kind)
    return found if isinstance(found, dict) else {}


def _encoding(head: dict[int, Any]) -> int:
    """Of a page that has none (an index): as if its texts stood as they are."""
    for kind, field in _ENCODING.items():
        if kind in head:
            return int(_part(head, kind).get(field, -1))
    return _PLAIN
