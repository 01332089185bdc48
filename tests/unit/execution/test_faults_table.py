"""onnxruntime's errors in our words, held against the onnxruntime that is installed."""

from __future__ import annotations

import locale
import re

import numpy as np
import pytest
from onnx import TensorProto

from serving.errors import ErrorCode, LoadError, Retry
from serving.execution import text_locale
from serving.execution.faults import NO_THREAD, Limit, cause_of, classify, load_reason
from serving.execution.session import load_runner
from serving.model_config.schema import ModelConfig
from serving.settings import Settings
from tests.unit import graphs
from tests.unit.graphs import FLOAT, INT64, STRING, one

TABLE = np.arange(12, dtype=np.float32).reshape(4, 3)
INDEX = "an index is out of range"
ZERO = "an integer is divided by zero"
COUNT = "the number of elements does not fit the shape they are put into"
SHAPES = "the shapes of the inputs do not fit together"
VALUE = "a value is not one the operator takes"
AXIS = "an axis is out of range"
NUMBER = "a text is not a number"
SIZE = "a size is too large or negative"
A, Y = ("a", FLOAT, ["n"]), ("y", FLOAT, None)
S, SCALAR = ("s", INT64, ["k"]), ("s", INT64, [])


def ones(*shape):
    return np.ones(shape, np.float32)


def ints(*values):
    return np.array(values, np.int64)


MATRICES = [("a", FLOAT, ["n", "k"]), ("b", FLOAT, ["q", "m"])]
PAIR = {"a": ones(4, 2), "b": ones(3, 2)}
# (operator, inputs, constants, attributes, bad data, our words)
BAD_DATA = [
    ("Gather", [("i", INT64, ["n"])], {"d": TABLE}, {"order": "di"}, {"i": ints(9)}, INDEX),
    ("GatherElements", [("i", INT64, ["n", 3])], {"d": TABLE}, {"order": "di"},
     {"i": ints([9, 9, 9])}, INDEX),
    ("GatherND", [("i", INT64, ["n", 1])], {"d": TABLE}, {"order": "di"}, {"i": ints([9])}, INDEX),
    ("ScatterND", [("i", INT64, ["n", 1]), ("u", FLOAT, ["n", 3])], {"d": TABLE},
     {"order": "diu"}, {"i": ints([9]), "u": TABLE[:1]}, INDEX),
    ("ScatterElements", [("i", INT64, ["n", 1]), ("u", FLOAT, ["n", 1])], {"d": TABLE},
     {"order": "diu"}, {"i": ints([9]), "u": TABLE[:1, :1]}, INDEX),
    ("Reshape", [A, S], {}, {}, {"a": ones(4), "s": ints(3, 3)}, COUNT),
    ("Reshape", [A, S], {}, {}, {"a": ones(4), "s": ints(-1, -1)}, COUNT),
    ("Reshape", [A, S], {}, {}, {"a": ones(4), "s": ints(-7, 3)}, COUNT),
    ("Add", [A, ("b", FLOAT, ["m"])], {}, {}, {"a": ones(4), "b": ones(3)}, SHAPES),
    ("MatMul", MATRICES, {}, {}, PAIR, SHAPES),
    ("Gemm", MATRICES, {}, {}, PAIR, SHAPES),
    ("Concat", MATRICES, {}, {"axis": 1}, PAIR, SHAPES),
    ("Einsum", MATRICES, {}, {"equation": "ij,jk->ik"}, PAIR, SHAPES),
    ("Conv", [("a", FLOAT, ["n", "c", "h", "w"])], {"k": ones(2, 3, 3, 3)}, {},
     {"a": ones(1, 2, 5, 5)}, SHAPES),
    ("Conv", [("a", FLOAT, ["n", "c", "h", "w"])], {"k": ones(2, 3, 3, 3)}, {},
     {"a": ones(1, 3, 2, 2)}, SHAPES),
    ("Expand", [A, S], {}, {}, {"a": ones(4), "s": ints(3)}, SHAPES),
    ("Split", [A, S], {}, {"outputs": 2}, {"a": ones(4), "s": ints(1, 1)}, SHAPES),
    ("Squeeze", [("a", FLOAT, ["n", "m"]), S], {}, {}, {"a": ones(4, 2), "s": ints(1)}, SHAPES),
    ("Pad", [A, S], {}, {}, {"a": ones(4), "s": ints(1)}, SHAPES),
    ("Pad", [A, S], {}, {}, {"a": ones(4), "s": ints(-9, 0)}, SIZE),
    ("Expand", [A, S], {}, {}, {"a": ones(1), "s": ints(1 << 62, 1 << 62)}, SIZE),
    ("TopK", [A, S], {}, {"outputs": 2}, {"a": ones(4), "s": ints(9)}, VALUE),
    ("Tile", [A, S], {}, {}, {"a": ones(4), "s": ints(-1)}, VALUE),
    ("Tile", [A, S], {}, {}, {"a": ones(4), "s": ints(1, 1)}, VALUE),
    ("Unsqueeze", [A, S], {}, {}, {"a": ones(4), "s": ints(7)}, AXIS),
    ("CumSum", [A, SCALAR], {}, {}, {"a": ones(4), "s": np.asarray(9)}, AXIS),
    ("Cast", [("a", STRING, ["n"])], {}, {"to": FLOAT}, {"a": np.array(["abc"], object)}, NUMBER),
    ("Resize", [("a", FLOAT, ["n"]), ("s", INT64, [1])], {},
     {"order": ["a", "", "", "s"], "mode": "nearest"}, {"a": ones(1), "s": ints(-1)}, VALUE),
    ("OneHot", [("i", INT64, ["n"]), ("d", INT64, [])], {"v": ones(2)}, {},
     {"i": ints(1), "d": np.asarray(-1)}, VALUE),
]  # fmt: skip


