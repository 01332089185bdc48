"""Model files: read once, checked before onnxruntime sees them."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, load_model_from_string

from serving.errors import LoadError, Retry
from serving.execution import onnx_file
from serving.execution.files import open_files
from serving.execution.isolation import snapshot
from serving.execution.isolation.child import main as worker
from serving.execution.session import load_runner
from serving.model_config.schema import ModelConfig
from serving.settings import Settings
from tests.small_models import tiny, write
from tests.unit import graphs

WEIGHTS = np.array([1, 2, 3], np.float32).tobytes()
ZEROS = {"a": np.zeros((1, 3), np.float32)}


def load(place: Path):
    return load_runner(place, ModelConfig(), Settings())


def reason(place: Path) -> str:
    with pytest.raises(LoadError) as caught:
        load(place)
    assert str(place) not in caught.value.reason
    assert "onnxruntime_src" not in caught.value.reason
    return caught.value.reason


def test_fault_1_corrupt_empty_and_truncated_files_are_refused_in_words(tmp_path):
    whole = graphs.softmax().SerializeToString()
    place = graphs.write(tmp_path, graphs.softmax())
    for content, words in (
        (b"", "empty"),
        (b"not onnx at all", "corrupt"),
        (whole[:-7], "corrupt"),
    ):
        (place / "model.onnx").write_bytes(content)
        assert words in reason(place)


def test_fault_1_every_prefix_of_a_small_model_is_refused(tmp_path):
    whole = graphs.softmax().SerializeToString()
    place = graphs.write(tmp_path, graphs.softmax())
    # The last few bytes are the opset import, which protobuf can do without.
    for length in range(1, len(whole) - 4):
        (place / "model.onnx").write_bytes(whole[:length])
        reason(place)


def test_a_version_without_a_model_file_says_which_is_missing(tmp_path):
    assert reason(tmp_path) == "there is no model.onnx"


def test_a_folder_called_model_onnx_may_hold_the_model_and_its_data(tmp_path):
    flat = graphs.external("weights/w.bin", tmp_path, WEIGHTS)
    place = tmp_path / "m" / "2"
    place.mkdir()
    flat.rename(place / "model.onnx")
    assert load(place).run(["y"], ZEROS)[0].tolist() == [[1, 2, 3]]


def test_fault_9_external_data_changed_after_the_load_changes_no_answer(tmp_path):
    place = graphs.external("w.bin", tmp_path, WEIGHTS)
    runner = load(place)
    for spoil in (
        lambda file: file.write_bytes(b"\xff" * 12),
        lambda file: os.truncate(file, 0),
        lambda file: file.unlink(),
    ):
        spoil(place / "w.bin")
        assert runner.run(["y"], ZEROS)[0].tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(
    "location", ["../w.bin", "sub/../../w.bin", "/etc/hostname", "a\\..\\w.bin"]
)
def test_fault_8_external_data_outside_the_folder_is_refused(tmp_path, location):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "w.bin").write_bytes(WEIGHTS)
    words = reason(graphs.external(location, tmp_path))
    assert "external data of 'w'" in words
    assert location not in words


def test_fault_69_what_the_disk_refuses_is_tried_again_later(tmp_path):
    place = graphs.external("w" * 300, tmp_path)
    with pytest.raises(LoadError, match="cannot be read: file name too long") as caught:
        load(place)
    assert caught.value.retry is Retry.LATER


def test_fault_69_files_larger_than_the_memory_say_so(tmp_path):
    place = graphs.write(tmp_path, graphs.softmax())
    with (place / "model.onnx").open("r+b") as stream:
        stream.truncate(2**30)
    code = f"""
import os, resource
from pathlib import Path
from serving.errors import LoadError
from serving.execution.files import open_files
size = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGESIZE")
resource.setrlimit(resource.RLIMIT_AS, (size + 2**28, resource.RLIM_INFINITY))
try:
    with open_files(Path({str(place)!r}), "model.onnx"):
        pass
except LoadError as error:
    print(error.reason, error.retry, error.for_memory)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "there is not enough memory for the model's files later True\n"


def test_fault_8_links_to_external_data_are_refused(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "w.bin").write_bytes(WEIGHTS)
    place = graphs.external("w.bin", tmp_path)
    (place / "w.bin").symlink_to(outside / "w.bin")
    assert "symbolic link" in reason(place)
    (place / "w.bin").unlink()
    (place / "w.bin").hardlink_to(outside / "w.bin")
    assert "hard link" in reason(place)
    place = graphs.external("sub/w.bin", tmp_path)
    (place / "sub").symlink_to(outside)
    assert "symbolic link" in reason(place)


def test_fault_8_an_address_in_memory_is_no_location(tmp_path):
    place = graphs.external("*/_ORT_MEM_ADDR_/*", tmp_path, WEIGHTS, offset="4096", length="12")
    assert "outside" in reason(place)


def test_fault_8_a_device_or_folder_is_no_external_data(tmp_path):
    place = graphs.external("w.bin", tmp_path)
    os.mkfifo(place / "w.bin")
    assert "not a regular file" in reason(place)
    (place / "w.bin").unlink()
    (place / "w.bin").mkdir()
    assert "not a regular file" in reason(place)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"length": str(1 << 60)}, "its file has 12 bytes"),
        ({"offset": str((1 << 63) - 1)}, "its file has 12 bytes"),
        ({"length": "-1"}, "not a number of bytes"),
        ({"length": "9" * 4000}, "not a number of bytes"),
        ({"length": "8"}, "does not fit"),
        ({"surprise": "1"}, "unknown key 'surprise'"),
    ],
)
def test_fault_10_odd_external_entries_are_refused(tmp_path, entries, words):
    assert words in reason(graphs.external("w.bin", tmp_path, WEIGHTS, **entries))


