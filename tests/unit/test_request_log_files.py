"""The request log's forms and files: what is written is what is read, within bounds."""

from __future__ import annotations

import base64
import errno
import fcntl
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from serving.errors import ConfigError
from serving.observe.request_log import tensors
from serving.observe.request_log.folder import Folder, TooLargeError
from serving.observe.request_log.forms import Form, JsonLines, form_of
from serving.observe.request_log.read import Damaged, Entry, files_of, read
from serving.observe.request_log.record import Record, from_line, record_of, to_line
from serving.observe.request_log.tensors import LoggedTensor
from tests.clients import oip
from tests.unit.request_log_samples import FakeSample, sample, tensor, texts

FORMS = ("jsonl", "parquet")


def logged(name: str, array: np.ndarray, datatype: str) -> LoggedTensor:
    return LoggedTensor(name, datatype, array.shape, oip.encode(array, datatype))


SPECIAL = [
    logged("nan", np.array([np.nan, np.inf, -np.inf, -0.0], np.float32), "FP32"),
    logged("nan64", np.array([np.nan, np.inf, -np.inf, -0.0]), "FP64"),
    logged("no_first", np.array([False, True]), "BOOL"),
    logged("empty", np.zeros((0, 3), np.int64), "INT64"),
    logged("no_texts", np.zeros((2, 0), np.object_), "BYTES"),
    logged("scalar", np.array(2.5, np.float32), "FP32"),
    logged("half", np.array([[np.nan, 1.5]], np.float16), "FP16"),
    logged("long", np.arange(5000, dtype=np.float32), "FP32"),
    LoggedTensor("bytes", "BYTES", (2,), texts(b"\xff\xfe", b"text")),
    LoggedTensor("secret", "FP32", (4, 2), None),
]
ALL = [logged(name, array, name) for name, array in sorted(oip.SAMPLES.items())] + SPECIAL


def record(**fields: object) -> Record:
    return record_of(sample(**fields), lambda name: False)


def written(folder: Path, form: Form, *pieces: bytes) -> Folder:
    one = Folder(folder, form, max_file_bytes=10**6, max_bytes=10**7)
    for piece in pieces:
        one.append(piece)
    return one


def entries(folder: Path) -> list[Record]:
    found = [one for file in files_of(folder) for one in read(file)]
    assert all(isinstance(one, Entry) for one in found), found
    return [one.record for one in found if isinstance(one, Entry)]


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
def test_a_tensor_is_the_same_after_json(one: LoggedTensor) -> None:
    assert tensors.from_json(json.loads(tensors.to_text(one))) == one