def failure(tmp_path, made, feeds) -> Exception:
    runner = load_runner(graphs.write(tmp_path, made), ModelConfig(), Settings())
    with pytest.raises(Exception) as caught:  # noqa: PT011 - onnxruntime's share no base
        runner.run([tensor.name for tensor in runner.signature.outputs], feeds)
    return caught.value


def assert_says_nothing_internal(message: str) -> None:
    assert not re.search(r"/|\.cc|\.h:|::|ONNXRuntime|onnxruntime|Status|0x", message), message


@pytest.mark.parametrize(
    ("operator", "inputs", "constants", "attributes", "feeds", "words"),
    BAD_DATA,
    ids=[f"{case[0]}-{number}" for number, case in enumerate(BAD_DATA)],
)
def test_data_that_an_operator_refuses_is_bad_data(
    tmp_path, operator, inputs, constants, attributes, feeds, words
):
    attributes = dict(attributes)
    order = list(attributes.pop("order", ""))
    types = {"TopK": [("y", FLOAT, None), ("z", INT64, None)]}
    outputs = types.get(operator, [("y", FLOAT, None), ("z", FLOAT, None)])
    made = one(
        operator, inputs, outputs[: attributes.pop("outputs", 1)], constants, order, **attributes
    )
    fault = classify(failure(tmp_path, made, feeds))
    assert fault.code is ErrorCode.BAD_DATA
    assert fault.message == f"the model refused this input: {words} (operator {operator})"
    assert_says_nothing_internal(fault.message)
    assert operator in fault.detail


@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.INT32, TensorProto.UINT8])
@pytest.mark.parametrize("operator", ["Div", "Mod"])
def test_an_integer_divided_by_zero_is_bad_data(tmp_path, operator, kind):
    dtype = {7: np.int64, 6: np.int32, 2: np.uint8}[kind]
    made = one(operator, [("a", kind, ["n"]), ("b", kind, ["n"])], [("y", kind, ["n"])])
    fault = classify(failure(tmp_path, made, {"a": np.ones(4, dtype), "b": np.zeros(4, dtype)}))
    assert fault.code is ErrorCode.BAD_DATA
    assert ZERO in fault.message


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (ones(2, 4), "input 'a': dimension 1 is 4, expected 3"),
        (ones(2), "input 'a' has 1 dimensions, expected 2"),
        (np.ones((2, 3)), "an input has datatype tensor(double), expected tensor(float)"),
    ],
)
def test_inputs_that_onnxruntime_itself_refuses_are_bad_requests(tmp_path, array, message):
    made = one("Neg", [("a", FLOAT, ["n", 3])], [("y", FLOAT, None)])
    fault = classify(failure(tmp_path, made, {"a": array}))
    assert (fault.code, fault.message) == (ErrorCode.BAD_REQUEST, message)


def test_fault_24_more_memory_than_there_is_fails_the_request_alone(tmp_path):
    made = one("Expand", [A, S], [Y])
    error = failure(tmp_path, made, {"a": ones(1), "s": ints(1 << 45)})
    fault = classify(error)
    assert fault.code is ErrorCode.TOO_LARGE
    assert f"{4 << 45} bytes of memory at once" in fault.message
    assert fault.message.endswith("(operator Expand)")
    assert_says_nothing_internal(fault.message)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(
            "while running Relu node. Name:'r' Status Message: /src/arena.cc:360 Failed to allocate"
            " memory for requested buffer of size 4096"
        ),
        RuntimeError("while running Relu node. Name:'r' Status Message: std::bad_alloc"),
        MemoryError("outputs of 4096 bytes"),
    ],
)
def test_fault_102_want_of_memory_is_never_called_the_models_own_fault(error):
    """It is the request's where nothing else took of the limit, else nobody's."""
    alone, beside = Limit(8192), Limit(8192, shared=True)
    assert classify(error, alone).code is ErrorCode.TOO_LARGE
    assert "8192 bytes" in classify(error, alone).message
    for limit in (beside, None):
        assert classify(error, limit).code is ErrorCode.FULL
        assert "beside others" in classify(error, limit).message
        assert_says_nothing_internal(classify(error, limit).message)


