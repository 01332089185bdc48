"""Evaluation sets of every form, and those that are wrong."""

from __future__ import annotations

import io
import json
import os
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from serving.datasets import files, pieces
from serving.datasets.files import located, stamp
from serving.datasets.pieces import SetError
from serving.gates.feeds import Examples, all_examples
from serving.gates.predictions import Column
from serving.model_config.gates import EvaluationConfig
from serving.signature import Signature, Tensor

X = np.arange(5000, dtype=np.float32).reshape(2500, 2)
Y = (np.arange(2500) % 3).astype(np.int64)
REGION = np.where(Y == 0, "EU", "US")
MATRIX = Signature((Tensor("x", "FP32", (-1, 2)),), ())
EVALUATION = EvaluationConfig(label="y", slices=("region",))


def npz(path: Path) -> None:
    np.savez_compressed(path, x=X, y=Y, region=REGION)


def csv(path: Path) -> None:
    rows = zip(X.tolist(), Y, REGION, strict=True)
    text = "".join(f"{x[0]},{x[1]},{y},{region}\n" for x, y, region in rows)
    path.write_text("a,b,y,region\n" + text)


def jsonl(path: Path) -> None:
    rows = zip(X.tolist(), Y.tolist(), REGION.tolist(), strict=True)
    lines = [json.dumps({"x": x, "y": y, "region": region}) for x, y, region in rows]
    path.write_text("\n".join(lines) + "\n\n")


def table(path: Path) -> None:
    columns = {"x": X.tolist(), "y": Y, "region": REGION.tolist()}
    parquet.write_table(pa.table(columns), path)


FORMS: dict[str, Callable[[Path], None]] = {
    "e.npz": npz,
    "e.csv": csv,
    "e.jsonl": jsonl,
    "e.parquet": table,
}


def read(path: Path, signature: Signature = MATRIX, rows: int = 64, **more: Any) -> list[Examples]:
    evaluation = EvaluationConfig(**{"label": "y", "slices": ("region",), **more})
    return list(all_examples(files.pieces(path), signature, evaluation, rows, 1 << 20))


@pytest.mark.parametrize("name", FORMS)
def test_every_form_says_the_same(tmp_path: Path, name: str) -> None:
    FORMS[name](tmp_path / name)
    found = read(tmp_path / name)
    assert max(one.count for one in found) == 64
    labels, regions = Column(), Column()
    for one in found:
        assert one.feeds["x"].dtype == np.float32
        assert one.labels is not None
        labels.add(one.labels)
        regions.add(one.slices["region"])
    assert np.array_equal(np.concatenate([one.feeds["x"] for one in found]), X)
    assert np.array_equal(labels.all(), Y)
    assert labels.all().dtype.kind == "i"
    assert regions.all().tolist() == REGION.tolist()


def test_columns_are_taken_as_the_configuration_says(tmp_path: Path) -> None:
    csv(tmp_path / "e.csv")
    first, *_ = read(tmp_path / "e.csv", inputs={"x": ("b", "a")})
    assert first.feeds["x"][1].tolist() == [3.0, 2.0]
    two = Signature((Tensor("a", "FP64", (-1,)), Tensor("b", "INT64", (-1, 1))), ())
    np.savez(
        tmp_path / "two.npz", a=np.ones(3), b=np.ones(3, np.int32), y=np.ones(3), region=[1] * 3
    )
    (only,) = read(tmp_path / "two.npz", two)
    assert (only.feeds["a"].shape, only.feeds["b"].shape) == ((3,), (3, 1))


def test_a_model_gets_as_many_rows_as_it_takes(tmp_path: Path) -> None:
    np.savez(tmp_path / "e.npz", x=np.ones((4, 2)), y=np.ones(4), region=np.ones(4))
    fixed = Signature((Tensor("x", "FP32", (2, 2)),), ())
    assert [one.count for one in read(tmp_path / "e.npz", fixed)] == [2, 2]
    csv(tmp_path / "e.csv")
    found = read(tmp_path / "e.csv", Signature((Tensor("x", "FP32", (10, 2)),), ()))
    assert {one.count for one in found} == {10}
    assert np.array_equal(np.concatenate([one.feeds["x"] for one in found]), X)
    alone = Signature((Tensor("x", "FP32", (2,)),), ())
    assert [one.feeds["x"].shape for one in read(tmp_path / "e.npz", alone)] == [(2,)] * 4
    three = Signature((Tensor("x", "FP32", (3, 2)),), ())
    with pytest.raises(SetError, match="3 rows at a time"):
        read(tmp_path / "e.npz", three)


def _raw(**entries: bytes) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for name, content in entries.items():
            archive.writestr(f"{name}.npy", content)
    return memory.getvalue()


def _array(array: Any, *, pickle: bool = False) -> bytes:
    memory = io.BytesIO()
    np.save(memory, array, allow_pickle=pickle)
    return memory.getvalue()


