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
# Rows of texts that are made of parts of those before: each of a few bytes may have any size.
_JOINED, _JOINED_ROWS = "DELTA_BYTE_ARRAY", 64
_DICTIONARIES = frozenset({"RLE_DICTIONARY", "PLAIN_DICTIONARY"})
# What pyarrow does not read as it is held.
_DELTAS = frozenset({_JOINED, "DELTA_LENGTH_BYTE_ARRAY"})


def _rows(metadata: Any, most: int) -> int:
    """Of a piece, by the row group whose rows are the largest."""
    lists = [
        at for at in range(metadata.num_columns) if metadata.schema.column(at).max_repetition_level
    ]
    groups = (metadata.row_group(at) for at in range(metadata.num_row_groups))
    of_one = max((_size(one, lists) // max(1, one.num_rows) for one in groups), default=0)
    if any(_JOINED in _encodings(metadata, at) for at in range(metadata.num_columns)):
        most = min(most, _JOINED_ROWS)
    return int(max(1, min(most, PIECE_BYTES // max(1, of_one))))


def _size(group: Any, lists: list[int]) -> int:
    """Bytes of a row group. ``lists``: its columns of lists, of which a million values that are all
    the same may have a few bytes in the file."""
    values = sum(group.column(at).num_values for at in lists)
    return int(max(group.total_byte_size, values * _VALUE_BYTES))


def _batches(found: Any, step: int) -> Iterator[Any]:
    """Of one row group each: what lists hold once can't be read across two."""
    for group in range(found.num_row_groups):
        yield from found.iter_batches(step, row_groups=[group], use_threads=False)


def _texts(found: Any) -> list[str]:
    """Columns of texts and bytes that the file holds once, however many rows have them: read so,
    too, and told apart a piece at a time."""
    metadata = found.metadata
    columns = (metadata.schema.column(at) for at in range(metadata.num_columns))
    return [
        one.path
        for at, one in enumerate(columns)
        if one.physical_type == "BYTE_ARRAY" and _is_held_once(_encodings(metadata, at))
    ]


def _is_held_once(encodings: set[str]) -> bool:
    return not encodings.isdisjoint(_DICTIONARIES) and encodings.isdisjoint(_DELTAS)


def _encodings(metadata: Any, at: int) -> set[str]:
    """Of a column."""
    groups = (metadata.row_group(group) for group in range(metadata.num_row_groups))
    return {encoding for group in groups for encoding in group.column(at).encodings}


def _cut(batch: Any) -> Iterator[Any]:
    """Rows whose texts have ``PIECE_BYTES`` together, one at least, once each has its own."""
    ends = np.cumsum(sum(map(_text_bytes, batch.columns), np.zeros(batch.num_rows, np.int64)))
    at = 0
    while at < batch.num_rows:
        before = ends[at - 1] if at else 0
        end = max(at + 1, int(np.searchsorted(ends, before + PIECE_BYTES, "right")))
        yield batch.slice(at, end - at)
        at = end


def _text_bytes(values: Any) -> Array:
    """Of each row, once each has its own."""
    from pyarrow import compute, types

    kind = values.type
    if types.is_dictionary(kind) and _is_text(kind.value_type):
        lengths = compute.binary_length(values.dictionary).take(values.indices)
        found: Array = compute.fill_null(lengths, 0).to_numpy(zero_copy_only=False)
        return found.astype(np.int64)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_map(kind):
        ends = np.concatenate(([0], np.cumsum(_text_bytes(values.values))))
        offsets: Array = values.offsets.to_numpy()
        return np.diff(ends[offsets])
    nothing = np.zeros(len(values), np.int64)
    return sum(map(_text_bytes, values.flatten()), nothing) if types.is_struct(kind) else nothing


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    is_text = types.is_string(kind) or types.is_large_string(kind)
    return bool(is_text or types.is_binary(kind) or types.is_large_binary(kind))


def pieces(file: BufferedReader, reading: Reading = STRICT) -> Iterator[Piece]:
    """Raises SetError; ModuleNotFoundError without pyarrow."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        found = parquet.ParquetFile(file)
        check_columns(list(found.schema_arrow.names))
        step, total = _rows(found.metadata, reading.rows), found.metadata.num_rows
        texts = _texts(found)
        found = parquet.ParquetFile(file, metadata=found.metadata, read_dictionary=texts)
        done = 0
        for whole in _batches(found, step):
            for batch in _cut(whole):
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

    if types.is_dictionary(values.type):
        values = values.dictionary_decode()
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
