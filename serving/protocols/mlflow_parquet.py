"""Parquet in MLflow's scoring requests: a body becomes CSV, which the core reads as any other.

What a file holds is counted before it is unpacked: one of a few bytes may stand for any size.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from serving.datasets import parquet_foot, parquet_pages
from serving.datasets.parquet_thrift import ThriftError
from serving.errors import ErrorCode, ServingError

# Rows that are unpacked at a time, and bytes that a number takes with its text.
_ROWS = 1024
_NUMBER = 32
_EXTRA = "serving[parquet]"


@dataclass(frozen=True, slots=True)
class Terms:
    """``most``: bytes that a table may have unpacked, and as CSV; ``hold``: counts that many more
    bytes and says whether there is room for them; ``is_awaited``: whether anybody still waits."""

    most: int
    hold: Callable[[int], bool] = lambda _: True
    is_awaited: Callable[[], bool] = lambda: True

    def take(self, more: int) -> None:
        if not self.hold(more):
            raise ServingError(ErrorCode.FULL, "there is no memory for this table now")


def to_csv(body: bytes, terms: Terms) -> bytes:
    """The table in ``body``, with a line of names.

    Raises ServingError: UNSUPPORTED_MEDIA_TYPE without pyarrow, BAD_REQUEST for what is no Parquet
    and for columns that are no column of CSV, TOO_LARGE, FULL, and EXPIRED where nobody
    waits any more.
    """
    try:
        import pyarrow as pa
    except ImportError:
        words = f"Parquet is not read here: it needs the extra {_EXTRA}; send CSV or JSON"
        raise ServingError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, words) from None
    try:
        return _written(body, terms)
    except ThriftError as error:
        raise _unreadable(str(error)) from None
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise _unreadable("it is no Parquet file of plain columns", repr(error)) from None
    except MemoryError:
        raise ServingError(ErrorCode.FULL, "there is no memory for this table now") from None


def _written(body: bytes, terms: Terms) -> bytes:
    import pyarrow as pa
    from pyarrow import csv

    opened, names, rows = _opened(body, terms)
    fields = [_field(field) for field in opened.schema_arrow if _is_data(field.name)]
    out = io.BytesIO()
    # It writes the names at once.
    writer: Any = csv.CSVWriter(out, pa.schema(fields))
    largest = 0
    for batch in opened.iter_batches(batch_size=rows, columns=names, use_threads=False):
        if not terms.is_awaited():
            raise ServingError(ErrorCode.EXPIRED, "nobody waits for this table any more")
        texts, cells, before = _text_bytes(batch), batch.num_rows * len(names), out.tell()
        if before + texts + cells > terms.most:
            raise _too_large(terms.most)
        # Texts are there as they are, and written, with every quote doubled at most.
        needed = 3 * texts + _NUMBER * cells
        terms.take(max(needed - largest, 0))
        largest = max(needed, largest)
        writer.write_batch(_decoded(batch, fields))
        if out.tell() > terms.most:
            raise _too_large(terms.most)
        terms.take(out.tell() - before)
    writer.close()
    return out.getvalue()


def _opened(body: bytes, terms: Terms) -> tuple[Any, list[str], int]:
    """The file, which is counted; the names of its data; and how many rows may be unpacked at a
    time."""
    import pyarrow as pa
    from pyarrow import parquet

    # Its foot becomes hundreds of times its size.
    terms.take(parquet_foot.bytes_of(body))
    opened = parquet.ParquetFile(pa.BufferReader(body))
    # Each look at the file's makes another one.
    schema = opened.schema_arrow
    names = [field.name for field in schema if _is_data(field.name)]
    # A cell takes a comma or the end of its line.
    if opened.metadata.num_rows * max(len(names), 1) > terms.most:
        raise _too_large(terms.most)
    for field in schema:
        _check_plain(field)
    if len(set(names)) < len(names):
        raise _unreadable("a column's name is there twice")
    columns = parquet_pages.columns(body, opened.metadata)
    unpacked = sum(column.unpacked for column in columns)
    if unpacked > terms.most:
        raise _too_large(terms.most)
    terms.take(unpacked)
    # Texts that repeat stay one until it is known what they take together. Where they are made of
    # parts of others that cannot be had: each may be as long as all of its column.
    paths = (opened.schema.column(number).path for number in range(len(columns)))
    by_path = dict(zip(paths, columns, strict=True))
    texts = [
        field.name
        for field in schema
        if _is_data(field.name) and (_is_text(field.type) or _is_bytes(field.type))
    ]
    entries = [name for name in texts if by_path[name].by_dictionary]
    joined = sum(by_path[name].unpacked for name in texts if not by_path[name].by_dictionary)
    foot = opened.metadata
    opened = parquet.ParquetFile(pa.BufferReader(body), metadata=foot, read_dictionary=entries)
    row = max(joined, _NUMBER * len(names), 1)
    return opened, names, max(1, min(_ROWS, terms.most // row))


def _text_bytes(batch: Any) -> int:
    """Of the texts in ``batch``, each as often as it is there, and of bytes in base64."""
    import pyarrow as pa
    from pyarrow import compute

    size = 0
    for column in batch.columns:
        if pa.types.is_dictionary(column.type):
            lengths = compute.binary_length(column.dictionary).take(column.indices)
        elif _is_text(column.type) or _is_bytes(column.type):
            lengths = compute.binary_length(column)
        else:
            continue
        length = compute.sum(lengths).as_py() or 0
        size += length if not _is_bytes(_values(column.type)) else length * 4 // 3
    return size


def _decoded(batch: Any, fields: list[Any]) -> Any:
    import pyarrow as pa

    columns = [_column(*pair) for pair in zip(batch.columns, fields, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))


def _column(column: Any, field: Any) -> Any:
    import pyarrow as pa

    kind = column.type
    if _is_bytes(_values(kind)):
        values = (cell.as_py() for cell in column)
        cells = (None if one is None else base64.b64encode(one) for one in values)
        return pa.array(cells, pa.string())
    return column.cast(field.type) if kind != field.type else column


def _field(field: Any) -> Any:
    """As it is written: with all digits of an FP32's value, for it may be read as FP64, and bytes
    in base64."""
    import pyarrow as pa

    kind = field.type
    if pa.types.is_float32(kind):
        kind = pa.float64()
    elif _is_text(kind) or _is_bytes(kind) or pa.types.is_dictionary(kind):
        kind = pa.string()
    return pa.field(field.name, kind)


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _values(kind: Any) -> Any:
    """Of a dictionary, what its entries are."""
    import pyarrow as pa

    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_bytes(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


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
        or _is_text(field.type)
        or _is_bytes(field.type)
        or kinds.is_timestamp(field.type)
        or kinds.is_date32(field.type)
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
    words = f"the table takes more than {most} bytes unpacked (setting limits.max_message_bytes)"
    return ServingError(ErrorCode.TOO_LARGE, words)