def test_json_holds_values_as_the_protocol_writes_them() -> None:
    array = np.array([0.5, np.nan, -np.inf], np.float32)
    text = tensors.to_text(logged("X", array, "FP32"))
    assert text == '{"name":"X","datatype":"FP32","shape":[3],"data":[0.5,NaN,-Infinity]}'


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_what_json_cannot_carry_is_marked_base64(datatype: str) -> None:
    one = logged("X", oip.SAMPLES[datatype], datatype)
    given = json.loads(tensors.to_text(one))
    assert given["encoding"] == "base64"
    assert base64.b64decode(given["data"]) == one.data


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "object"),
        ({"datatype": "FP32", "shape": [1], "data": [1]}, "name"),
        ({"name": "X", "datatype": "FP99", "shape": [1], "data": [1]}, "datatype"),
        ({"name": "X", "datatype": "FP32", "shape": [-1], "data": [1]}, "shape"),
        ({"name": "X", "datatype": "FP32", "shape": [2], "data": [1]}, "expected 2 elements"),
        ({"name": "X", "datatype": "FP32", "shape": [1], "data": ["1"]}, "does not fit FP32"),
        ({"name": "X", "datatype": "INT8", "shape": [1], "data": [1.5]}, "does not fit INT8"),
        ({"name": "X", "datatype": "INT8", "shape": [1], "data": [300]}, "X"),
        ({"name": "X", "datatype": "BOOL", "shape": [1], "data": [1]}, "does not fit BOOL"),
        ({"name": "X", "datatype": "BYTES", "shape": [1], "data": [1]}, "no text"),
        ({"name": "X", "datatype": "FP16", "shape": [1], "data": [1]}, "list of values"),
        (
            {"name": "X", "datatype": "FP32", "shape": [1], "encoding": "base64", "data": "a*"},
            "no base64",
        ),
        (
            {"name": "X", "datatype": "FP32", "shape": [1], "encoding": "base64", "data": "AAA="},
            "whole number",
        ),
        (
            {"name": "X", "datatype": "BYTES", "shape": [1], "encoding": "base64", "data": "CQAA"},
            "length",
        ),
    ],
)
def test_a_wrong_tensor_is_refused_in_words(given: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        tensors.from_json(given)


@pytest.mark.parametrize(
    "text", ['"', "\\", "a\nb", "\0", "\u2028", "é 漢字 🎈", '\', "x":1}', "nan", "True"]
)
def test_a_line_stays_one_line_of_json_whatever_texts_it_holds(text: str) -> None:
    made = record(model=text, id=text, request_id=text, message=text, word="INVALID")
    named = LoggedTensor(text, "BYTES", (2,), texts(text.encode(), b""))
    made = made._replace(inputs=(named,), parameters={text: text})
    line = to_line(made)
    assert line.count(b"\n") == 1
    assert from_line(line) == made


def test_a_line_tells_the_request_and_its_answer() -> None:
    told = json.loads(to_line(record(word="INVALID", message="no", parameters={"priority": 1})))
    assert told == {
        "time": "2026-05-28T20:26:40.250000Z",
        "model": "m",
        "version": 3,
        "protocol": "grpc",
        "id": "mine",
        "request_id": "r-1",
        "status": "INVALID",
        "message": "no",
        "total_s": 0.004,
        "queue_s": 0.001,
        "compute_s": 0.002,
        "parameters": {"priority": 1},
        "inputs": [{"name": "X", "datatype": "FP32", "shape": [2], "data": [1.0, 2.0]}],
        "outputs": [{"name": "Y", "datatype": "FP32", "shape": [2], "data": [2.0, 4.0]}],
    }


@pytest.mark.parametrize("form", FORMS)
def test_every_datatype_is_read_as_it_was_written(tmp_path: Path, form: str) -> None:
    made = record()._replace(inputs=tuple(ALL), outputs=tuple(reversed(ALL)))
    folder = written(tmp_path, form_of(form), *(p for p, _ in form_of(form).pieces([made])))
    folder.close()
    assert entries(tmp_path) == [made]


@pytest.mark.parametrize("form", FORMS)
def test_a_file_has_its_name_when_it_is_whole_and_is_private(tmp_path: Path, form: str) -> None:
    place = tmp_path / "log"
    folder = written(place, form_of(form), *(p for p, _ in form_of(form).pieces([record()])))
    assert [path.name[-5:] for path in place.iterdir()] == [".part"]
    assert files_of(place) == []
    folder.close()
    (whole,) = place.iterdir()
    assert whole.suffix == f".{form}"
    assert stat.S_IMODE(whole.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.stat().st_mode) == 0o700


def test_a_full_file_is_followed_by_another(tmp_path: Path) -> None:
    line = to_line(record())
    folder = Folder(tmp_path, JsonLines(), max_file_bytes=3 * len(line), max_bytes=10**6)
    for _ in range(8):
        folder.append(line)
    folder.close()
    assert [len(list(read(file))) for file in files_of(tmp_path)] == [3, 3, 2]


@pytest.mark.parametrize("form", FORMS)
def test_all_files_together_stay_within_the_bound_and_the_oldest_go(
    tmp_path: Path, form: str
) -> None:
    one = form_of(form)
    clock = count(1_700_000_000)
    bound = 40_000
    folder = Folder(
        tmp_path, one, max_file_bytes=8000, max_bytes=bound, wall=lambda: float(next(clock))
    )
    for i in range(200):
        (piece,) = (p for p, _ in one.pieces([record(id=str(i))]))
        folder.append(piece)
        held = sum(path.stat().st_size for path in tmp_path.iterdir())
        assert held <= bound
        assert folder.held_bytes == held
    folder.close()
    ids = [int(one.id) for one in entries(tmp_path)]
    assert ids == list(range(ids[0], 200))
    assert 0 < ids[0] < 195


def test_a_request_larger_than_all_files_may_be_is_refused(tmp_path: Path) -> None:
    folder = Folder(tmp_path, JsonLines(), max_file_bytes=100, max_bytes=100)
    with pytest.raises(TooLargeError):
        folder.append(b"x" * 101)


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "requests.jsonl").write_bytes(b"x" * 5000)
    (tmp_path / "notes.part").write_bytes(b"mine")
    folder = Folder(tmp_path, JsonLines(), max_file_bytes=1000, max_bytes=2000)
    for _ in range(30):
        folder.append(to_line(record()))
    folder.close()
    assert (tmp_path / "requests.jsonl").stat().st_size == 5000
    assert (tmp_path / "notes.part").read_bytes() == b"mine"


