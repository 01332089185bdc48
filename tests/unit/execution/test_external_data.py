"""External data wherever a tensor can stand: found, copied in private, and nobody else's."""

from __future__ import annotations

import fcntl
import os
import stat
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto
from onnx.onnx_ml_pb2 import DESCRIPTOR

from serving.errors import LoadError, Retry
from serving.execution import onnx_file, private_copy
from serving.execution.external_data import missing
from serving.execution.files import open_files
from serving.execution.private_copy import (
    NoPlaceError,
    Place,
    mapped_bytes,
    places,
    private_folder,
    remove_dead,
)
from serving.execution.session import Runner, load_runner
from serving.model_config.schema import ModelConfig
from serving.settings import Settings
from tests.external_models import DATA, FILE, KINDS, WEIGHTS, lay, outside, right
from tests.unit import graphs

X = np.abs(np.random.default_rng(1).normal(size=(3, 4))).astype(np.float32)
OTHER = b"\x01" * len(DATA)


def load(place: Path, state_dir: Path | None = None) -> Runner:
    settings = Settings() if state_dir is None else Settings(state_dir=state_dir)
    return load_runner(place, ModelConfig(), settings)


def answer(runner: Runner) -> np.ndarray:
    found = runner.run(["y"], {"x": X})[0]
    assert isinstance(found, np.ndarray)
    return found


def reason(place: Path) -> str:
    with pytest.raises(LoadError) as caught:
        load(place)
    assert str(place) not in caught.value.reason
    return caught.value.reason


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No disk takes a copy."""

    def refuse(parent: Path) -> tuple[Path, int]:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(private_copy, "_made", refuse)


# Every kind


@pytest.mark.parametrize("kind", KINDS)
def test_fault_9_every_kind_answers_as_onnxruntime_does_and_goes_on(kind, tmp_path) -> None:
    place = lay(tmp_path, kind)
    alone = onnxruntime.InferenceSession(place / "model.onnx").run(None, {"x": X})[0]
    runner = load(place)
    np.testing.assert_array_equal(answer(runner), alone)
    np.testing.assert_allclose(alone, right(X), rtol=1e-5)
    for spoil in (
        lambda file: file.write_bytes(OTHER),
        lambda file: os.truncate(file, 0),
        lambda file: file.unlink(),
    ):
        spoil(place / FILE)
        np.testing.assert_array_equal(answer(runner), alone)


@pytest.mark.parametrize("kind", KINDS)
def test_fault_8_no_kind_looks_into_the_working_directory(kind, tmp_path, monkeypatch) -> None:
    """Where onnxruntime looks by itself for what it is given as bytes."""
    lay(tmp_path / "elsewhere", kind, data=OTHER)
    monkeypatch.chdir(tmp_path / "elsewhere")
    np.testing.assert_allclose(answer(load(lay(tmp_path / "m", kind))), right(X), rtol=1e-5)
    assert reason(lay(tmp_path / "lacks", kind, data=None)).startswith(f"it needs {FILE} beside")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "location",
    [
        f"../{FILE}",
        f"sub/../../{FILE}",
        "/etc/hostname",
        f"sub\\..\\{FILE}",
        "*/_ORT_MEM_ADDR_/*",
        "*/_ORT_NATIVE_ENDIAN_MEM_ADDR_/*",
    ],
)
def test_fault_8_no_kind_leaves_the_versions_folder(kind, location, tmp_path) -> None:
    (tmp_path / FILE).write_bytes(DATA)
    place = lay(tmp_path / "1", kind, location, data=None)
    words = reason(place)
    assert words.startswith("external data of '")
    assert location not in words


@pytest.mark.parametrize("kind", KINDS)
def test_fault_8_no_kind_follows_a_link(kind, tmp_path) -> None:
    (tmp_path / FILE).write_bytes(DATA)
    place = lay(tmp_path / "1", kind, data=None)
    (place / FILE).symlink_to(tmp_path / FILE)
    assert "symbolic link" in reason(place)
    (place / FILE).unlink()
    (place / FILE).hardlink_to(tmp_path / FILE)
    assert "hard link" in reason(place)
    lay(place, kind, f"sub/{FILE}", data=None)
    (place / "sub").symlink_to(tmp_path)
    assert "symbolic link" in reason(place)


def test_data_may_lie_in_several_files_and_folders(tmp_path) -> None:
    place = lay(tmp_path, "several tensors of one file")
    made = ModelProto.FromString((place / "model.onnx").read_bytes())
    half = WEIGHTS.nbytes // 2
    for tensor, location in zip(made.graph.initializer, ("a/b/w", "./a//w"), strict=True):
        tensor.external_data[0].value = location
        tensor.external_data[1].value = "0"
    (place / "model.onnx").write_bytes(made.SerializeToString())
    (place / FILE).unlink()
    (place / "a" / "b").mkdir(parents=True)
    (place / "a" / "b" / "w").write_bytes(DATA[:half])
    (place / "a" / "w").write_bytes(DATA[half : 2 * half])
    np.testing.assert_allclose(answer(load(place)), right(X), rtol=1e-5)


# The walk sees every tensor


def _ways(message, seen=()) -> Iterator[list]:
    """Every way by fields from a message to a tensor, no type of message passed twice."""
    for field in message.fields:
        kind = field.message_type
        if kind is None or kind in seen:
            continue
        if kind.full_name == "onnx.TensorProto":
            yield [field]
        else:
            yield from ([field, *way] for way in _ways(kind, (*seen, kind)))


WAYS = list(_ways(DESCRIPTOR.message_types_by_name["ModelProto"]))


@pytest.mark.parametrize("way", WAYS, ids=[".".join(f.name for f in way) for way in WAYS])
def test_the_walk_finds_a_tensor_in_every_field_of_the_schema(way) -> None:
    made: ModelProto = graphs.softmax()
    place = made
    for field in way:
        place = getattr(place, field.name)
        if field.is_repeated:
            place = place.add()
    assert isinstance(place, TensorProto)
    place.CopyFrom(outside("t", "x"))
    found = onnx_file.read(made.SerializeToString()).external
    assert [reference.tensor for reference in found] == ["t"]


def test_fault_8_a_key_that_protobuf_cuts_short_hides_nothing(tmp_path, monkeypatch) -> None:
    """Parsers keep 32 bits of a field's key: 2**32 more is the same field to them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / FILE).write_bytes(DATA)
    plain = KINDS["initializer"](FILE).SerializeToString()
    key = b"\x6a"  # external_data of TensorProto
    tensor = KINDS["initializer"](FILE).graph.initializer[0].SerializeToString()
    hidden = tensor.replace(key, b"\xea\x80\x80\x80\x10")
    made = KINDS["initializer"](FILE)
    del made.graph.initializer[:]
    graph = made.graph.SerializeToString() + b"\x2a" + bytes([len(hidden)]) + hidden
    made.ClearField("graph")
    size = bytes([len(graph) & 0x7F | 0x80, len(graph) >> 7])
    model = made.SerializeToString() + b"\x3a" + size + graph
    assert model != plain
    session = onnxruntime.InferenceSession(model)
    np.testing.assert_allclose(session.run(None, {"x": X})[0], right(X), rtol=1e-5)
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "model.onnx").write_bytes(model)
    assert "corrupt" in reason(tmp_path / "1")