@pytest.mark.parametrize(
    ("operator", "size", "constants"),
    [
        ("ConstantOfShape", 1 << 62, {}),
        ("ConstantOfShape", (1 << 63) - 1, {}),
        ("Expand", 1 << 62, {"a": ones(1)}),
        ("Tile", 1 << 40, {"a": ones(1)}),
    ],
)
def test_fault_102_a_size_that_no_tensor_has_is_the_requests_fault(
    tmp_path, operator, size, constants
):
    made = one(operator, [S], [Y], constants, [*constants, "s"])
    fault = classify(failure(tmp_path, made, {"s": ints(size)}))
    assert fault.code is ErrorCode.TOO_LARGE
    assert fault.message.endswith(f"larger than possible (operator {operator})")


def test_the_innermost_operator_is_named():
    text = (
        "Non-zero status code returned while running Loop node. Name:'l' Status Message:"
        " Non-zero status code returned while running Gather node. Name:'' Status Message:"
        " indices element out of data bounds, idx=9"
    )
    assert classify(RuntimeError(text)).message.endswith("(operator Gather)")


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("/onnxruntime_src/core/x.cc:12 something at 0x7f00 went wrong"),
        RuntimeError("while running Foo node. Name:'/a/b' Status Message: /src/x.cc:3 unheard of"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        KeyError("surprise"),
    ],
)
def test_what_no_pattern_knows_is_our_own_fault(error):
    fault = classify(error)
    assert fault.code is ErrorCode.INTERNAL
    assert_says_nothing_internal(fault.message)
    assert str(error) in fault.detail


VALUES = [("a", FLOAT, ["n"])], [("y", FLOAT, ["n"])]


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (graphs.model([graphs.node("Relu", ["a"], ["y"])], *VALUES, ir=99), "IR version 99"),
        (
            graphs.model([graphs.node("Relu", ["a"], ["y"])], *VALUES, opset=99),
            "opset 99 of ai.onnx",
        ),
        (graphs.model([graphs.node("Foo", ["a"], ["y"])], *VALUES), "operator Foo is not known"),
        (
            graphs.model(
                [graphs.node("Foo", ["a"], ["y"], domain="com.microsoft")],
                *VALUES,
                domains=["com.microsoft"],
            ),
            "operator Foo of domain 'com.microsoft'",
        ),
        (graphs.model([graphs.node("Relu", ["b"], ["y"])], *VALUES), "graph is not valid"),
        (
            one("Relu", [("a", STRING, ["n"])], [("y", STRING, ["n"])]),
            "operator Relu a type that it does not take",
        ),
        (
            graphs.model(
                [graphs.node("Cos", ["a"], ["y"])],
                [("a", graphs.BF16, ["n"])],
                [("y", graphs.BF16, ["n"])],
                opset=22,
                ir=10,
            ),
            "no execution provider here runs operator Cos",
        ),
        (
            one("Div", [], [("y", INT64, [1])], {"a": ints(1), "b": ints(0)}),
            "divides a constant integer by zero",
        ),
        (
            graphs.model(
                [
                    graphs.node(
                        "StringNormalizer",
                        ["a"],
                        ["y"],
                        case_change_action="LOWER",
                        locale="xx_XX.UTF-8",
                    )
                ],
                [("a", STRING, ["n"])],
                [("y", STRING, ["n"])],
            ),
            "needs the locale xx_XX.UTF-8, which is missing here: as root, localedef -i xx_XX -f",
        ),
    ],
)
def test_why_a_model_does_not_load_is_said_without_paths(tmp_path, made, words):
    with pytest.raises(LoadError) as caught:
        load_runner(graphs.write(tmp_path, made), ModelConfig(), Settings())
    assert words in caught.value.reason
    assert_says_nothing_internal(caught.value.reason)


def test_a_locale_is_looked_for_and_the_processs_own_stays() -> None:
    before = locale.setlocale(locale.LC_CTYPE)
    assert text_locale.is_there("C")
    assert not text_locale.is_there("xx_XX.UTF-8")
    assert locale.setlocale(locale.LC_CTYPE) == before


def test_an_unknown_load_error_keeps_its_original_for_the_log_only():
    assert (
        load_reason(RuntimeError("/srv/models/x: strange")) == "onnxruntime cannot load the model"
    )


def test_fault_115_a_thread_that_could_not_be_had_may_be_there_another_time() -> None:
    # As a control group without a free place had it; where the pool has more threads than one
    # onnxruntime may also wait for ever, so that this is not made anew here.
    error = RuntimeError(
        "/onnxruntime_src/onnxruntime/core/platform/posix/env.cc:327 PosixThread::PosixThread(...)"
        " pthread_create failed, error code: 11 error msg: Resource temporarily unavailable"
    )
    assert load_reason(error) == NO_THREAD
    assert Retry.after(cause_of(error)) is Retry.LATER
    assert not classify(error).message.startswith("/")
    other = RuntimeError("strange")
    assert cause_of(other) is other
