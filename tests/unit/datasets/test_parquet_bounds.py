"""What Parquet files say of themselves is looked at before a reader takes memory for it."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from serving import machine
from serving.datasets import files
from serving.datasets.parquet_bounds import PAGE_BYTES, FileBytes
from serving.datasets.parquet_thrift import ThriftError
from serving.datasets.pieces import Reading, SetError, rows_of
from serving.statistics.of_files import DataError, statistics_of
from tests.unit.protocols.test_mlflow_parquet import _of_foot, _varint

MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def pool() -> Iterator[pa.MemoryPool]:
    """Arrow's memory, of this test alone."""
    gc.collect()
    before, alone = pa.default_memory_pool(), pa.proxy_memory_pool(pa.system_memory_pool())
    pa.set_memory_pool(alone)
    yield alone
    pa.set_memory_pool(before)


def write(folder: Path, columns: dict[str, Any], **options: Any) -> Path:
    path = folder / "data.parquet"
    parquet.write_table(pa.table(columns), path, **{"compression": "zstd", **options})
    return path


def read(path: Path) -> int:
    return sum(rows_of(piece) for piece in files.pieces(path, Reading(most=None, loose=True)))


def forge(path: Path, at: int, size: int) -> None:
    """A page's head at ``at`` says that it has so many bytes unpacked: its second field."""
    body = path.read_bytes()
    kind = body[at : at + 2]
    assert kind[0] == 0x15
    rest = at + 3
    assert body[at + 2] == 0x15
    while body[rest] > 127:
        rest += 1
    path.write_bytes(body[:at] + kind + b"\x15" + _varint(2 * size) + body[rest + 1 :])


@pytest.mark.parametrize("page", ["dictionary", "page"])
def test_fault_114_a_page_that_says_gigabytes_is_refused_before_they_are_taken(
    tmp_path: Path, pool: pa.MemoryPool, page: str
) -> None:
    path = write(tmp_path, {"city": ["oslo", "paris"]}, use_dictionary=page == "dictionary")
    forge(path, 4, 2**31 - 1)
    assert path.stat().st_size < 1000
    with pytest.raises(DataError) as caught:
        statistics_of([path])
    assert str(caught.value).startswith(f"{path}: a {page} of column 'city' takes 2,147,483,6")
    assert f"more than the {PAGE_BYTES:,} that it may" in str(caught.value)
    assert pool.max_memory() < MIB


def test_pages_of_many_columns_take_no_more_together_than_a_quarter_of_the_memory(
    tmp_path: Path, pool: pa.MemoryPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = {f"c{at}": ["0" * 100_000] for at in range(100)}
    path = write(tmp_path, texts)
    assert read(path) == 1
    before = pool.max_memory()
    monkeypatch.setattr(machine, "usable_memory", lambda: 32 * MIB)
    with pytest.raises(SetError) as caught:
        read(path)
    assert f"more than the {8 * MIB:,} that they may" in str(caught.value)
    assert before > 8 * MIB
    assert pool.max_memory() == before


def test_a_foot_of_more_than_a_quarter_of_the_memory_is_refused(
    tmp_path: Path, pool: pa.MemoryPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "data.parquet"
    path.write_bytes(_of_foot(1, 60_000))
    monkeypatch.setattr(machine, "usable_memory", lambda: 200 * MIB)
    with pytest.raises(SetError, match="what it says of its columns takes 6"):
        read(path)
    assert pool.max_memory() < MIB


@pytest.mark.parametrize("page", ["dictionary", "page"])
def test_a_page_of_more_values_than_there_can_be_is_damaged(tmp_path: Path, page: str) -> None:
    path = write(tmp_path, {"a": [0.5] * 100}, use_dictionary=page == "dictionary")
    body = path.read_bytes()
    said = b"\x15\x02" if page == "dictionary" else b"\x15\xc8\x01"
    at = body.index(said, 4 + 4)
    many = b"\x15" + _varint(2 * 2**30)
    path.write_bytes(body[:at] + many + body[at + len(said) :])
    with pytest.raises(SetError, match="a page has more values than there can be"):
        read(path)


def test_pages_of_every_size_and_encoding_are_read(tmp_path: Path) -> None:
    texts = [f"text {at % 700}" for at in range(20_000)]
    columns = {"s": texts, "i": list(range(20_000)), "l": [[at] * (at % 3) for at in range(20_000)]}
    for version in ("1.0", "2.0"):
        for encoding in ("", "PLAIN", "DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"):
            options: dict[str, Any] = {"data_page_version": version, "data_page_size": 20_000}
            if encoding:
                options |= {"use_dictionary": False, "column_encoding": {"s": encoding}}
            path = write(tmp_path, columns, row_group_size=7000, **options)
            assert read(path) == 20_000


def test_a_file_that_ends_meanwhile_is_told(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(bytes(range(100)) * 100)
    with path.open("rb") as file:
        body = FileBytes(file)
        assert (len(body), body[0], body[9_999], body[5_050]) == (10_000, 0, 99, 50)
        os.truncate(path, 10)
        with pytest.raises(ThriftError, match="cut off"):
            body[9_500]
