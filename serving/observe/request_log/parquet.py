"""Parquet, one row a request. Needs pa.

A Parquet file can't be read before its last byte is there, so a file that is being written is
an Arrow stream: readable up to wherever it was cut off. It becomes Parquet when it is full.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import ipc, parquet

from serving.observe.request_log.record import Record, Shown
from serving.observe.request_log.record import record_of as record_of_sample
from serving.observe.request_log.tensors import LoggedTensor, checked

if TYPE_CHECKING:
    from serving import _core

_PIECE_ROWS = 64
_PIECE_BYTES = 1024 * 1024
_GROUP_BYTES = 8 * 1024 * 1024

_TENSORS = pa.list_(
    pa.struct(
        [
            pa.field("name", pa.string()),
            pa.field("datatype", pa.string()),
            pa.field("shape", pa.list_(pa.int64())),
            # Raw bytes; null where the values are left out on purpose.
            pa.field("data", pa.large_binary()),
        ]
    )
)
SCHEMA = pa.schema(
    [
        pa.field("time", pa.timestamp("us", tz="UTC")),
        pa.field("model", pa.string()),
        pa.field("version", pa.int64()),
        pa.field("route", pa.string()),
        pa.field("protocol", pa.string()),
        pa.field("id", pa.string()),
        pa.field("request_id", pa.string()),
        pa.field("status", pa.string()),
        pa.field("message", pa.string()),
        pa.field("anomaly", pa.string()),
        pa.field("total_s", pa.float64()),
        pa.field("queue_s", pa.float64()),
        pa.field("compute_s", pa.float64()),
        # JSON.
        pa.field("parameters", pa.string()),
        pa.field("inputs", _TENSORS),
        pa.field("outputs", _TENSORS),
    ]
)
_PLAIN = ("model", "version", "protocol", "id", "request_id", "status", "message")
_TIMES = ("total_s", "queue_s", "compute_s")


class Parquet:
    """``forms.Form`` of Parquet files."""

    suffix = ".parquet"
    copies = True

    @property
    def header(self) -> bytes:
        return bytes(SCHEMA.serialize())

    def pieces(
        self, samples: Sequence[_core.Sample], shown: Sequence[Shown], room: Callable[[], int]
    ) -> Iterator[tuple[bytes, int]]:
        """By rows and bytes of tensors: how long a batch of them gets is known afterwards."""
        rows: list[dict[str, Any]] = []
        held = 0
        for record in map(record_of_sample, samples, shown):
            rows.append(_row(record))
            held += sum(len(t.data or b"") for t in (*record.inputs, *record.outputs))
            if len(rows) >= _PIECE_ROWS or held >= _PIECE_BYTES:
                yield _batch(rows), len(rows)
                rows, held = [], 0
        if rows:
            yield _batch(rows), len(rows)


def _batch(rows: list[dict[str, Any]]) -> bytes:
    return bytes(pa.RecordBatch.from_pylist(rows, schema=SCHEMA).serialize())


def _row(record: Record) -> dict[str, Any]:
    return {
        "time": datetime.fromtimestamp(record.at, UTC),
        **{key: getattr(record, key) for key in (*_PLAIN, *_TIMES)},
        "parameters": json.dumps(dict(record.parameters)),
        "inputs": [_tensor(tensor) for tensor in record.inputs],
        "outputs": [_tensor(tensor) for tensor in record.outputs],
        "route": record.route,
        "anomaly": record.anomaly,
    }


def _tensor(tensor: LoggedTensor) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "datatype": tensor.datatype,
        "shape": list(tensor.shape),
        "data": tensor.data,
    }


def convert(part: Path, final: Path) -> None:
    """Write the rows of an Arrow stream, as far as it goes, into a Parquet file. Raises OSError."""
    temporary = final.with_name(f"{final.name}.tmp")
    writer: parquet.ParquetWriter | None = None
    temporary.unlink(missing_ok=True)
    # Private from its first byte on.
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))  # file: made here
    try:
        for table in _groups(part):
            writer = writer or parquet.ParquetWriter(temporary, table.schema, compression="zstd")
            writer.write_table(table)
        if writer is not None:
            writer.close()
            temporary.rename(final)
        part.unlink()
    except BaseException:
        if writer is not None:
            with contextlib.suppress(OSError, pa.ArrowException):
                writer.close()
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _groups(part: Path) -> Iterator[pa.Table]:
    """Tables of a size that makes a good row group, with the columns that the stream has: an
    earlier release may have begun it."""
    batches: list[pa.RecordBatch] = []
    held = 0
    for batch in _stream(part):
        batches.append(batch)
        held += batch.nbytes
        if held >= _GROUP_BYTES:
            yield pa.Table.from_batches(batches)
            batches, held = [], 0
    if batches:
        yield pa.Table.from_batches(batches)


def _stream(part: Path) -> Iterator[pa.RecordBatch]:
    """The whole batches of a stream that may have been cut off anywhere, as it is now."""
    with part.open("rb") as file:  # file: ours
        size = os.fstat(file.fileno()).st_size
        try:
            reader = ipc.open_stream(file)
            while file.tell() < size:
                yield reader.read_next_batch()
        except (StopIteration, pa.ArrowInvalid, EOFError):
            return
        except OSError as error:
            # Arrow's word for a message that ends too early; a disk's errors have numbers.
            if error.errno is not None:
                raise


def rows(path: Path) -> Iterator[Mapping[str, Any]]:
    """The rows of a Parquet file, or of one that was being written.

    Raises ValueError where it is neither, OSError where it can't be read.
    """
    if path.suffix == ".part":
        for batch in _stream(path):
            yield from batch.to_pylist()
        return
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_PIECE_ROWS):
                yield from batch.to_pylist()
    except pa.ArrowException:
        raise ValueError("it is not a Parquet file, or damaged") from None


def record_of(row: Mapping[str, Any]) -> Record:
    """Raises ValueError where the row is not one of ours."""
    try:
        return Record(
            at=row["time"].timestamp(),
            **{key: row[key] for key in (*_PLAIN, *_TIMES)},
            parameters=json.loads(row["parameters"]),
            inputs=tuple(_logged(tensor) for tensor in row["inputs"]),
            outputs=tuple(_logged(tensor) for tensor in row["outputs"]),
            # What an earlier release wrote has neither.
            route=row.get("route") or "",
            anomaly=row.get("anomaly") or "",
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is no row of a request log: {error}") from None


def _logged(given: Mapping[str, Any]) -> LoggedTensor:
    shape = tuple(int(dim) for dim in given["shape"])
    return checked(LoggedTensor(given["name"], given["datatype"], shape, given["data"]))