def test_fault_8_what_no_tensor_is_known_to_name_is_looked_for_nowhere(
    tmp_path, monkeypatch
) -> None:
    """Should a way to name a file ever escape the walk."""
    place = lay(tmp_path / "1", "If")
    monkeypatch.chdir(place)
    blind = replace(onnx_file.read((place / "model.onnx").read_bytes()), external=[])
    monkeypatch.setattr(onnx_file, "read", lambda model: blind)
    assert reason(place) == "the model's graph is not valid"


# What is missing


def test_a_missing_file_is_named_with_what_lies_there(tmp_path) -> None:
    place = lay(tmp_path, "If", "cnn.onnx.data", data=None)
    assert reason(place) == "it needs cnn.onnx.data beside model.onnx; there is no such file"
    (place / "model.onnx.data").write_bytes(DATA)
    (place / "input_example.json").write_text("{}")
    words = reason(place)
    assert words == "it needs cnn.onnx.data beside model.onnx; there is model.onnx.data"
    with pytest.raises(LoadError) as caught:
        load(place)
    assert caught.value.retry is Retry.ON_CHANGE  # it may still come


def test_what_lies_there_is_told_by_relative_names_and_bounded(tmp_path) -> None:
    place = lay(tmp_path, "Loop", "data/w.bin", data=None)
    (place / "weights").mkdir()
    for number in range(40):
        (place / "weights" / f"part\n{number:02}").write_bytes(b"")
    (place / "weights" / "w.bin").write_bytes(DATA)
    words = reason(place)
    assert words.endswith("beside model.onnx; there is weights/w.bin and 40 more")
    assert "part?00" in missing("x" * 300, "m.onnx", ["part\n00"])
    assert len(missing("x" * 300, "m.onnx", ["y" * 300] * 9)) < 600


# The private copy


def test_a_copy_is_private_and_has_a_name_only_while_the_session_is_made(tmp_path) -> None:
    place, state = lay(tmp_path / "1", "initializer", f"sub/{FILE}"), tmp_path / "state"
    with (
        open_files(place, "model.onnx") as files,
        private_folder(files.external, places(state)) as folder,
    ):
        assert folder.parent == state / "copies"
        for one in (state, folder.parent, folder, folder / "sub"):
            assert stat.S_IMODE(one.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "sub" / FILE).stat().st_mode) == 0o400
        assert (folder / "sub" / FILE).read_bytes() == DATA
    assert list((state / "copies").iterdir()) == []


