"""Tables that come as Parquet, as CSV; and those that are refused before they are unpacked."""

from __future__ import annotations

import contextlib
import io
import sys
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from serving.errors import ErrorCode, ServingError
from serving.protocols.mlflow_parquet import to_csv

MOST = 1024 * 1024


def _file(table: pa.Table, **options: Any) -> bytes:
    out = io.BytesIO()
    parquet.write_table(table, out, **options)
    return out.getvalue()


def _refused(body: bytes, most: int = MOST) -> ServingError:
    with pytest.raises(ServingError) as caught:
        to_csv(body, most)
    return caught.value


def test_plain_columns_become_csv() -> None:
    table = pa.table(
        {
            "i": [1, None],
            "d": [0.1, float("nan")],
            "f": pa.array([0.1, 1e30], pa.float32()),
            "b": [True, False],
            't,"': ['a,"b', "x\ny"],
            "__index_level_0__": [7, 9],
        }
    )
    assert to_csv(_file(table), MOST).decode().splitlines() == [
        '"i","d","f","b","t,"""',
        '1,0.1,0.1,true,"a,""b"',
        ',nan,1e+30,false,"x',
        'y"',
    ]
    assert to_csv(_file(table.slice(0, 0)), MOST).startswith(b'"i","d"')


@pytest.mark.parametrize("body", [b"", b"abc", b"PAR1", b"PAR1" + bytes(100) + b"PAR1"])
def test_what_is_no_parquet_is_refused_in_mlflows_words(body: bytes) -> None:
    error = _refused(body)
    assert error.code == ErrorCode.BAD_REQUEST
    assert error.message.startswith("Failed to parse input as a Pandas DataFrame.")
    assert "valid Parquet" in error.message


def test_a_damaged_file_is_refused_in_words() -> None:
    whole = _file(pa.table({"s": [f"text {i}" for i in range(100)], "d": [0.5] * 100}))
    for at in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[at] ^= 0x55
        # Some bytes say nothing. Whatever else is wrong has an error of ours.
        with contextlib.suppress(ServingError):
            to_csv(bytes(damaged), MOST)


@pytest.mark.parametrize(
    "column", [pa.array([[1]]), pa.array([1], pa.timestamp("us")), pa.array([b"x"], pa.binary())]
)
def test_columns_that_csv_has_not_are_named(column: pa.Array) -> None:
    error = _refused(_file(pa.table({"c": column})))
    assert error.code == ErrorCode.BAD_REQUEST
    assert "column 'c' is" in error.message


def test_fault_41_few_bytes_that_stand_for_many_are_refused() -> None:
    numbers = _file(pa.table({"x": pa.array([0] * (MOST + 1), pa.int8())}))
    texts = _file(pa.table({"s": ["x" * 10_000] * 1000}))
    for body in (numbers, texts):
        assert len(body) < MOST / 50
        error = _refused(body)
        assert error.code == ErrorCode.TOO_LARGE
        assert "limits.max_message_bytes" in error.message


def test_without_its_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    error = _refused(b"")
    assert error.code == ErrorCode.UNSUPPORTED_MEDIA_TYPE
    assert "serving[parquet]" in error.message
