"""ONNX models that end, or would never end, the process that runs them."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from tests.small_models import _constant, _model, _value

# x / -1 with this x ends the process (SIGFPE; fact C1).
POISON = int(np.iinfo(np.int64).min)


def divide_by_input(divisor_datatype: str = "INT64") -> onnx.ModelProto:
    """``Y = A / B`` in INT64, row by row; A = POISON with B = -1 ends the process."""
    node = helper.make_node("Div", ["A", "B"], ["Y"])
    return _model(
        [node],
        [_value("A", divisor_datatype, ["n", 1]), _value("B", divisor_datatype, ["n", 1])],
        [_value("Y", divisor_datatype, ["n", 1])],
    )


def divide_constants() -> onnx.ModelProto:
    """Dies while it is loaded, when its constants are folded."""
    nodes = [
        helper.make_node("Div", ["a", "b"], ["c"]),
        helper.make_node("Add", ["X", "c"], ["Y"]),
    ]
    return _model(
        nodes,
        [_value("X", "INT64", ["n"])],
        [_value("Y", "INT64", ["n"])],
        [_constant("a", np.array([POISON])), _constant("b", np.array([-1]))],
    )


def endless() -> onnx.ModelProto:
    """``Y = X`` for rows that are not negative; a negative number makes it loop for ever."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["condition"], ["condition_out"]),
            helper.make_node("Add", ["carried", "one"], ["carried_out"]),
        ],
        "body",
        [
            _value("i", "INT64", []),
            _value("condition", "BOOL", []),
            _value("carried", "FP32", []),
        ],
        [_value("condition_out", "BOOL", []), _value("carried_out", "FP32", [])],
        [_constant("one", np.array(1, np.float32))],
    )
    nodes = [
        helper.make_node("ReduceMin", ["X"], ["least"], keepdims=0),
        helper.make_node("Less", ["least", "zero"], ["go_on"]),
        helper.make_node("Loop", ["", "go_on", "least"], ["end"], body=body),
        helper.make_node("Mul", ["end", "zero"], ["nothing"]),
        helper.make_node("Add", ["X", "nothing"], ["Y"]),
    ]
    return _model(
        nodes,
        [_value("X", "FP32", ["n", 1])],
        [_value("Y", "FP32", ["n", 1])],
        [_constant("zero", np.zeros((), np.float32))],
    )


def allocate() -> onnx.ModelProto:
    """``Y`` is the sum of N ones, made as a tensor of N: 8 bytes that may ask for terabytes."""
    ones = helper.make_tensor("value", onnx.TensorProto.FLOAT, [1], [1.0])
    nodes = [
        helper.make_node("ConstantOfShape", ["N"], ["ones"], value=ones),
        # So that it is a tensor, and not folded into a number.
        helper.make_node("Relu", ["ones"], ["again"]),
        helper.make_node("ReduceSum", ["again"], ["Y"], keepdims=1),
    ]
    return _model(nodes, [_value("N", "INT64", [1])], [_value("Y", "FP32", [1])])
