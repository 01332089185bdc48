"""Parquet files, a piece of a row group at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from io import BufferedReader
from typing import Any

import numpy as np

from serving.datasets.arrow_values import listed
from serving.datasets.parquet_bounds import check_foot, check_pages
from serving.datasets.pieces import (
    PIECE_BYTES,
    STRICT,
    Array,
    Piece,
    Reading,
    SetError,
    check_columns,
    column,
)

# Of a value in a list, once it is Python's.
_VALUE_BYTES = 16
# Rows at a time where texts are made of parts of others: how long they are is known once they are
# made.
_FEW = 32


def _rows(metadata: Any, most: int) -> int:
    """Of a piece, by the row group whose rows are the largest."""
    schema = metadata.schema
    each = {
        at: max(schema.column(at).length, _VALUE_BYTES if _is_list(schema.column(at)) else 0)
        for at in range(metadata.num_columns)
    }
    each = {at: size for at, size in each.items() if size}
    groups = (metadata.row_group(at) for at in range(metadata.num_row_groups))
    of_one = max((_size(one, each) // max(1, one.num_rows) for one in groups), default=0)
    return int(max(1, min(most, PIECE_BYTES // max(1, of_one))))


def _is_list(column: Any) -> bool:
    return bool(column.max_repetition_level)


def _size(group: Any, each: Mapping[int, int]) -> int:
    """Bytes of a row group. ``each``: of a value, by columns of which a million values that are all
    the same may have a few bytes in the file: those of lists, and of bytes of one length."""
    values = sum(group.column(at).num_values * size for at, size in each.items())
    return int(max(group.total_byte_size, values))


def _encoded(metadata: Any, encoding: str) -> set[int]:
    """The columns that have pages in an encoding of Parquet's."""
    groups = (metadata.row_group(at) for at in range(metadata.num_row_groups))
    columns = range(metadata.num_columns)
    return {at for one in groups for at in columns if encoding in one.column(at).encodings}


def _texts(metadata: Any, but: Collection[int]) -> list[Any]:
    """The columns whose values may be read as places in a dictionary, so that those that are the
    same are there once."""
    columns = [metadata.schema.column(at) for at in range(metadata.num_columns) if at not in but]
    return [
        one
        for one in columns
        if one.physical_type == "BYTE_ARRAY" and one.logical_type.type != "DECIMAL"
    ]


def _batches(file: BufferedReader, metadata: Any, rows: int) -> Iterator[Any]:
    """Of as many rows at most, in order."""
    from pyarrow import parquet

    parts = _encoded(metadata, "DELTA_BYTE_ARRAY")
    # Neither these nor those whose lengths go before them does pyarrow read as places.
    texts = _texts(metadata, parts | _encoded(metadata, "DELTA_LENGTH_BYTE_ARRAY"))
    found = parquet.ParquetFile(
        file, metadata=metadata, read_dictionary=[one.path for one in texts]
    )
    few = min(rows, _FEW) if parts else rows
    # Within lists and the like a batch has one dictionary, and each row group its own.
    alone = any(one.path != one.name or one.max_repetition_level for one in texts)
    groups = [[at] for at in range(metadata.num_row_groups)] if alone else [None]
    for group in groups:
        batches = found.iter_batches(batch_size=few, row_groups=group, use_threads=False)
        yield from _gathered(batches, rows) if parts else batches


def _gathered(batches: Iterable[Any], rows: int) -> Iterator[Any]:
    """Joined to as many rows, or as many as take the bytes of a piece."""
    import pyarrow as pa

    held: list[Any] = []
    for batch in batches:
        held.append(batch)
        enough = sum(one.num_rows for one in held) >= rows
        if enough or sum(one.nbytes for one in held) >= PIECE_BYTES:
            yield from pa.Table.from_batches(held).combine_chunks().to_batches()
            held = []
    if held:
        yield from pa.Table.from_batches(held).combine_chunks().to_batches()


def pieces(file: BufferedReader, reading: Reading = STRICT) -> Iterator[Piece]:
    """Raises SetError; ModuleNotFoundError without pyarrow."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        check_foot(file)
        metadata = parquet.read_metadata(file)
        check_columns(list(metadata.schema.to_arrow_schema().names))
        check_pages(file, metadata)
        done, step = 0, _rows(metadata, reading.rows)
        for batch in _batches(file, metadata, step):
            done += batch.num_rows
            reading.progress(done, metadata.num_rows)
            yield {
                name: _column(values, loose=reading.loose)
                for name, values in zip(batch.schema.names, batch.columns, strict=True)
            }
    except pa.ArrowInvalid as error:
        raise SetError("it is not a Parquet file that can be read") from error
    except (pa.ArrowException, pa.ArrowNotImplementedError) as error:
        raise SetError("it has what is not read of Parquet") from error


def _column(values: Any, *, loose: bool) -> Array:
    """As ``column`` has it of the values one by one, but at once where all of them are numbers."""
    from pyarrow import types

    plain = types.is_integer(values.type) or types.is_float32(values.type)
    if values.null_count or not (plain or types.is_float64(values.type)):
        return column(listed(values), loose=loose)
    found: Array = values.to_numpy(zero_copy_only=False)
    if found.dtype.kind == "f":
        return found.astype(np.float64)
    large = found.dtype == np.uint64 and found.max(initial=0) > np.iinfo(np.int64).max
    return found if large else found.astype(np.int64)