def test_fault_10_a_file_larger_than_memory_is_refused_unread(tmp_path):
    place = graphs.external("w.bin", tmp_path, WEIGHTS)
    os.truncate(place / "w.bin", 1 << 42)
    assert "more than the memory" in reason(place)


def test_fault_10_a_key_given_twice_is_refused(tmp_path):
    place = graphs.external("w.bin", tmp_path, WEIGHTS)
    made = load_model_from_string((place / "model.onnx").read_bytes())
    made.graph.initializer[0].external_data.add(key="location", value="other.bin")
    (place / "model.onnx").write_bytes(made.SerializeToString())
    assert "a key twice" in reason(place)


def test_external_data_is_found_wherever_a_tensor_may_be():
    tensor = TensorProto(name="t", data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="x")
    constant = helper.make_node("Constant", [], ["c"], value=tensor)
    branch = helper.make_graph([constant], "b", [], [])
    made = helper.make_model(helper.make_graph([], "g", [], []))
    made.graph.node.append(helper.make_node("If", ["k"], ["y"], then_branch=branch))
    made.graph.initializer.append(tensor)
    made.graph.sparse_initializer.add().values.CopyFrom(tensor)
    made.graph.sparse_initializer.add().indices.CopyFrom(tensor)
    made.functions.add(domain="d", name="f").node.append(constant)
    made.training_info.add().algorithm.initializer.append(tensor)
    found = onnx_file.read(made.SerializeToString())
    assert [reference.tensor for reference in found.external] == ["t"] * 6


def test_external_entries_count_without_the_location_field():
    made = graphs.softmax()
    made.graph.initializer[0].external_data.add(key="location", value="../x")
    (found,) = onnx_file.read(made.SerializeToString()).external
    assert found.entries == (("location", "../x"),)


def test_fault_12_an_unknown_operator_domain_is_named(tmp_path):
    foo = graphs.node("Foo", ["a"], ["y"], domain="org.example")
    values = [("a", graphs.FLOAT, ["n"])], [("y", graphs.FLOAT, ["n"])]
    place = graphs.write(tmp_path, graphs.model([foo], *values, domains=["org.example"]))
    assert "custom domain 'org.example'" in reason(place)


def test_a_domain_that_the_file_itself_defines_is_known(tmp_path):
    relu = helper.make_node("Relu", ["x"], ["z"])
    opsets = [helper.make_opsetid("", 17)]
    function = helper.make_function("org.example", "Mine", ["x"], ["z"], [relu], opsets)
    use = graphs.node("Mine", ["a"], ["y"], domain="org.example")
    values = [("a", graphs.FLOAT, ["n"])], [("y", graphs.FLOAT, ["n"])]
    made = graphs.model([use], *values, domains=["org.example"])
    made.functions.append(function)
    runner = load(graphs.write(tmp_path, made))
    assert runner.run(["y"], {"a": np.array([-1, 1], np.float32)})[0].tolist() == [0, 1]


def test_a_model_that_links_out_of_its_version_is_refused(tmp_path):
    place = graphs.write(tmp_path, graphs.softmax())
    (place / "model.onnx").rename(tmp_path / "elsewhere.onnx")
    (place / "model.onnx").symlink_to(tmp_path / "elsewhere.onnx")
    assert "leaves the version's folder" in reason(place)


def test_graphs_nested_without_end_are_refused():
    # ModelProto.graph { node { attribute { g { node ... } } } }, by hand: no library writes it.
    def field(number: int, inner: bytes) -> bytes:
        length = len(inner)
        size = bytes([length & 0x7F | 0x80, length >> 7 & 0x7F | 0x80, length >> 14])
        return bytes([number << 3 | 2]) + size + inner

    graph = b""
    for _ in range(150):
        graph = field(1, field(5, field(6, graph)))
    with pytest.raises(onnx_file.NotOnnxError, match="nested"):
        onnx_file.read(field(7, graph))


def test_a_walk_over_random_bytes_ends_with_a_verdict():
    rng = np.random.default_rng(0)
    for _ in range(500):
        data = rng.integers(0, 256, rng.integers(1, 200), np.uint8).tobytes()
        try:
            onnx_file.read(b"\x3a" + data)
        except onnx_file.NotOnnxError:
            continue


def test_reading_needs_no_onnx_package(tmp_path):
    place = graphs.write(tmp_path, graphs.softmax())
    with open_files(place, "model.onnx") as files:
        assert files.external == ()
        assert files.model == (place / "model.onnx").read_bytes()


def test_a_limit_of_the_size_of_files_is_no_want_of_memory(tmp_path: Path) -> None:
    """What a process of its own gets of the model is a file to the kernel."""
    place = write(tmp_path, "m", tiny())
    fd = snapshot.new()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with open_files(place, "model.onnx") as files:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
        try:
            with pytest.raises(LoadError, match=r"\(ulimit -f\) is 0 bytes") as failed:
                worker._keep(fd, files)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            os.close(fd)
    assert failed.value.retry is Retry.NEVER