def test_holes_stay_holes(tmp_path) -> None:
    place = lay(tmp_path / "1", "initializer")
    size = 64 << 20
    os.truncate(place / FILE, size)
    with (
        open_files(place, "model.onnx") as files,
        private_folder(files.external, places(tmp_path / "state")) as folder,
    ):
        facts = (folder / FILE).stat()
        assert facts.st_size == size
        assert facts.st_blocks * 512 < size // 8
        with (folder / FILE).open("rb") as copy:
            assert copy.read(len(DATA) + 1) == DATA + b"\0"


def test_mapped_weights_count_as_memory_once(tmp_path) -> None:
    before = mapped_bytes()
    runner = load(lay(tmp_path, "If"))
    assert mapped_bytes() - before == os.sysconf("SC_PAGESIZE")  # both branches, one range
    runner.close()
    assert mapped_bytes() == before


def test_fault_16_where_no_disk_takes_a_copy_memory_serves_what_it_can(tmp_path, nowhere) -> None:
    place = lay(tmp_path / "1", "several tensors of one file")
    runner = load(place)
    (place / FILE).write_bytes(OTHER)
    np.testing.assert_allclose(answer(runner), right(X), rtol=1e-5)
    (note,) = [note for note in runner.notes if "in memory" in note]
    assert "the state directory: read-only file system" in note


@pytest.mark.parametrize(
    "kind", [k for k in KINDS if k not in ("initializer", "several tensors of one file")]
)
def test_fault_16_what_onnxruntime_takes_from_files_only_says_so(
    kind, tmp_path, nowhere, monkeypatch
) -> None:
    place = lay(tmp_path / "1", kind)
    monkeypatch.chdir(place)
    with pytest.raises(LoadError, match="no place for a private copy") as caught:
        load(place)
    assert caught.value.retry is Retry.LATER  # there may be one then


def test_fault_16_the_next_place_is_taken_where_one_is_full(tmp_path, monkeypatch) -> None:
    place = lay(tmp_path / "1", "If")
    full, other = Place("the first", tmp_path / "full", True), Place("the other", tmp_path)
    made = private_copy._check_place

    def check(folder: Path, size: int) -> None:
        if folder == full.folder:
            raise OSError(28, "No space left on device")
        made(folder, size)

    monkeypatch.setattr(private_copy, "_check_place", check)
    with open_files(place, "model.onnx") as files:
        with private_folder(files.external, [full, other]) as folder:
            assert folder.parent == tmp_path
        with (
            pytest.raises(NoPlaceError, match="the first: no space left"),
            private_folder(files.external, [full]),
        ):
            pass


def test_a_disk_that_would_be_filled_to_its_end_is_not_taken(tmp_path) -> None:
    free = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    private_copy._check_place(tmp_path, 1)
    with pytest.raises(OSError, match="no space left"):
        private_copy._check_place(tmp_path, free - 1000)


@pytest.mark.skipif(sys.platform != "linux", reason="kinds of file systems by number")
def test_a_file_system_that_is_not_known_as_local_is_not_mapped_from(tmp_path) -> None:
    private_copy._check_place(tmp_path, 1)
    with pytest.raises(OSError, match="not a local one"):
        private_copy._check_place(Path("/proc"), 1)


def test_fault_9_a_file_that_changes_while_it_is_copied_fails_in_words(tmp_path) -> None:
    place = lay(tmp_path / "1", "If")
    with open_files(place, "model.onnx") as files:
        (place / FILE).write_bytes(OTHER[:-1])
        with (
            pytest.raises(LoadError, match="changed while it was read") as caught,
            private_folder(files.external, places(tmp_path / "state")),
        ):
            pass
    assert caught.value.retry is Retry.LATER
    assert list((tmp_path / "state" / "copies").iterdir()) == []


def test_fault_32_what_a_dead_process_left_is_removed_and_a_live_ones_stays(tmp_path) -> None:
    dead, alive = tmp_path / "serving-weights-dead", tmp_path / "serving-weights-alive"
    other = tmp_path / "something else"
    for folder in (dead, alive, other):
        folder.mkdir()
        (folder / "w").write_bytes(b"x")
    (tmp_path / "serving-weights-link").symlink_to(other)
    lock = os.open(alive, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert remove_dead([Place("here", tmp_path)]) == 1
    finally:
        os.close(lock)
    assert not dead.exists()
    assert (alive / "w").exists()
    assert (other / "w").exists()
