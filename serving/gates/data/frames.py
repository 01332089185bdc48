"""Parquet files, a piece of a row group at a time."""

from __future__ import annotations

from collections.abc import Iterator
from io import BufferedReader

from serving.gates.data.pieces import ROWS, Piece, SetError, check_columns, column


def pieces(file: BufferedReader) -> Iterator[Piece]:
    """Raises SetError; ModuleNotFoundError without pyarrow."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        found = parquet.ParquetFile(file)
        check_columns(list(found.schema_arrow.names))
        for batch in found.iter_batches(batch_size=ROWS, use_threads=False):
            yield {
                name: column(values.to_pylist())
                for name, values in zip(batch.schema.names, batch.columns, strict=True)
            }
    except pa.ArrowInvalid as error:
        raise SetError("it is not a Parquet file that can be read") from error
    except (pa.ArrowException, pa.ArrowNotImplementedError) as error:
        raise SetError("it has what is not read of Parquet") from error
