"""The request log's forms and files: what is written is what is read, within bounds."""

from __future__ import annotations

import base64
import errno
import fcntl
import json
import math
import os
import re
import stat
import struct
import subprocess
import sys
from collections.abc import Iterable
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from serving import _core
from serving.errors import ConfigError
from serving.observe.request_log import tensors
from serving.observe.request_log.folder import Folder, TooLargeError
from serving.observe.request_log.forms import Form, JsonLines, form_of
from serving.observe.request_log.read import Damaged, Entry, files_of, read
from serving.observe.request_log.record import Record, Shown, from_line, record_of
from serving.observe.request_log.tensors import LoggedTensor
from tests.clients import oip
from tests.unit.core_world import Tensor
from tests.unit.request_log_samples import (
    assert_reads_back,
    holding,
    line,
    sample,
    tensor,
    texts,
)

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


def pieces(form: str, *samples: _core.Sample, shown: Shown = None) -> list[bytes]:
    made = form_of(form).pieces(samples, [shown] * len(samples), lambda: 65536)
    return [piece for piece, _ in made]


def written(folder: Path, form: Form, *pieces: bytes) -> Folder:
    one = Folder(folder, form, max_file_bytes=10**6, max_bytes=10**7)
    for piece in pieces:
        one.append(piece)
    return one


def entries(folder: Path) -> list[Record]:
    found = [one for file in files_of(folder) for one in read(file)]
    assert all(isinstance(one, Entry) for one in found), found
    return [one.record for one in found if isinstance(one, Entry)]


def _line_of(*given: LoggedTensor) -> bytes:
    """A line of a sample with these outputs (inputs' texts are UTF-8), those without data
    hidden."""
    shown = tuple(one.name for one in given if one.data is not None)
    return line(holding((), _sampled(given)), shown)


def _sampled(given: Iterable[LoggedTensor]) -> tuple[Tensor, ...]:
    return tuple((one.name, one.datatype, one.shape, _data(one)) for one in given)


def _data(one: LoggedTensor) -> bytes:
    if one.data is not None:
        return one.data
    return bytes(np.dtype(oip.DTYPES[one.datatype]).itemsize * math.prod(one.shape))


def _written_as(one: LoggedTensor) -> Any:
    return json.loads(_line_of(one))["outputs"][0]


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
def test_a_tensor_is_the_same_after_json(one: LoggedTensor) -> None:
    assert tensors.from_json(_written_as(one)) == one


def _bits(one: LoggedTensor) -> object:
    """The bytes, or the elements where a NaN among them may have become another."""
    if one.datatype in ("FP32", "FP64") and one.data is not None:
        values = np.frombuffer(one.data, oip.DTYPES[one.datatype])
        return ["nan" if np.isnan(value) else value.tobytes() for value in values]
    return one.data


def _texts_of_any(draw: st.DrawFn) -> tuple[int, bytes]:
    either = st.one_of(st.binary(max_size=9), st.text(max_size=9).map(str.encode))
    found = draw(st.lists(either, max_size=9))
    return len(found), texts(*found)


@st.composite
def _any_tensor(draw: st.DrawFn) -> LoggedTensor:
    """Of any datatype and any bits, short and long."""
    datatype = draw(st.sampled_from(sorted(oip.DTYPES)))
    if datatype == "BYTES":
        count, data = _texts_of_any(draw)
    else:
        size = np.dtype(oip.DTYPES[datatype]).itemsize
        count = draw(st.one_of(st.integers(0, 40), st.integers(255, 258)))
        data = draw(st.binary(min_size=count * size, max_size=count * size))
    if datatype == "BOOL":
        data = bytes(byte & 1 for byte in data)
    return LoggedTensor(draw(st.text()), datatype, (1, count), data)


# Its shortest text is 7.038531e-26; the FP64 nearest to that, made FP32, is its neighbour.
TWICE_ROUNDED = LoggedTensor("two roundings", "FP32", (1,), struct.pack("<I", 0x15AE43FD))