def _spoilt() -> bytes:
    """A compressed array, some bytes of which are others."""
    memory = io.BytesIO()
    np.savez_compressed(memory, x=np.random.default_rng(0).random((5000, 2)))
    content = memory.getvalue()
    return content[:2000] + bytes(byte ^ 0x5A for byte in content[2000:2600]) + content[2600:]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("e.npz", b"no zip", "not a numpy file"),
        ("e.npz", _raw(x=_array(np.array([{}]), pickle=True)), "holds objects"),
        ("e.npz", _raw(x=_array(X), y=_array(Y), region=_array(Y)[:-8]), "ends early"),
        ("e.npz", _raw(x=_array(X), y=_array(Y[:5])), "as many rows as each other"),
        ("e.npz", _raw(x=_array(np.float32(1))), "no rows first"),
        ("e.npz", _raw(x=_array(np.zeros((1, 3_000_000)))), "more than 16777216 bytes"),
        ("e.npz", _raw(x=b"nonsense"), "not one of plain values"),
        ("e.npz", _raw(x=_array(X).replace(b"(2500, 2)", b"(2500,-2)")), "not one of plain values"),
        ("e.npz", _spoilt(), "not a numpy file"),
        ("e.csv", b"", "no head"),
        ("e.csv", b"a,a\n1,2\n", "'a' is there twice"),
        ("e.csv", b"a,b\n1\n", "line 2: 1 values, and the head names 2"),
        ("e.csv", b"a,y,region\nx,1,EU\n", "no FP32"),
        ("e.csv", b"a,b\n" + b"1" * 1_100_000, "a line has more than"),
        ("e.csv", b"a,b\n\xff,1\n", "not UTF-8"),
        ("e.csv", b"a,b\n1,2\n", "no column 'y'; there are 'a', 'b'"),
        ("e.jsonl", b"{}\n[1]\n", "line 2: it is no object"),
        ("e.jsonl", b"{nope", "line 1: it is not JSON"),
        ("e.jsonl", b'{"a": 1}\n{"b": 1}\n', "do not all have 'a'"),
        ("e.jsonl", b'{"x": [1, 2, 3], "y": 1, "region": 1}', "shape [1, 3]"),
        ("e.parquet", b"PAR1 and no more", "not a Parquet file"),
        ("e.txt", b"", "its form is not known"),
    ],
)
def test_a_wrong_set_says_what_is_wrong(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SetError) as caught:
        read(tmp_path / name)
    assert words in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_a_long_text_takes_no_more_than_itself() -> None:
    tracemalloc.start()
    try:
        found = pieces.column(["a" * 100_000, *["b"] * 1023])
        assert found.tolist()[1:3] == ["b", "b"]
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert pieces.column([1, "a", None]).tolist() == ["1", "a", None]


@pytest.mark.parametrize("form", [".csv", ".jsonl", ".parquet"])
def test_a_piece_has_fewer_rows_where_they_are_large(tmp_path: Path, form: str) -> None:
    letters = np.random.default_rng(0).integers(97, 123, (200, 100_000), np.uint8)
    texts, path = [bytes(row).decode() for row in letters], tmp_path / f"e{form}"
    if form == ".parquet":
        parquet.write_table(pa.table({"t": texts}), path)
    else:
        lines = texts if form == ".csv" else [json.dumps({"t": text}) for text in texts]
        path.write_text("\n".join(["t", *lines] if form == ".csv" else lines))
    sizes = [sum(map(len, piece["t"])) for piece in files.pieces(path)]
    assert sum(sizes) == 20_000_000
    assert max(sizes) <= pieces.PIECE_BYTES + 100_000


def test_lists_that_are_no_labels_are_said() -> None:
    texts, longer = Column(), Column()
    texts.add(np.array([["a", "b"]], object))
    with pytest.raises(SetError, match="lists of what is no number"):
        texts.all()
    for width in (2, 3):
        longer.add(np.zeros((1, width)))
    with pytest.raises(SetError, match="same length"):
        longer.all()


def test_a_set_has_a_bounded_number_of_examples(tmp_path: Path) -> None:
    npz(tmp_path / "e.npz")
    assert pieces.STRICT.most == 1_000_000
    with pytest.raises(SetError, match="more than 2,000 examples"):
        list(files.pieces(tmp_path / "e.npz", pieces.Reading(most=2000)))


def test_fault_109_a_set_that_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "e.csv")
    with pytest.raises(SetError, match="not a regular file"):
        read(tmp_path / "e.csv")
    with pytest.raises(SetError, match="no such file"):
        read(tmp_path / "none.csv")


def test_fault_8_a_set_lies_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "outside.csv").write_text("a\n")
    folder = tmp_path / "1"
    folder.mkdir()
    (folder / "link.csv").symlink_to(tmp_path / "outside.csv")
    for name in ("../outside.csv", str(tmp_path / "outside.csv")):
        with pytest.raises(SetError, match="outside its folder"):
            located(folder, name, inside=True)
    with pytest.raises(SetError, match="link that leaves"):
        located(folder, "link.csv", inside=True)
    assert located(folder, "../outside.csv", inside=False).exists()
    assert stamp(folder / "link.csv") != stamp(folder / "none.csv") == ""
