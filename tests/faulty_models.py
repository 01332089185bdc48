"""Small ONNX models that load and answer, and then fail by themselves: no client is to blame."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# What makes the models below fail: rows or sums beneath this.
LEAST = -1e6


def _model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    initializers: list[onnx.TensorProto],
    opset: int = 17,
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "graph", inputs, outputs, initializers)
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def _rows(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1])


def answers_bytes_that_are_no_text() -> onnx.ModelProto:
    """``Y = TEXTS[I]`` where the second text is not UTF-8."""
    texts = helper.make_tensor("texts", TensorProto.STRING, [2], [b"fine", b"\xff\xfe"])
    return _model(
        [helper.make_node("Gather", ["texts", "I"], ["Y"], axis=0)],
        [helper.make_tensor_value_info("I", TensorProto.INT64, ["n"])],
        [helper.make_tensor_value_info("Y", TensorProto.STRING, ["n"])],
        [texts],
    )


def opens_what_is_empty() -> onnx.ModelProto:
    """``Y = X``, by way of an ONNX optional that is empty where the sum of ``X`` is very low."""
    optional = helper.make_optional_type_proto(
        helper.make_tensor_type_proto(TensorProto.FLOAT, ["n", 1])
    )
    full = helper.make_graph(
        [helper.make_node("Optional", ["X"], ["some"])],
        "full",
        [],
        [helper.make_value_info("some", optional)],
    )
    empty = helper.make_graph(
        [helper.make_node("Optional", [], ["none"], type=optional.optional_type.elem_type)],
        "empty",
        [],
        [helper.make_value_info("none", optional)],
    )
    nodes = [
        helper.make_node("ReduceSum", ["X"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "least"], ["high"]),
        helper.make_node("If", ["high"], ["maybe"], then_branch=full, else_branch=empty),
        helper.make_node("OptionalGetElement", ["maybe"], ["Y"]),
    ]
    least = numpy_helper.from_array(np.array(LEAST, np.float32), "least")
    return _model(nodes, [_rows("X")], [_rows("Y")], [least], opset=18)


def drops_rows() -> onnx.ModelProto:
    """``Y`` is ``X`` without the rows that are very low: fewer rows than it was given."""
    nodes = [
        helper.make_node("ReduceSum", ["X", "axes"], ["sums"], keepdims=0),
        helper.make_node("Greater", ["sums", "least"], ["high"]),
        helper.make_node("Compress", ["X", "high"], ["Y"], axis=0),
    ]
    constants = [
        numpy_helper.from_array(np.array(LEAST, np.float32), "least"),
        numpy_helper.from_array(np.array([1], np.int64), "axes"),
    ]
    return _model(nodes, [_rows("X")], [_rows("Y")], constants)