@settings(deadline=None)
@given(st.lists(_any_tensor(), max_size=3, unique_by=lambda one: one.name))
@example([TWICE_ROUNDED])
@example(SPECIAL)
def test_whatever_was_sampled_is_read_back_bit_for_bit(sampled: list[LoggedTensor]) -> None:
    found = from_line(_line_of(*sampled)).outputs
    assert [one[:3] for one in found] == [one[:3] for one in sampled]
    assert [_bits(one) for one in found] == [_bits(one) for one in sampled]


def test_json_holds_values_as_the_protocol_writes_them() -> None:
    array = np.array([0.5, 0.1, np.nan, -np.inf], np.float32)
    text = b'{"name":"X","datatype":"FP32","shape":[4],"data":[0.5,0.1,NaN,-Infinity]}'
    assert text in _line_of(logged("X", array, "FP32"))


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_what_json_cannot_carry_is_marked_base64(datatype: str) -> None:
    one = logged("X", oip.SAMPLES[datatype], datatype)
    given = _written_as(one)
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
    given = (text, "BYTES", (2,), texts(text.encode(), b""))
    made = holding((given,), id=text, word="bad_data", message=text)
    assert line(made).count(b"\n") == 1
    assert_reads_back(from_line(line(made)), record_of(made, None))
    assert (made.id, made.message, made.inputs) == (text, text, [given])


@pytest.mark.parametrize(
    ("fields", "status"),
    [({}, {"status": "OK"}), ({"word": "bad_data", "message": "no"}, {"status": "bad_data"})],
)
def test_a_line_tells_the_request_and_its_answer(
    fields: dict[str, str], status: dict[str, str]
) -> None:
    made = sample(priority=1, **fields)
    told = json.loads(line(made))
    assert datetime.fromisoformat(told.pop("time")).timestamp() == pytest.approx(
        made.at, rel=0, abs=1e-6
    )
    for name in ("total_s", "queue_s", "compute_s"):
        assert told.pop(name) == pytest.approx(getattr(made, name), rel=0, abs=1e-7)
    message = {"message": fields["message"]} if fields else {}
    output = {"name": "Y", "datatype": "FP32", "shape": [2], "data": [2.0, 4.0]}
    assert told == {
        "model": "m",
        "version": 3,
        "route": "default",
        "protocol": "grpc",
        "id": "mine",
        "request_id": "r-1",
        **status,
        **message,
        "parameters": {"priority": 1},
        "inputs": [{"name": "X", "datatype": "FP32", "shape": [2], "data": [1.0, 2.0]}],
        "outputs": [] if fields else [output],
    }


@pytest.mark.parametrize("form", FORMS)
def test_every_datatype_is_read_as_it_was_written(tmp_path: Path, form: str) -> None:
    # No request comes as far as its model with texts that are no UTF-8.
    inputs = [one for one in reversed(ALL) if one.name != "bytes"]
    made = holding(_sampled(inputs), _sampled(ALL))
    shown = tuple(one.name for one in ALL if one.data is not None)
    written(tmp_path, form_of(form), *pieces(form, made, shown=shown)).close()
    (found,) = entries(tmp_path)
    assert_reads_back(found, record_of(made, shown))
    assert (found.inputs, found.outputs) == (tuple(inputs), tuple(ALL))


@pytest.mark.parametrize("form", FORMS)
def test_a_file_has_its_name_when_it_is_whole_and_is_private(tmp_path: Path, form: str) -> None:
    place = tmp_path / "log"
    folder = written(place, form_of(form), *pieces(form, sample()))
    assert [path.name[-5:] for path in place.iterdir()] == [".part"]
    assert files_of(place) == []
    folder.close()
    (whole,) = place.iterdir()
    assert whole.suffix == f".{form}"
    assert stat.S_IMODE(whole.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.stat().st_mode) == 0o700


