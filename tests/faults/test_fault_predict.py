"""Faults 50 to 58 on TensorFlow Serving's Predict: tensors that cannot be, each with a witness."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
import pytest

from serving.wire import tf_messages, tfs_messages
from tests.clients.gateway import Gateway
from tests.clients.tfs import model_spec, predict_request, stub, tensor_proto
from tests.clients.triton import channel, refusal
from tests.clients.witness import MIB, Witness

ROW = np.zeros((1, 4), np.float32)
ONE = np.zeros((1, 1), np.float32)
TYPES = tf_messages.enum("DataType")


def refused(gateway: Gateway, request: Any, *words: str) -> str:
    with channel(gateway) as one:
        error: Any = refusal(stub(one, "Predict"), request)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, error
    for word in words:
        assert word in error.details(), error.details()
    assert len(error.details()) < 4000
    return str(error.details())


def of(model: str, tensor: Any, name: str = "X") -> Any:
    request = tfs_messages.PredictRequest(model_spec=model_spec(model))
    request.inputs[name].CopyFrom(tensor)
    return request


def shaped(array: np.ndarray, sizes: list[int], *, values: bool = False) -> Any:
    """The array's data under another shape."""
    tensor = tensor_proto(array, values=values)
    tensor.tensor_shape.ClearField("dim")
    for size in sizes:
        tensor.tensor_shape.dim.add(size=size)
    return tensor


@pytest.mark.parametrize("values", [False, True], ids=["content", "values"])
@pytest.mark.parametrize(
    "sizes",
    [[2**32, 2**32], [2**62, 4], [2**63 - 1, 2], [2**61, 1], [0, 2**62, 2**62], [1 << 40, 1]],
)
def test_fault_50_shape_overflows_are_refused_before_any_allocation(
    tight: Gateway, sizes: list[int], *, values: bool
) -> None:
    with Witness(tight, slack=8 * MIB), channel(tight) as one:
        error: Any = refusal(
            stub(one, "Predict"), of("id_fp64", shaped(np.zeros((1, 1)), sizes, values=values))
        )
    allowed = {grpc.StatusCode.INVALID_ARGUMENT}
    # One value stands for all that a shape has: what can be counted is told as too large.
    allowed |= {grpc.StatusCode.RESOURCE_EXHAUSTED} if values else set()
    assert error.code() in allowed, error
    assert "X" in error.details()


@pytest.mark.parametrize("sizes", [[-1, 4], [-(2**63), 4], [1, -4], [-1, -4], [1] * 10_000])
def test_fault_51_dimensions_that_are_none(tight: Gateway, sizes: list[int]) -> None:
    with Witness(tight):
        refused(tight, of("tiny", shaped(ROW, sizes), "x"), "'x'")


@pytest.mark.parametrize("count", [1, 15, 17, 160])
def test_fault_52_content_of_a_wrong_length(tight: Gateway, count: int) -> None:
    tensor = tensor_proto(ROW)
    tensor.tensor_content = b"\0" * count
    with Witness(tight):
        refused(tight, of("tiny", tensor, "x"), "'x'", str(count))


def test_fault_53_thousands_of_inputs_and_outputs(tight: Gateway) -> None:
    with Witness(tight):
        refused(tight, predict_request("tiny", {f"x{i}": ROW[:0] for i in range(5000)}))
        outputs = tuple(f"y{i}" for i in range(10_000))
        refused(tight, predict_request("tiny", {"x": ROW}, outputs=outputs))
        refused(tight, predict_request("tiny", {}))


@pytest.mark.parametrize(
    "dtype", ["DT_INVALID", "DT_DOUBLE", "DT_STRING", "DT_COMPLEX64", "DT_RESOURCE", "DT_VARIANT"]
)
def test_fault_54_types_that_differ_or_are_none_of_the_models(tight: Gateway, dtype: str) -> None:
    tensor = tensor_proto(ROW)
    tensor.dtype = TYPES[dtype]
    refused(tight, of("tiny", tensor, "x"), "'x'")


def test_fault_54_a_type_by_a_number_that_none_has(tight: Gateway) -> None:
    tensor = tensor_proto(ROW)
    tensor.dtype = 9999
    refused(tight, of("tiny", tensor, "x"), "'x'")


@pytest.mark.parametrize(
    ("texts", "sizes"), [([b"a", b"b"], [1, 1]), ([], [1, 0, 1]), ([b"a"] * (1 << 16), [1, 3])]
)
def test_fault_55_texts_that_do_not_add_up(
    tight: Gateway, texts: list[bytes], sizes: list[int]
) -> None:
    tensor = shaped(np.array([["a"]], object), sizes)
    tensor.ClearField("string_val")
    tensor.string_val.extend(texts)
    with Witness(tight):
        refused(tight, of("id_bytes", tensor), "'X'")


@pytest.mark.parametrize("value", [b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"ok\xf0\x9f"])
def test_fault_56_bytes_that_are_no_utf8_are_refused(tight: Gateway, value: bytes) -> None:
    x = np.empty((1, 1), object)
    x[0, 0] = value
    refused(tight, predict_request("id_bytes", {"X": x}), "'X'")


@pytest.mark.parametrize("place", [0, 4999])
@pytest.mark.parametrize("value", [2, 255])
def test_fault_57_bool_bytes_other_than_0_and_1_are_refused(
    tight: Gateway, value: int, place: int
) -> None:
    content = bytearray(5000)
    content[place] = value
    tensor = tensor_proto(np.zeros((1, 5000), np.bool_))
    tensor.tensor_content = bytes(content)
    refused(tight, of("id_bool", tensor), f"element {place}", "'X'", str(value))


@pytest.mark.parametrize(
    ("model", "dtype", "value"),
    [
        ("id_int8", np.int8, 128),
        ("id_int8", np.int8, -129),
        ("id_uint8", np.uint8, 256),
        ("id_uint8", np.uint8, -1),
        ("id_int16", np.int16, 1 << 15),
        ("id_uint16", np.uint16, 1 << 16),
    ],
)
def test_fault_58_values_are_never_wrapped(
    tight: Gateway, model: str, dtype: Any, value: int
) -> None:
    tensor = tensor_proto(np.zeros((1, 1), dtype), values=True)
    tensor.int_val[0] = value
    refused(tight, of(model, tensor), "'X'", str(value))
