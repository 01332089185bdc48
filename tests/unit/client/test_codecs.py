"""Calls as bytes: held against protobuf, and against answers that are damaged."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.wire import messages
from serving_client.errors import DamagedAnswerError
from serving_client.exchange import Exchange, InferOptions, InferRequest
from serving_client.grpc_codec import GrpcCodec, read_varint, split_answer, varint
from serving_client.http_codec import HttpCodec
from serving_client.results import InferResult
from serving_client.tensors import SMALL_BYTES, encode_input

ROOT = Path(__file__).parents[3]
SMALL, LARGE = np.arange(6, dtype=np.int32).reshape(2, 3), np.zeros(SMALL_BYTES, np.float64)
OPTIONS = InferOptions(
    version="3",
    outputs=("a", "b"),
    parameters={"flag": True, "priority": 2**63, "level": -1, "rate": 0.5, "text": "é"},
    id="one",
    headers={"x-request-id": "one"},
    timeout=2.0,
)


def request(*arrays: np.ndarray) -> InferRequest:
    inputs = [encode_input(f"x{i}", array, None) for i, array in enumerate(arrays)]
    return InferRequest("m", inputs, OPTIONS)


@pytest.mark.parametrize("arrays", [(), (SMALL,), (LARGE,), (SMALL, LARGE, SMALL)])
def test_a_request_is_the_message_that_protobuf_reads(arrays: tuple[np.ndarray, ...]) -> None:
    exchange = GrpcCodec().infer(request(*arrays))
    read = messages.ModelInferRequest.FromString(exchange.body)
    assert (read.model_name, read.model_version, read.id) == ("m", "3", "one")
    assert [tensor.name for tensor in read.inputs] == [f"x{i}" for i in range(len(arrays))]
    assert [tuple(tensor.shape) for tensor in read.inputs] == [array.shape for array in arrays]
    assert list(read.raw_input_contents) == [array.tobytes() for array in arrays]
    assert [output.name for output in read.outputs] == ["a", "b"]
    kinds = {key: value.WhichOneof("parameter_choice") for key, value in read.parameters.items()}
    assert kinds == {
        "flag": "bool_param",
        "priority": "uint64_param",
        "level": "int64_param",
        "rate": "double_param",
        "text": "string_param",
    }
    assert exchange.headers == {"x-request-id": "one"}


def answer(*arrays: np.ndarray) -> Any:
    message = messages.ModelInferResponse(model_name="m", model_version="3", id="one")
    message.parameters["n"].int64_param = 5
    for i, array in enumerate(arrays):
        datatype = {"int32": "INT32", "float64": "FP64"}[str(array.dtype)]
        message.outputs.add(name=f"y{i}", datatype=datatype, shape=array.shape)
        message.raw_output_contents.append(array.tobytes())
    return message


@pytest.mark.parametrize("arrays", [(), (SMALL,), (LARGE,), (SMALL, LARGE, SMALL)])
def test_an_answer_is_read_as_protobuf_wrote_it(arrays: tuple[np.ndarray, ...]) -> None:
    body = answer(*arrays).SerializeToString()
    result: InferResult = GrpcCodec().infer(request()).read(body, {})
    assert (result.model, result.version, result.id) == ("m", "3", "one")
    assert result.parameters == {"n": 5}
    assert [result[name].tolist() for name in result] == [array.tolist() for array in arrays]


@given(st.integers(0, 2**64 - 1))
def test_numbers_are_written_as_protobuf_writes_them(number: int) -> None:
    assert read_varint(varint(number), 0) == (number, len(varint(number)))
    written = messages.StatisticDuration(count=number).SerializeToString()
    assert number == 0 or written == b"\x08" + varint(number)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_a_damaged_answer_is_an_error_of_its_own(data: st.DataObject) -> None:
    body = bytearray(answer(SMALL, LARGE).SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, 80))] = data.draw(st.integers(0, 255))
    cut = bytes(body[: data.draw(st.integers(0, len(body)))])
    with contextlib.suppress(DamagedAnswerError):
        GrpcCodec().infer(request()).read(cut, {})


def test_what_is_split_is_what_protobuf_reads() -> None:
    message = answer(SMALL, LARGE)
    head, tensors = split_answer(message.SerializeToString())
    assert [bytes(one) for one in tensors] == list(message.raw_output_contents)
    message.ClearField("raw_output_contents")
    assert messages.ModelInferResponse.FromString(head) == message
    with pytest.raises(DamagedAnswerError):
        split_answer(b"\x0b")  # A group.


def read_http(head: object, data: bytes = b"", length: str | None = None) -> InferResult:
    text = json.dumps(head).encode() if not isinstance(head, bytes) else head
    headers = {"inference-header-content-length": length or str(len(text))}
    exchange: Exchange[InferResult] = HttpCodec().infer(request())
    return exchange.read(text + data, headers)


def test_http_says_the_same_in_json_with_the_tensors_behind_it() -> None:
    exchange = HttpCodec().infer(request(SMALL, LARGE))
    assert exchange.target == "/v2/models/m/versions/3/infer"
    length = int(exchange.headers["inference-header-content-length"])
    head = json.loads(exchange.body[:length])
    assert exchange.body[length:] == SMALL.tobytes() + LARGE.tobytes()
    assert head["id"] == "one"
    assert head["outputs"] == [{"name": "a"}, {"name": "b"}]
    assert head["parameters"]["timeout"] == 2_000_000
    assert head["parameters"]["text"] == "é"
    assert head["inputs"][0]["parameters"] == {"binary_data_size": SMALL.nbytes}


@pytest.mark.parametrize("name", ["a/b", "a b", "..", "é", "a?b"])
def test_names_are_one_part_of_a_path(name: str) -> None:
    path = HttpCodec().model_metadata(name, "").target
    assert path.startswith("/v2/models/")
    assert "/" not in path.removeprefix("/v2/models/")


def test_an_output_of_json_is_read_too() -> None:
    output = {"name": "y", "datatype": "INT8", "shape": [2], "data": [1, 2]}
    assert read_http({"model_name": "m", "outputs": [output]})["y"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("head", "length"),
    [
        (b"", None),
        (b"[", None),
        ([], None),
        ({}, None),
        ({"model_name": "m"}, None),
        ({"model_name": "m", "outputs": [{}]}, None),
        ({"model_name": "m", "outputs": 3}, None),
        ({"model_name": "m", "outputs": []}, "x"),
        *(
            (
                {
                    "model_name": "m",
                    "outputs": [{"name": "y", "datatype": "INT8", "shape": shape, "data": data}],
                },
                None,
            )
            for shape, data in (([1], [300]), ([1], [1e999]), ([2**70], [1]))
        ),
        *(
            (
                {
                    "model_name": "m",
                    "outputs": [
                        {
                            "name": "y",
                            "datatype": "INT8",
                            "shape": [2],
                            "parameters": {"binary_data_size": size},
                        }
                    ],
                },
                None,
            )
            for size in (3, -1, 99, "2")
        ),
    ],
)
def test_an_answer_of_another_form_is_an_error_of_its_own(head: object, length: str | None) -> None:
    with pytest.raises(DamagedAnswerError):
        read_http(head, b"\0\0\0", length)


def test_the_clients_descriptors_are_those_of_the_protos(tmp_path: Path) -> None:
    """``make protos`` compiles them."""
    fresh = tmp_path / "fresh.binpb"
    options = ("-I", "protos", "--include_imports", f"--descriptor_set_out={fresh}")
    command = (sys.executable, "-m", "grpc_tools.protoc", *options, "inference.proto")
    subprocess.run(command, cwd=ROOT, timeout=60, check=True)
    kept = ROOT / "client" / "src" / "serving_client" / "inference.binpb"
    assert kept.read_bytes() == fresh.read_bytes()
