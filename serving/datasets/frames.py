"""Parquet files, a piece of a row group at a time."""

from __future__ import annotations

from collections.abc import Iterator
from io import BufferedReader
from typing import Any

from serving.datasets.pieces import PIECE_BYTES, ROWS, Piece, SetError, check_columns, column


def _rows(metadata: Any) -> int:
    """Of a piece, by the row group whose rows are the largest."""
    groups = (metadata.row_group(at) for at in range(metadata.num_row_groups))
    of_one = max((one.total_byte_size // max(1, one.num_rows) for one in groups), default=0)
    return int(max(1, min(ROWS, PIECE_BYTES // max(1, of_one))))


def pieces(file: BufferedReader) -> Iterator[Piece]:
    """Raises SetError; ModuleNotFoundError without pyarrow."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        found = parquet.ParquetFile(file)
        check_columns(list(found.schema_arrow.names))
        for batch in found.iter_batches(batch_size=_rows(found.metadata), use_threads=False):
            yield {
                name: column(values.to_pylist())
                for name, values in zip(batch.schema.names, batch.columns, strict=True)
            }
    except pa.ArrowInvalid as error:
        raise SetError("it is not a Parquet file that can be read") from error
    except (pa.ArrowException, pa.ArrowNotImplementedError) as error:
        raise SetError("it has what is not read of Parquet") from error
