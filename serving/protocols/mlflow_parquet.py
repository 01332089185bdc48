"""Parquet in MLflow's scoring requests: a body becomes CSV, which the core reads as any other.

What a file holds is counted before it is unpacked: one of a few bytes may stand for any size.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from serving.errors import ErrorCode, ServingError

# Rows that are unpacked at a time.
_ROWS = 1024
_EXTRA = "serving[parquet]"


def to_csv(body: bytes, most: int) -> bytes:
    """The table in ``body``, with a line of names. ``most``: bytes that it may have as CSV.

    Raises ServingError: UNSUPPORTED_MEDIA_TYPE without pyarrow, BAD_REQUEST for what is no Parquet
    and for columns that are no column of CSV, TOO_LARGE.
    """
    try:
        import pyarrow as pa
    except ImportError:
        words = f"Parquet is not read here: it needs the extra {_EXTRA}; send CSV or JSON"
        raise ServingError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, words) from None
    try:
        return _written(body, most)
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise _unreadable("it is no Parquet file of plain columns", repr(error)) from None
    except MemoryError:
        raise ServingError(ErrorCode.FULL, "there is no memory for this table now") from None


def _written(body: bytes, most: int) -> bytes:
    import pyarrow as pa
    from pyarrow import csv, parquet

    opened = parquet.ParquetFile(pa.BufferReader(body))
    names = [field.name for field in opened.schema_arrow if _is_data(field.name)]
    # A cell takes a comma or the end of its line.
    if opened.metadata.num_rows * max(len(names), 1) > most:
        raise _too_large(most)
    for field in opened.schema_arrow:
        _check_plain(field)
    # Texts that repeat stay one until it is known what they take together.
    texts = [field.name for field in opened.schema_arrow if pa.types.is_string(field.type)]
    opened = parquet.ParquetFile(pa.BufferReader(body), read_dictionary=texts)
    out = io.BytesIO()
    writer: Any = None
    for batch in _batches(opened, names, most):
        writer = writer or csv.CSVWriter(out, batch.schema)
        writer.write_batch(batch)
        if out.tell() > most:
            raise _too_large(most)
    if writer is None:
        return ",".join(f'"{name}"'.replace("\n", " ") for name in names).encode()
    writer.close()
    return out.getvalue()


def _batches(opened: Any, names: list[str], most: int) -> Iterator[Any]:
    import pyarrow as pa

    for batch in opened.iter_batches(batch_size=_ROWS, columns=names):
        columns = [_decoded(column, most) for column in batch.columns]
        yield pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _decoded(column: Any, most: int) -> Any:
    import pyarrow as pa
    from pyarrow import compute

    if not pa.types.is_dictionary(column.type):
        return column
    lengths = compute.binary_length(column.dictionary).take(column.indices)
    if (compute.sum(lengths).as_py() or 0) > most:
        raise _too_large(most)
    return column.dictionary_decode()


def _is_data(name: str) -> bool:
    """pandas keeps an index that is no range as a column of its own."""
    return not name.startswith("__index_level_")


def _check_plain(field: Any) -> None:
    import pyarrow as pa

    kinds = pa.types
    plain = (
        kinds.is_boolean(field.type)
        or kinds.is_integer(field.type)
        or kinds.is_float32(field.type)
        or kinds.is_float64(field.type)
        or kinds.is_string(field.type)
        or kinds.is_large_string(field.type)
        or kinds.is_null(field.type)
    )
    if _is_data(field.name) and not plain:
        name = "".join(c if c.isprintable() else "?" for c in field.name[:64])
        raise _unreadable(f"column '{name}' is {field.type}, which is no plain column")


def _unreadable(why: str, detail: str = "") -> ServingError:
    words = (
        "Failed to parse input as a Pandas DataFrame. Ensure that the input is a valid Parquet"
        " Pandas DataFrame produced using the `pandas.DataFrame.to_parquet()` method. Error:"
        f" '{why}'"
    )
    return ServingError(ErrorCode.BAD_REQUEST, words, detail)


def _too_large(most: int) -> ServingError:
    words = f"the table takes more than {most} bytes as text (setting limits.max_message_bytes)"
    return ServingError(ErrorCode.TOO_LARGE, words)