def _leave_behind(folder: Path, form: str) -> None:
    """A process that writes and is killed without another word."""
    program = f"""
import os, signal
from pathlib import Path
from serving.observe.request_log.folder import Folder
from serving.observe.request_log.forms import form_of
from serving.observe.request_log.record import record_of
from tests.unit.request_log_samples import sample
form = form_of({form!r})
folder = Folder(Path({str(folder)!r}), form, max_file_bytes=10**6, max_bytes=10**7)
for i in range(5):
    for piece, _ in form.pieces([record_of(sample(id=str(i)), lambda name: False)]):
        folder.append(piece)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=60)
    assert done.returncode == -9


@pytest.mark.parametrize("form", FORMS)
def test_what_a_killed_process_left_can_be_read_and_is_taken_over(
    tmp_path: Path, form: str
) -> None:
    _leave_behind(tmp_path, form)
    (part,) = tmp_path.iterdir()
    assert part.name.endswith(".part")
    ids = [one.record.id for one in read(part) if isinstance(one, Entry)]
    assert ids == list("01234")
    # Cut off within a record, as when the machine went down too.
    os.truncate(part, part.stat().st_size - 3)
    Folder(tmp_path, JsonLines(), max_file_bytes=10**6, max_bytes=10**7).open()
    (whole,) = tmp_path.iterdir()
    assert whole.name == part.name.removesuffix(".part")
    assert [one.id for one in entries(tmp_path)] == list("0123")


def test_a_file_that_another_process_writes_is_not_taken_over(tmp_path: Path) -> None:
    written(tmp_path, JsonLines(), to_line(record()))
    (part,) = tmp_path.iterdir()
    with part.open("rb") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    Folder(tmp_path, JsonLines(), max_file_bytes=10**6, max_bytes=10**7).open()
    assert list(tmp_path.iterdir()) == [part]


def test_a_leftover_without_a_record_goes(tmp_path: Path) -> None:
    (tmp_path / "requests-20260101T000000000000Z.jsonl.part").write_bytes(b'{"time":')
    (tmp_path / "requests-20260101T000000000001Z.parquet.part").write_bytes(b"")
    (tmp_path / "requests-20260101T000000000001Z.parquet.tmp").write_bytes(b"PAR1")
    Folder(tmp_path, JsonLines(), max_file_bytes=10**6, max_bytes=10**7).open()
    assert list(tmp_path.iterdir()) == []


def test_damaged_lines_are_told_and_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    good = to_line(record())
    wrong_shape = good.replace(b'"shape":[2]', b'"shape":[3]')
    file.write_bytes(good + b"{\n" + wrong_shape + b"[]\n" + good + good[:-10])
    found = list(read(file))
    assert [one.place for one in found if isinstance(one, Entry)] == ["log.jsonl:1", "log.jsonl:5"]
    assert [(one.place, one.reason) for one in found if isinstance(one, Damaged)] == [
        ("log.jsonl:2", "it is not JSON"),
        ("log.jsonl:3", "tensor 'X': expected 3 elements, got 2"),
        ("log.jsonl:4", "it is no object"),
        ("log.jsonl:6", "it has no end"),
    ]


def test_a_damaged_parquet_file_is_told(tmp_path: Path) -> None:
    file = tmp_path / "log.parquet"
    file.write_bytes(b"PAR1 and no more")
    assert list(read(file)) == [Damaged("log.parquet", "it is not a Parquet file, or damaged")]


def test_a_parquet_file_of_somebody_else_is_told(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    file = tmp_path / "log.parquet"
    parquet.write_table(pa.table({"a": [1]}), file)
    (one,) = read(file)
    assert isinstance(one, Damaged)
    assert "no row of a request log" in one.reason


def test_parquet_without_its_package_is_an_error_that_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "serving.observe.request_log.parquet", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"serving\[parquet\]"):
        form_of("parquet")


def test_parquet_has_a_row_a_request_for_other_readers(tmp_path: Path) -> None:
    from pyarrow import parquet

    form = form_of("parquet")
    records = [record(id=str(i)) for i in range(100)]
    written(tmp_path, form, *(p for p, _ in form.pieces(records))).close()
    (file,) = tmp_path.iterdir()
    table = parquet.read_table(file)
    assert table.column("id").to_pylist() == [str(i) for i in range(100)]
    first = table.slice(0, 1).to_pylist()[0]
    assert first["inputs"] == [
        {
            "name": "X",
            "datatype": "FP32",
            "shape": [2],
            "data": np.array([1, 2], np.float32).tobytes(),
        }
    ]


def _pieces(records: list[Record]) -> Iterator[tuple[bytes, int]]:
    return form_of("parquet").pieces(records)


def test_parquet_pieces_are_bounded(tmp_path: Path) -> None:
    big = record_of(
        FakeSample([tensor("X", np.zeros(200_000, np.float32))], []), lambda name: False
    )
    assert [n for _, n in _pieces([big] * 5)] == [2, 2, 1]
    assert [n for _, n in _pieces([record()] * 130)] == [64, 64, 2]


def test_a_line_of_a_later_version_with_more_in_it_is_read() -> None:
    line = to_line(record())
    assert from_line(line.replace(b'{"time"', b'{"more":[1],"time"')) == from_line(line)


@pytest.mark.parametrize("form", FORMS)
def test_what_is_added_while_a_file_is_read_is_left_for_the_next_time(
    tmp_path: Path, form: str
) -> None:
    """Sending a log again to the gateway that writes it must come to an end."""
    pieces = [p for p, _ in form_of(form).pieces([record()])]
    folder = written(tmp_path, form_of(form), *pieces * 3)
    (part,) = tmp_path.iterdir()
    seen = 0
    for _ in read(part):
        folder.append(pieces[0])
        seen += 1
    assert seen == 3
    assert len(list(read(part))) == 6


def test_the_page_describes_every_field() -> None:
    page = (Path(__file__).parents[2] / "docs" / "observability.md").read_text()
    table = page[page.index("**JSON Lines**") : page.index("A tensor has")]
    described = re.findall(r"`(\w+)`", "".join(re.findall(r"^\|([^|]+)\|", table, re.MULTILINE)))
    full = record(message="no", parameters={"timeout": 1})
    assert described == list(json.loads(to_line(full)))
    from serving.observe.request_log.parquet import SCHEMA

    assert described == SCHEMA.names


def test_a_disk_that_is_full_while_a_file_is_converted_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyarrow import parquet

    def full(*given: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    form = form_of("parquet")
    folder = written(tmp_path, form, *(p for p, _ in form.pieces([record(id="kept")])))
    with monkeypatch.context() as patched:
        patched.setattr(parquet.ParquetWriter, "write_table", full)
        with pytest.raises(OSError, match="No space"):
            folder.close()
    assert [path.suffix for path in tmp_path.iterdir()] == [".part"]
    folder.open()
    assert [path.suffix for path in tmp_path.iterdir()] == [".parquet"]
    assert [one.id for one in entries(tmp_path)] == ["kept"]


def test_a_file_system_without_locks_is_written_to_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(*given: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", without)
    folder = written(tmp_path, JsonLines(), to_line(record()))
    folder.open()
    assert len(list(tmp_path.iterdir())) == 1
    folder.close()
    assert len(entries(tmp_path)) == 1


def test_files_of_two_gateways_in_one_folder_stay_within_the_bound_together(
    tmp_path: Path,
) -> None:
    line = to_line(record())
    bound = 10 * len(line)
    two = [
        Folder(tmp_path, JsonLines(), max_file_bytes=3 * len(line), max_bytes=bound)
        for _ in range(2)
    ]
    for _ in range(20):
        for folder in two:
            folder.append(line)
    for folder in two:
        folder.close()
    # Each knows of the other's files since it last began one.
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= bound + 3 * len(line)
    assert all(path.suffix == ".jsonl" for path in tmp_path.iterdir())
