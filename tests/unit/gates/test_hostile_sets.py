"""Evaluation sets that lie: each is refused in words, at once, and without the memory that it asks
for."""

from __future__ import annotations

import itertools
import os
import struct
import time
import tracemalloc
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from serving.datasets import files
from serving.datasets.pieces import Reading, SetError

MOST_BYTES = 64 << 20
MIB = 1 << 20


def arrays(path: Path, members: Iterable[tuple[str, Iterable[bytes]]]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, parts in members:
            with archive.open(name, "w", force_zip64=True) as file:
                for part in parts:
                    file.write(part)


def head(shape: tuple[int, ...], dtype: object) -> bytes:
    said = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape!r}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(said)) + said


def one_array(*parts: bytes) -> Callable[[Path], None]:
    return lambda path: arrays(path, [("x.npy", parts)])


def lines(*parts: bytes, times: int = 1) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.write_bytes(b"".join(parts) * times)

    return make


BOMB = [b"\x93NUMPY\x02\x00" + struct.pack("<I", 0xFFFFFFF0), *[b" " * MIB] * 128]
PICKLE = b"cos\nsystem\n(S'false'\ntR."
SETS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "a head of 4 GiB": ("e.npz", one_array(*BOMB)),
    "a head nested deep": (
        "e.npz",
        one_array(b"\x93NUMPY\x01\x00" + struct.pack("<H", 9000) + b"(" * 4500 + b")" * 4500),
    ),
    "a row of a terabyte": ("e.npz", one_array(head((2, 1 << 38), "<f4"), bytes(100))),
    "a size beyond all numbers": ("e.npz", one_array(head((1, *(1 << 31,) * 8), "<f4"))),
    "a size below none": ("e.npz", one_array(head((-5, 4), "<f4"), bytes(100))),
    "rows without end of nothing": ("e.npz", one_array(head((1 << 60, 0), "<f4"))),
    "a row of many arrays": (
        "e.npz",
        lambda path: arrays(
            path,
            [(f"{n}.npy", [head((1, 15 * MIB), "|i1"), *[bytes(MIB)] * 15]) for n in range(6)],
        ),
    ),
    "a text of 2 GB": ("e.npz", one_array(head((2,), "<U500000000"), bytes(24))),
    "code": ("e.npz", one_array(head((2,), "|O"), PICKLE)),
    "fields": ("e.npz", one_array(head((2,), [("a", "<f4")]), bytes(8))),
    "an array that ends early": ("e.npz", one_array(head((300, 4), "<f4"), bytes(32))),
    "no archive": ("e.npz", lines(b"PK\x05\x06" + b"\xff" * 18)),
    "a line without end": ("e.csv", lines(b"a," * MIB, times=4)),
    "a quoted field without end": ("e.csv", lines(b'x,y\n"', b"a\n" * MIB)),
    "a row without end": ("e.csv", lines(b"x,y\n", b'"a\n",' * MIB, times=8)),
    "too many columns": ("e.csv", lines(b",".join(b"%d" % n for n in range(20_000)), b"\n1\n")),
    "JSON nested deep": ("e.jsonl", lines(b'{"x":', b"[" * 400_000, b"]" * 400_000, b"}\n")),
    "a number without end": ("e.jsonl", lines(b'{"x":', b"9" * 100_000, b"}\n")),
    "too many keys": (
        "e.jsonl",
        lines(b"{", b",".join(b'"%d":1' % n for n in range(20_000)), b"}\n"),
    ),
    "no Parquet": ("e.parquet", lines(b"PAR1", bytes(1000), b"\xff\xff\xff\x7fPAR1")),
    "a foot of garbage": ("e.parquet", lines(b"PAR1", b"\x15" * 1000, b"\xe8\x03\0\0PAR1")),
}


@pytest.mark.parametrize("which", SETS)
def test_a_set_that_lies_is_refused(tmp_path: Path, which: str) -> None:
    name, make = SETS[which]
    make(tmp_path / name)
    tracemalloc.start()
    since = time.thread_time()
    try:
        with pytest.raises(SetError):
            for _ in files.pieces(tmp_path / name):
                pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert time.thread_time() - since < 5
    assert peak < MOST_BYTES


def test_rows_of_nothing_have_no_end_where_any_number_may_come(tmp_path: Path) -> None:
    one_array(head((1 << 60, 0), "<f4"))(tmp_path / "e.npz")
    with pytest.raises(SetError, match="its rows have no values"):
        for _ in files.pieces(tmp_path / "e.npz", Reading(most=None)):
            pass


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_array_is_told_however_it_was_compressed(tmp_path: Path, method: int) -> None:
    path = tmp_path / "e.npz"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("x.npy", head((1000,), "<f4") + os.urandom(4000))
    data = bytearray(path.read_bytes())
    data[1000:2000] = bytes(1000)
    path.write_bytes(data)
    with pytest.raises(SetError):
        for _ in files.pieces(path):
            pass


def test_what_a_zip_bomb_holds_comes_in_pieces(tmp_path: Path) -> None:
    arrays(tmp_path / "e.npz", [("x.npy", [head((1000, MIB), "<f4"), *[bytes(MIB)] * 64])])
    some = list(itertools.islice(files.pieces(tmp_path / "e.npz"), 3))
    assert all(piece["x"].nbytes <= 16 * MIB for piece in some)


def test_a_piece_of_json_has_fewer_rows_where_these_are_long(tmp_path: Path) -> None:
    row = b'{"x":[' + b"[]," * 200_000 + b"[]]}\n"
    (tmp_path / "e.jsonl").write_bytes(row * 6)
    counts = [len(piece["x"]) for piece in files.pieces(tmp_path / "e.jsonl")]
    assert counts == [4, 2]


FORMS: dict[str, dict[str, Any]] = {
    "as most are": {},
    "plain": {"use_dictionary": False},
    "lengths first": {
        "use_dictionary": False,
        "column_encoding": {"t": "DELTA_LENGTH_BYTE_ARRAY"},
    },
    "of parts": {"use_dictionary": False, "column_encoding": {"t": "DELTA_BYTE_ARRAY"}},
    "in many groups": {"row_group_size": 70},
    "in many pages": {"data_page_size": 100, "dictionary_pagesize_limit": 50},
    "without Arrow's schema": {"store_schema": False},
}


@pytest.mark.parametrize("form", FORMS)
def test_texts_are_the_same_however_a_file_holds_them(tmp_path: Path, form: str) -> None:
    numbers = range(1000)
    columns = {
        "t": [f"a{at % 5}" if at % 3 else None for at in numbers],
        "l": [["x", None, f"y{at}"] if at % 4 else None for at in numbers],
        "b": [b"\xff" if at % 2 else b"" for at in numbers],
        "s": [{"x": {"y": f"{at}"}} for at in numbers],
        "n": [[["a"], []] for _ in numbers],
    }
    pairs = pa.array([[("k", f"{at}")] for at in numbers], pa.map_(pa.string(), pa.string()))
    table = pa.table({**columns, "d": pa.array(columns["t"]).dictionary_encode(), "m": pairs})
    parquet.write_table(table, tmp_path / "e.parquet", **FORMS[form])
    some = list(files.pieces(tmp_path / "e.parquet", Reading(rows=150, loose=True)))
    found = {name: [one for piece in some for one in piece[name].tolist()] for name in some[0]}
    assert found == {**columns, "d": columns["t"], "m": [[["k", f"{at}"]] for at in numbers]}
