"""Tables that come as Parquet, as CSV; and those that are refused before they are unpacked."""

from __future__ import annotations

import contextlib
import datetime as dt
import gc
import io
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from serving.datasets import parquet_foot, parquet_pages, parquet_thrift
from serving.errors import ErrorCode, ServingError
from serving.protocols.mlflow_parquet import Terms, to_csv

MOST = 1024 * 1024


def _file(table: pa.Table, **options: Any) -> bytes:
    out = io.BytesIO()
    parquet.write_table(table, out, **{"compression": "zstd", **options})
    return out.getvalue()


def _refused(body: bytes, most: int = MOST) -> ServingError:
    with pytest.raises(ServingError) as caught:
        to_csv(body, Terms(most))
    return caught.value


def test_plain_columns_become_csv() -> None:
    table = pa.table(
        {
            "i": [1, None],
            "d": [0.1, float("nan")],
            "f": pa.array([0.1, 1e30], pa.float32()),
            "b": [True, False],
            't,"': ['a,"b', "x\ny"],
            "a.b": pa.array(["", None], pa.large_string()),
            "__index_level_0__": [7, 9],
        }
    )
    assert to_csv(_file(table), Terms(MOST)).decode().splitlines() == [
        '"i","d","f","b","t,""","a.b"',
        # An FP32 as the FP64 that it is: its column may be one.
        '1,0.1,0.10000000149011612,true,"a,""b",""',
        ',nan,1.0000000150474662e+30,false,"x',
        'y",',
    ]
    assert to_csv(_file(table.slice(0, 0)), Terms(MOST)).startswith(b'"i","d"')
    empty = pa.table({'a"x': pa.array([], pa.float64()), "b": pa.array([], pa.string())})
    assert to_csv(_file(empty), Terms(MOST)) == b'"a""x","b"\n'


def test_times_and_bytes_become_the_texts_that_requests_write() -> None:
    times = [dt.datetime(2026, 11, 30, 12, 30, 0, 5), None]  # noqa: DTZ001 - as MLflow's
    table = pa.table(
        {
            "t": pa.array(times, pa.timestamp("us")),
            "d": pa.array([dt.date(2026, 11, 30)] * 2),
            "b": pa.array([b"hi\xff", None]),
            "l": pa.array([b"", b"aaa"], pa.large_binary()),
        }
    )
    for options in ({}, {"use_dictionary": False}):
        assert to_csv(_file(table, **options), Terms(MOST)).decode().splitlines() == [
            '"t","d","b","l"',
            '2026-11-30 12:30:00.000005,2026-11-30,"aGn/",""',
            ',2026-11-30,,"YWFh"',
        ]


def test_a_name_that_is_there_twice_is_refused() -> None:
    twice = pa.table([pa.array([1]), pa.array([2])], names=["a", "a"])
    assert "a column's name is there twice" in _refused(_file(twice)).message


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
            to_csv(bytes(damaged), Terms(MOST))


