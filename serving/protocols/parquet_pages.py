"""What the pages of a Parquet file become when they are unpacked, as their own heads have it.

A file's foot says it too, but a reader takes the memory that a page's head asks for. Heads are
Thrift's compact protocol (parquet.thrift in apache/parquet-format: PageHeader, DataPageHeader,
DictionaryPageHeader, DataPageHeaderV2).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# Encodings: each text as it is, or the number of an entry of the dictionary.
_PLAIN, _PLAIN_DICTIONARY, _RLE_DICTIONARY = 0, 2, 8
_BY_DICTIONARY = frozenset((_PLAIN, _PLAIN_DICTIONARY, _RLE_DICTIONARY))
# Of a page's head: its sizes, and where its kind has (the number of values, their encoding).
_UNPACKED, _PACKED = 2, 3
_DATA, _DICTIONARY, _DATA_2 = 5, 7, 8
_ENCODING = {_DATA: 2, _DICTIONARY: 2, _DATA_2: 4}
_VALUES = 1
# Thrift's types.
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _STRUCT = 1, 2, 3, 4, 5, 6, 7, 8, 12
_DEEPEST = 4
# Pages of a table, of which one holds 20,000 rows or 1 MiB where nobody says otherwise.
MOST_PAGES = 65_536


class PageError(ValueError):
    """The file is damaged, or of too many pages."""


@dataclass(slots=True)
class Column:
    """``unpacked``: bytes of all its pages; ``by_dictionary``: whether every text in them stands as
    it is or as an entry of a dictionary, so that none is made of parts of others."""

    unpacked: int = 0
    by_dictionary: bool = True


def columns(body: bytes, metadata: Any) -> list[Column]:
    """Of each column of ``metadata`` (pyarrow's FileMetaData), in its order.

    Raises PageError.
    """
    if metadata.num_row_groups * metadata.num_columns > MOST_PAGES:
        raise PageError(f"it has more than {MOST_PAGES} pages")
    found = [Column() for _ in range(metadata.num_columns)]
    pages = 0
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        for number, column in enumerate(found):
            for head in _heads(body, row_group.column(number)):
                pages += 1
                if pages > MOST_PAGES:
                    raise PageError(f"it has more than {MOST_PAGES} pages")
                column.unpacked += head[_UNPACKED]
                column.by_dictionary &= _encoding(head) in _BY_DICTIONARY
    return found


def _heads(body: bytes, chunk: Any) -> Iterator[dict[int, Any]]:
    """As many as hold the values that the chunk says it has, which is where a reader ends."""
    at, first = chunk.data_page_offset, chunk.dictionary_page_offset
    if chunk.has_dictionary_page and first and 0 < first < at:
        at = first
    values = 0
    while values < chunk.num_values:
        head, at = _struct(body, at)
        unpacked, packed = head.get(_UNPACKED, -1), head.get(_PACKED, -1)
        if unpacked < 0 or packed < 0 or at + packed > len(body):
            raise PageError("a page's sizes are wrong")
        at += packed
        for kind in (_DATA, _DATA_2):
            values += max(_part(head, kind).get(_VALUES, 0), 0)
        yield head


def _part(head: dict[int, Any], kind: int) -> dict[int, Any]:
    found = head.get(kind)
    return found if isinstance(found, dict) else {}


def _encoding(head: dict[int, Any]) -> int:
    """Of a page that has none (an index): as if its texts stood as they are."""
    for kind, field in _ENCODING.items():
        if kind in head:
            return int(_part(head, kind).get(field, -1))
    return _PLAIN


def _struct(body: bytes, at: int, depth: int = 0) -> tuple[dict[int, Any], int]:
    """The numbers of 32 bits and the structs in a struct by their fields, and where it ends."""
    found: dict[int, Any] = {}
    field = 0
    if depth > _DEEPEST:
        raise PageError("a page's head is nested too deep")
    while True:
        byte, at = _byte(body, at)
        if byte == 0:
            return found, at
        kind = byte & 15
        if byte >> 4:
            field += byte >> 4
        else:
            field, at = _number(body, at)
        if kind == _STRUCT:
            found[field], at = _struct(body, at, depth + 1)
        elif kind == _I32:
            number, at = _number(body, at)
            if not -(2**31) <= number < 2**31:
                raise PageError("a number in a page's head is out of range")
            found[field] = number
        else:
            at = _skipped(body, at, kind)


def _skipped(body: bytes, at: int, kind: int) -> int:
    if kind in (_TRUE, _FALSE):
        return at
    if kind == _BYTE:
        return at + 1
    if kind in (_I16, _I64):
        return _number(body, at)[1]
    if kind == _DOUBLE:
        return at + 8
    if kind == _BINARY:
        length, at = _varint(body, at)
        return at + length
    raise PageError("a page's head has a field of an unknown type")


def _number(body: bytes, at: int) -> tuple[int, int]:
    raw, at = _varint(body, at)
    return (raw >> 1) ^ -(raw & 1), at


def _varint(body: bytes, at: int) -> tuple[int, int]:
    found = 0
    for place in range(10):
        byte, at = _byte(body, at)
        found |= (byte & 127) << (7 * place)
        if byte < 128:
            return found, at
    raise PageError("a number in a page's head does not end")


def _byte(body: bytes, at: int) -> tuple[int, int]:
    if not 0 <= at < len(body):
        raise PageError("a page's head is cut off")
    return body[at], at + 1
