"""The models that the example programs of Triton's client ask."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from tests.small_models import ELEMENT_TYPES, IR_VERSION, OPSET, slow, write

COLUMNS = 16
CONFIG = 'name: "{}"\nplatform: "onnxruntime_onnx"\nmax_batch_size: 8\n'
_ENDS = ("INPUT0", "INPUT1", "OUTPUT0", "OUTPUT1")


def simple(datatype: str) -> onnx.ModelProto:
    """Two inputs ``[n, 16]``, sum and difference, reckoned in INT32; texts are digits."""
    kind = ELEMENT_TYPES[datatype]
    nodes = [
        helper.make_node("Cast", ["INPUT0"], ["a"], to=TensorProto.INT32),
        helper.make_node("Cast", ["INPUT1"], ["b"], to=TensorProto.INT32),
        helper.make_node("Add", ["a", "b"], ["sum"]),
        helper.make_node("Sub", ["a", "b"], ["difference"]),
        helper.make_node("Cast", ["sum"], ["OUTPUT0"], to=kind),
        helper.make_node("Cast", ["difference"], ["OUTPUT1"], to=kind),
    ]
    return _model(nodes, kind, _ENDS[:2], _ENDS[2:])


def identity(datatype: str) -> onnx.ModelProto:
    """``INPUT0`` ``[n, 16]`` -> ``OUTPUT0``."""
    node = helper.make_node("Identity", ["INPUT0"], ["OUTPUT0"])
    return _model([node], ELEMENT_TYPES[datatype], _ENDS[:1], _ENDS[2:3])


def _model(
    nodes: Sequence[onnx.NodeProto], kind: int, inputs: Sequence[str], outputs: Sequence[str]
) -> onnx.ModelProto:
    ends = [
        [helper.make_tensor_value_info(name, kind, ["n", COLUMNS]) for name in names]
        for names in (inputs, outputs)
    ]
    opsets = [helper.make_opsetid("", OPSET)]
    graph = helper.make_graph(nodes, "graph", *ends)
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def lay(repository: Path) -> None:
    """As the programs expect them, and one that takes its time."""
    models = {
        "simple": simple("INT32"),
        "simple_int8": simple("INT8"),
        "simple_string": simple("BYTES"),
        "simple_identity": identity("BYTES"),
    }
    for name, model in models.items():
        write(repository, name, model, config=CONFIG.format(name))
    write(repository, "slow", slow(1.0), config="max_batch_size: 0\n")