@pytest.mark.parametrize(
    "column", [pa.array([[1]]), pa.array([1], pa.time64("us")), pa.array([1], pa.duration("s"))]
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


def _repeated(size: int, rows: int, kind: pa.DataType) -> pa.Table:
    return pa.table({"s": pa.array(["x" * size] * rows, kind)})


@pytest.fixture
def pool() -> Iterator[pa.MemoryPool]:
    """Counts what pyarrow takes meanwhile."""
    before = pa.default_memory_pool()
    counting = pa.proxy_memory_pool(before)
    pa.set_memory_pool(counting)
    try:
        yield counting
    finally:
        # What still stands was taken from it.
        gc.collect()
        pa.set_memory_pool(before)
        _POOLS.append(counting)


_POOLS: list[pa.MemoryPool] = []
JOINED = {"use_dictionary": False, "column_encoding": {"s": "DELTA_BYTE_ARRAY"}}
# Each stands for more than 60 MiB. Made where they are read: every process that collects tests
# would make them.
SMALL: dict[str, Callable[[], bytes]] = {
    "a large text in a dictionary": lambda: _file(_repeated(MOST // 2, 128, pa.large_string())),
    "a text in a dictionary": lambda: _file(_repeated(MOST // 2, 128, pa.string())),
    "a page of one text": lambda: _file(_repeated(64 * MOST, 1, pa.string()), use_dictionary=False),
    "texts that begin as others": lambda: _file(_repeated(MOST // 2, 128, pa.string()), **JOINED),
    "two columns": lambda: _file(
        pa.table({name: ["x" * (MOST // 3)] * 128 for name in "ab"}), use_dictionary=True
    ),
}


@pytest.fixture
def small(request: pytest.FixtureRequest) -> bytes:
    """Before ``pool`` counts."""
    return SMALL[request.param]()


@pytest.mark.parametrize("small", SMALL, indirect=True)
def test_fault_41_no_small_file_takes_much_memory(small: bytes, pool: pa.MemoryPool) -> None:
    body = small
    assert len(body) < MOST / 50
    error = _refused(body)
    assert error.code == ErrorCode.TOO_LARGE
    assert pool.max_memory() < 8 * MOST


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("encoding", ["", "PLAIN", "DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
def test_sizes_of_pages_are_their_own_heads(version: str, encoding: str) -> None:
    texts = [f"text {i % 700}" for i in range(20_000)]
    table = pa.table({"s": texts, "i": range(len(texts))})
    options: dict[str, Any] = {"data_page_version": version, "data_page_size": 20_000}
    if encoding:
        options |= {"use_dictionary": False, "column_encoding": {"s": encoding, "i": "PLAIN"}}
    body = _file(table, row_group_size=5000, **options)
    metadata = parquet.ParquetFile(pa.BufferReader(body)).metadata
    found = parquet_pages.columns(body, metadata)
    for number, column in enumerate(found):
        groups = range(metadata.num_row_groups)
        foot = sum(metadata.row_group(i).column(number).total_uncompressed_size for i in groups)
        # The foot counts the heads, too.
        assert 0.9 * foot < column.unpacked < foot
    assert [column.by_dictionary for column in found] == [not encoding.startswith("DELTA"), True]
    lines = to_csv(body, Terms(MOST)).decode().splitlines()
    assert lines[1:] == [f'"{text}",{i}' for i, text in enumerate(texts)]


def test_a_page_without_an_end_is_refused() -> None:
    body = _file(pa.table({"d": [0.5] * 100}), use_dictionary=False)
    metadata = parquet.ParquetFile(pa.BufferReader(body)).metadata
    at = metadata.row_group(0).column(0).data_page_offset
    # A number without an end, a type that no head has, nothing at all, a struct in itself.
    for head in (b"\x15" + b"\xff" * 20, b"\x1d\x00", b"", b"\x1c" * 20):
        damaged = body[:at] + head + (body[at + len(head) :] if head else b"")
        with pytest.raises(parquet_pages.PageError):
            parquet_pages.columns(damaged, metadata)


def _varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def _list(step: int, count: int, elements: bytes) -> bytes:
    """A field that is a list of structs, ``step`` behind the last one."""
    return bytes([step << 4 | 9, 0xFC]) + _varint(count) + elements


# Structs of a foot with nothing in them that may be left out: the root of a schema, a column, and
# a column's part of a row group.
ROOT, COLUMN, CHUNK = b"\x48\x01r\x15\x02\x00", b"\x15\x04\x25\x00\x18\x01x\x00", b"\x26\x00\x00"


def _of_foot(columns: int, chunks: int, beside: bytes = b"") -> bytes:
    schema = _list(1, columns + 1, ROOT + COLUMN * columns)
    group = _list(1, chunks, CHUNK * chunks) + b"\x16\x00\x16\x00\x00"
    foot = b"\x15\x02" + schema + b"\x16\x00" + _list(1, 1, group) + beside + b"\x00"
    return b"PAR1" + foot + len(foot).to_bytes(4, "little") + b"PAR1"


def test_fault_103_a_foot_is_counted_before_it_is_read(pool: pa.MemoryPool) -> None:
    held: list[int] = []
    body = _of_foot(1, 60_000)
    with pytest.raises(ServingError):
        to_csv(body, Terms(MOST, lambda more: bool(held.append(more))))
    assert held == [parquet_foot.bytes_of(body)]
    assert held[0] > 300 * len(body)


FEET: dict[str, tuple[Callable[[], bytes], str]] = {
    "chunks": (lambda: _of_foot(1, 65_537), "more than 65536 pages"),
    "columns": (lambda: _of_foot(65_537, 1), "more than 65536 columns"),
    # Readers do without the magic at the beginning.
    "no magic": (lambda: _of_foot(1, 65_537).removeprefix(b"PAR1"), "more than 65536 pages"),
    # Keys and values, of which nobody needs so many.
    "values": (
        lambda: _of_foot(1, 1, _list(1, 3_000_000, b"\x00" * 3_000_000)),
        "more than 2000000 values",
    ),
    "structs": (lambda: _of_foot(1, 1, b"\x1c" * 20), "nested too deep"),
    "lists": (lambda: _of_foot(1, 1, b"\x19" * 20), "nested too deep"),
}


@pytest.mark.parametrize("case", FEET)
def test_fault_103_what_no_foot_has_is_refused_before_it_is_read(case: str) -> None:
    make, words = FEET[case]
    error = _refused(make())
    assert error.code == ErrorCode.BAD_REQUEST
    assert words in error.message


def test_a_foot_that_pyarrow_wrote_is_counted_by_what_is_in_it() -> None:
    table = pa.table({f"c{i}": [i] for i in range(100)})
    bodies = [_file(pa.concat_tables([table] * 5), row_group_size=size) for size in (5, 1)]
    whole, groups = (parquet_foot.bytes_of(body) for body in bodies)
    assert 100 * 1024 < whole < 1024 * 1024
    assert groups > whole + 400 * 1024
    assert parquet_foot.bytes_of(b"") == parquet_foot.bytes_of(b"PAR1" * 4) == 0


def test_fault_105_a_head_of_many_values_ends() -> None:
    body = _file(pa.table({"d": [0.5] * 100}), use_dictionary=False)
    metadata = parquet.ParquetFile(pa.BufferReader(body)).metadata
    at = metadata.row_group(0).column(0).data_page_offset
    long = body[:at] + b"\x11" * (parquet_thrift.MOST_VALUES + 1)
    with pytest.raises(parquet_pages.PageError, match="more than 2000000 values"):
        parquet_pages.columns(long, metadata)


def test_what_a_table_takes_is_counted_and_its_end_is_looked_at() -> None:
    body = _file(pa.table({"s": [f"text {i}" for i in range(5000)]}))
    held: list[int] = []
    text = to_csv(body, Terms(MOST, lambda more: held.append(more) is None))
    assert len(text) * 2 < sum(held) < len(text) * 8
    with pytest.raises(ServingError) as caught:
        to_csv(body, Terms(MOST, lambda _: False))
    assert caught.value.code == ErrorCode.FULL
    looks = iter([True, True, False])
    with pytest.raises(ServingError) as caught:
        to_csv(body, Terms(MOST, is_awaited=lambda: next(looks)))
    assert caught.value.code == ErrorCode.EXPIRED


def test_without_its_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    error = _refused(b"")
    assert error.code == ErrorCode.UNSUPPORTED_MEDIA_TYPE
    assert "serving[parquet]" in error.message
