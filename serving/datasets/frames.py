"""Parquet files, a piece of a row group at a time."""

from __future__ import annotations

from collections.abc import Iterator
from io import BufferedReader
from typing import Any

import numpy as np

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


def _rows(metadata: Any, most: int) -> int:
    """Of a piece, by the row group whose rows are the largest."""
    lists = [
        at for at in range(metadata.num_columns) if metadata.schema.column(at).max_repetition_level
    ]
    groups = (metadata.row_group(at) for at in range(metadata.num_row_groups))
    of_one = max((_size(one, lists) // max(1, one.num_rows) for one in groups), default=0)
    return int(max(1, min(most, PIECE_BYTES // max(1, of_one))))


def _size(group: Any, lists: list[int]) -> int:
    """Bytes of a row group. ``lists``: its columns of lists, of which a million values that are all
    the same may have a few bytes in the file."""
    values = sum(group.column(at).num_values for at in lists)
    return int(max(group.total_byte_size, values * _VALUE_BYTES))


def pieces(file: BufferedReader, reading: Reading = STRICT) -> Iterator[Piece]:
    """Raises SetError; ModuleNotFoundError without pyarrow."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        found = parquet.ParquetFile(file)
        check_columns(list(found.schema_arrow.names))
        step, total = _rows(found.metadata, reading.rows), found.metadata.num_rows
        done = 0
        for batch in found.iter_batches(batch_size=step, use_threads=False):
            done += batch.num_rows
            reading.progress(done, total)
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
        return column(_listed(values), loose=loose)
    found: Array = values.to_numpy(zero_copy_only=False)
    if found.dtype.kind == "f":
        return found.astype(np.float64)
    large = found.dtype == np.uint64 and found.max(initial=0) > np.iinfo(np.int64).max
    return found if large else found.astype(np.int64)


def _listed(values: Any) -> list[Any]:
    """As Python's own values; times that it has none for (nanoseconds, the year 10,000) as texts.
    Raises SetError."""
    import pyarrow as pa
    from pyarrow import types

    try:
        return list(values.to_pylist())
    except UnicodeDecodeError:
        raise SetError("a text in it is not UTF-8") from None
    except (ValueError, OverflowError) as error:
        if not types.is_temporal(values.type):
            raise SetError("it has a value that is not read of Parquet") from error
    whole = types.is_duration(values.type)
    return list(values.cast(pa.int64() if whole else pa.string()).to_pylist())