def test_a_full_file_is_followed_by_another(tmp_path: Path) -> None:
    one = line(sample())
    folder = Folder(tmp_path, JsonLines(), max_file_bytes=3 * len(one), max_bytes=10**6)
    for _ in range(8):
        folder.append(one)
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
        (piece,) = pieces(form, sample(id=str(i)))
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
        folder.append(line(sample()))
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
from tests.unit.request_log_samples import sample
form = form_of({form!r})
folder = Folder(Path({str(folder)!r}), form, max_file_bytes=10**6, max_bytes=10**7)
for i in range(5):
    for piece, _ in form.pieces([sample(id=str(i))], [None], folder.room):
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
    written(tmp_path, JsonLines(), line(sample()))
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
    good = line(sample())
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
    written(tmp_path, form, *pieces("parquet", *(sample(id=str(i)) for i in range(100)))).close()
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


@pytest.mark.parametrize(
    ("form", "elements", "given", "counts"),
    [
        ("parquet", 200_000, 5, [2, 2, 1]),
        ("parquet", 2, 130, [64, 64, 2]),
        ("jsonl", 200_000, 3, [1, 1, 1]),
        ("jsonl", 2, 5, [2, 2, 1]),
    ],
)
def test_pieces_are_bounded(form: str, elements: int, given: int, counts: list[int]) -> None:
    one = holding((tensor("X", np.zeros(elements, np.float32)),))
    room = 3 * len(line(holding((tensor("X", np.zeros(2, np.float32)),)))) - 1
    made = form_of(form).pieces([one] * given, [None] * given, lambda: room)
    assert [count for _, count in made] == counts


def test_a_line_of_a_later_version_with_more_in_it_is_read() -> None:
    one = line(sample())
    assert from_line(one.replace(b'{"time"', b'{"more":[1],"time"')) == from_line(one)


@pytest.mark.parametrize("form", FORMS)
def test_what_is_added_while_a_file_is_read_is_left_for_the_next_time(
    tmp_path: Path, form: str
) -> None:
    """Sending a log again to the gateway that writes it must come to an end."""
    (piece,) = pieces(form, sample())
    folder = written(tmp_path, form_of(form), piece, piece, piece)
    (part,) = tmp_path.iterdir()
    seen = 0
    for _ in read(part):
        folder.append(piece)
        seen += 1
    assert seen == 3
    assert len(list(read(part))) == 6


def test_the_page_describes_every_field() -> None:
    page = (Path(__file__).parents[4] / "docs" / "observability.md").read_text()
    table = page[page.index("**JSON Lines**") : page.index("A tensor has")]
    made = sample(word="bad_data", message="no", timeout_us=9_000_000, most=1)
    described = re.findall(r"`(\w+)`", "".join(re.findall(r"^\|([^|]+)\|", table, re.MULTILINE)))
    assert described == list(json.loads(line(made)))
    from serving.observe.request_log.parquet import SCHEMA

    assert described == SCHEMA.names


def test_a_disk_that_is_full_while_a_file_is_converted_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyarrow import parquet

    def full(*given: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    form = form_of("parquet")
    folder = written(tmp_path, form, *pieces("parquet", sample(id="kept")))
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
    folder = written(tmp_path, JsonLines(), line(sample()))
    folder.open()
    assert len(list(tmp_path.iterdir())) == 1
    folder.close()
    assert len(entries(tmp_path)) == 1


def test_files_of_two_gateways_in_one_folder_stay_within_the_bound_together(
    tmp_path: Path,
) -> None:
    one = line(sample())
    bound = 10 * len(one)
    two = [
        Folder(tmp_path, JsonLines(), max_file_bytes=3 * len(one), max_bytes=bound)
        for _ in range(2)
    ]
    for _ in range(20):
        for folder in two:
            folder.append(one)
    for folder in two:
        folder.close()
    # Each knows of the other's files since it last began one.
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= bound + 3 * len(one)
    assert all(path.suffix == ".jsonl" for path in tmp_path.iterdir())
