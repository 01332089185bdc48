"""Requests that a TensorFlow Serving has logged, read as the inputs of a model."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.errors import LoadError, Retry
from serving.loading.inputs import logged_requests
from serving.loading.inputs.logged_requests import MAX_RECORDS, read
from serving.loading.inputs.samples import Sources, collect
from serving.model_config import ModelConfig
from serving.model_config.schema import SignatureConfig
from serving.signature import Signature, Tensor
from serving.wire import tf_messages, tfs_messages
from tests.clients import tf_records
from tests.clients.tf_records import log, record, write_warmup
from tests.clients.tfs import predict_request

X = np.array([[1, 2], [3, 4]], np.float32)
MODEL = Signature(
    inputs=(Tensor("x", "FP32", (-1, 2)), Tensor("t", "BYTES", (-1,), optional=True)),
    outputs=(Tensor("y", "FP32", (-1, 2)), Tensor("v", "FP32", (-1,))),
)
NAMED = (
    SignatureConfig("c", "classify", scores="y"),
    SignatureConfig("r", "regress", inputs=("x",), output="v"),
)
TEXTS = np.array(["a", "é"], object)


def predict(**inputs: np.ndarray) -> bytes:
    return log(tf_records.PREDICT, predict_request("elsewhere", inputs, version=17))


def examples(kind: str, number: int, *rows: list[float]) -> bytes:
    request = getattr(tfs_messages, kind)()
    request.model_spec.name = "elsewhere"
    for row in rows:
        example = request.input.example_list.examples.add()
        example.features.feature["x"].float_list.value.extend(row)
    return log(number, request)


def multi_inference() -> bytes:
    request = tfs_messages.MultiInferenceRequest()
    for name, method in (("r", "regress"),):
        task = request.tasks.add(method_name=f"tensorflow/serving/{method}")
        task.model_spec.name, task.model_spec.signature_name = "elsewhere", name
    example = tf_messages.Example()
    example.features.feature["x"].float_list.value.extend([5, 6])
    request.input.example_list.examples.append(example)
    return log(tf_records.MULTI_INFERENCE, request)


def found(folder: Path, most_bytes: int = 1 << 20) -> list[Any]:
    return read(folder, MODEL, NAMED, most_bytes, 100)


@pytest.mark.parametrize(
    "lay", ["a file", "a link", "a link to nothing", "a pipe", "a folder", "a file above"]
)
def test_whatever_lies_in_the_files_place_is_to_be_read(tmp_path: Path, lay: str) -> None:
    """By the trial: what is to be refused is refused there."""
    sources = Sources(tmp_path, tmp_path)
    assert not sources.any(ModelConfig())
    place = tmp_path / tf_records.FILE
    if lay == "a file above":
        place.parent.touch()
    else:
        place.parent.mkdir()
        assert not sources.any(ModelConfig())
    if lay == "a file":
        place.touch()
    elif lay == "a link":
        place.symlink_to(tmp_path)
    elif lay == "a link to nothing":
        place.symlink_to("nothing")
    elif lay == "a pipe":
        os.mkfifo(place)
    elif lay == "a folder":
        place.mkdir()
    assert sources.any(ModelConfig())


def test_requests_of_every_call_become_inputs(tmp_path: Path) -> None:
    """Whichever model and version they were sent to."""
    logs = [
        predict(x=X, t=TEXTS),
        predict(x=X[:1]),
        examples("ClassificationRequest", tf_records.CLASSIFY, [1, 2], [3, 4]),
        examples("RegressionRequest", tf_records.REGRESS, [7, 8]),
        multi_inference(),
        log(tf_records.SESSION_RUN, b""),
        log(tf_records.STREAMED, b""),
    ]
    write_warmup(tmp_path, logs)
    both, first, classified, regressed, several, *others = found(tmp_path)
    assert others == ["session_run_log", "predict_streamed_log"]
    np.testing.assert_array_equal(both["x"], X)
    assert both["t"].tolist() == ["a", "é"]
    assert list(first) == ["x"]
    np.testing.assert_array_equal(first["x"], X[:1])
    np.testing.assert_array_equal(classified["x"], X)
    np.testing.assert_array_equal(regressed["x"], [[7, 8]])
    np.testing.assert_array_equal(several["x"], [[5, 6]])
    samples = collect(Sources(tmp_path, tmp_path), MODEL, ModelConfig(signatures=NAMED))
    assert [one.what for one in samples.samples][-1] == f"record 4 of {tf_records.FILE}"
    (note,) = samples.notes
    assert note.startswith("2 of the records of assets.extra/tf_serving_warmup_requests are")
    assert "predict_streamed_log or session_run_log" in note


def test_without_a_file_there_are_none(tmp_path: Path) -> None:
    assert found(tmp_path) == []
    write_warmup(tmp_path, [])
    assert found(tmp_path) == []


def _wrong(folder: Path, *logs: bytes, most_bytes: int = 1 << 20) -> str:
    write_warmup(folder, logs)
    with pytest.raises(LoadError) as error:
        found(folder, most_bytes)
    return error.value.reason


def test_the_record_that_is_wrong_is_named(tmp_path: Path) -> None:
    good = predict(x=X)
    for bad, words in (
        (b"\xff", "record 1: malformed protobuf message"),
        (b"", "record 1: it holds no log of a request"),
        (b"\x32\x00", "record 1: its log holds no request"),
        (predict(z=X), "record 1: "),
        (predict(x=X.astype(np.float64)), "record 1: "),
        (predict(x=np.zeros((1, 3), np.float32)), "record 1: unexpected shape for input 'x'"),
        (
            log(tf_records.PREDICT, predict_request("m", {"x": X}, signature="s")),
            'record 1: Serving signature key "s" not found.',
        ),
        (
            examples("ClassificationRequest", tf_records.CLASSIFY, [1]),
            "record 1: Key: x, Index: 0.  Number of float values != expected.",
        ),
    ):
        said = _wrong(tmp_path, good, bad)
        assert said.startswith("assets.extra/tf_serving_warmup_requests: " + words), said


def test_a_damaged_file_is_told_by_its_record(tmp_path: Path) -> None:
    path = write_warmup(tmp_path, [predict(x=X)] * 2)
    whole = path.read_bytes()
    half = len(whole) // 2
    for at, words in ((half, "its length"), (half + 14, "its data"), (3, "its length")):
        damaged = bytearray(whole)
        damaged[at] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(LoadError, match=f"record {at // half}: {words} does not match"):
            found(tmp_path)
    path.write_bytes(whole[:-1])
    with pytest.raises(LoadError, match="record 1: the file ends within it"):
        found(tmp_path)


def test_what_is_read_is_bounded(tmp_path: Path) -> None:
    session_run = record(log(tf_records.SESSION_RUN, b""))
    path = write_warmup(tmp_path, [])
    path.write_bytes(session_run * MAX_RECORDS)
    assert len(found(tmp_path)) == MAX_RECORDS
    path.write_bytes(session_run * (MAX_RECORDS + 1))
    with pytest.raises(LoadError, match="more than 1000 records"):
        found(tmp_path)
    assert "has more than 10 bytes" in _wrong(tmp_path, predict(x=X), most_bytes=10)
    few = tfs_messages.PredictRequest()
    few.model_spec.name = "m"
    few.inputs["x"].dtype = 1
    for size in (1 << 30, 2):
        few.inputs["x"].tensor_shape.dim.add(size=size)
    said = _wrong(tmp_path, log(tf_records.PREDICT, few))
    assert "record 0: the inputs up to here take more than 1048576 bytes" in said


@pytest.mark.parametrize(
    ("number", "retry"),
    [(errno.EIO, Retry.LATER), (errno.ESTALE, Retry.LATER), (errno.ENOENT, Retry.ON_CHANGE)],
)
def test_what_the_system_refuses_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, retry: Retry
) -> None:
    write_warmup(tmp_path, [predict(x=X)])

    def refuse(*_: Any, **__: Any) -> bytes:
        raise OSError(number, "it did not work")

    monkeypatch.setattr(logged_requests, "read_inside", refuse)
    with pytest.raises(LoadError) as error:
        found(tmp_path)
    assert (error.value.retry, "requests" in error.value.reason) == (retry, True)


@pytest.mark.parametrize("link", [tf_records.FILE, tf_records.FILE.parent])
def test_a_link_to_nothing_is_no_version_without_a_file(tmp_path: Path, link: Path) -> None:
    version = tmp_path / "1"
    (version / link).parent.mkdir(parents=True, exist_ok=True)
    (version / link).symlink_to(version / "elsewhere")
    with pytest.raises(LoadError, match="a link to nothing") as error:
        found(version)
    assert error.value.retry == Retry.ON_CHANGE


def test_what_was_looked_at_is_what_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link that comes into the file's place in between leads nowhere."""
    (tmp_path / "secret").write_bytes(b"")
    version = tmp_path / "1"
    path = write_warmup(version, [])
    resolve = os.path.realpath

    def resolve_then_swap(of: Any, **options: Any) -> str:
        said = resolve(of, **options)
        if Path(of) == path:
            path.unlink()
            path.symlink_to(tmp_path / "secret")
        return said

    monkeypatch.setattr(os.path, "realpath", resolve_then_swap)
    with pytest.raises(LoadError, match="cannot be read: too many levels of symbolic links"):
        found(version)


def test_a_link_within_the_version_is_followed(tmp_path: Path) -> None:
    path = write_warmup(tmp_path, [predict(x=X)])
    path.rename(tmp_path / "requests")
    path.symlink_to(tmp_path / "requests")
    assert len(found(tmp_path)) == 1


def test_a_link_that_leaves_the_version_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"")
    version = tmp_path / "1"
    (version / "assets.extra").mkdir(parents=True)
    (version / tf_records.FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LoadError, match="a link that leaves"):
        found(version)
