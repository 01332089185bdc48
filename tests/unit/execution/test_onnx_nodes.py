"""Nodes and constants are read as onnx wrote them, and what is large is only counted."""

from __future__ import annotations

import random
import time
from contextlib import suppress

import pytest
from onnx import AttributeProto, TensorProto, helper

from serving.execution.onnx_constants import Constant
from serving.execution.onnx_file import NotOnnxError
from serving.execution.onnx_nodes import Node, read_nodes

# As many elements as are handed over; more are only counted.
SMALL = 4096
TREE_NODES = 300_000


def _varint(value: int) -> bytes:
    low = []
    while value > 0x7F:
        low.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*low, value])


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _initializer(tensor: bytes) -> Constant:
    """Of a model with a serialized TensorProto; written by hand, as no library would."""
    (constant,) = read_nodes(_field(7, _field(5, tensor))).graph.constants.values()
    return constant


@pytest.mark.parametrize("count", [0, 1, 8, 9, 100, SMALL, SMALL + 1])
def test_lists_of_attributes_are_what_onnx_wrote(count: int) -> None:
    wholes = [(-1) ** at * at for at in range(count)]
    node = _read(ints=wholes, floats=[float(at) for at in wholes], texts=["é" * 3] * count)
    few = count <= SMALL
    assert len(node.text_lists["texts"]) == count if count else not node.text_lists
    assert node.tensors["ints"].dims == node.tensors["floats"].dims == (count,)
    assert node.tensors["ints"].values == (tuple(wholes) if few else None)
    assert node.tensors["floats"].floats == (tuple(map(float, wholes)) if few else None)
    assert count == 0 or "ééé".encode() in node.text_lists["texts"]
    assert count == 0 or b"no" not in node.text_lists["texts"]


def _read(**lists: list[int] | list[float] | list[str]) -> Node:
    types = {"ints": AttributeProto.INTS, "floats": AttributeProto.FLOATS}
    node = helper.make_node("Any", [], [])
    for name, values in lists.items():
        kind = types.get(name, AttributeProto.STRINGS)
        node.attribute.append(helper.make_attribute(name, values, attr_type=kind))
    graph = helper.make_graph([node], "g", [], [])
    return read_nodes(helper.make_model(graph).SerializeToString()).graph.nodes[0]


@pytest.mark.parametrize("count", [8, 9, SMALL, SMALL + 1])
def test_tensors_of_numbers_written_one_by_one_are_read(count: int) -> None:
    head = b"\x08" + _varint(count) + b"\x10"
    whole = head + bytes([TensorProto.INT64]) + b"".join(b"\x38" + _varint(n) for n in range(count))
    real = head + bytes([TensorProto.DOUBLE]) + (b"\x51" + bytes(8)) * min(count, 9)
    few = count <= SMALL
    assert _initializer(whole).values == (tuple(range(count)) if few else None)
    assert _initializer(real).floats == ((0.0,) * count if count <= 9 else None)


def test_an_ensemble_of_many_trees_is_read_at_once() -> None:
    numbers, halves = list(range(TREE_NODES)), [0.5] * TREE_NODES
    one = helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml")
    for name in ("nodes_nodeids", "nodes_treeids", "nodes_featureids", "nodes_truenodeids"):
        one.attribute.append(helper.make_attribute(name, numbers))
    one.attribute.append(helper.make_attribute("nodes_values", halves))
    one.attribute.append(helper.make_attribute("nodes_modes", ["BRANCH_LEQ"] * TREE_NODES))
    model = helper.make_model(helper.make_graph([one], "g", [], [])).SerializeToString()
    start = time.thread_time()
    node = read_nodes(model).graph.nodes[0]
    # It took 10 s when every value was read by itself.
    assert time.thread_time() - start < 4.0
    assert node.tensors["nodes_values"].dims == (TREE_NODES,)


def _everything() -> bytes:
    """A model with nodes, attributes of all types, a function and constants."""
    body = helper.make_graph([helper.make_node("Identity", ["a"], ["b"])], "body", [], [])
    node = helper.make_node(
        "If", ["c"], ["y"], then_branch=body, else_branch=body, alpha=0.5, axis=-1, mode="linear"
    )
    node.attribute.append(helper.make_attribute("sizes", [1, -2, 3]))
    node.attribute.append(helper.make_attribute("words", ["one", "two"]))
    one = helper.make_tensor("w", TensorProto.UINT64, [2], [1, 2**64 - 1])
    half = helper.make_tensor("h", TensorProto.FLOAT16, [3], [0.5, -2.0, 65504.0])
    half.raw_data = b"\x00\x38\x00\xc0\xff\x7b"
    half.ClearField("int32_data")
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])
    graph = helper.make_graph([node], "g", [value], [value], [one, half])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    inner = helper.make_node("Relu", ["p"], ["q"])
    inner.attribute.add(name="slope", ref_attr_name="given", type=AttributeProto.FLOAT)
    opsets = [helper.make_opsetid("ai.onnx", 16)]
    model.functions.append(helper.make_function("d", "F", ["p"], ["q"], [inner], opsets))
    return bytes(model.SerializeToString())


def test_all_of_a_graph_is_read() -> None:
    model = read_nodes(_everything())
    (node,) = model.graph.nodes
    assert (node.operator, node.inputs, node.outputs) == ("If", ["c"], ["y"])
    assert (node.numbers, node.floats, node.texts) == (
        {"axis": -1},
        {"alpha": 0.5},
        {"mode": "linear"},
    )
    assert node.tensors == {"sizes": Constant(7, (1, -2, 3), (3,))}
    assert len(node.text_lists["words"]) == 2
    assert [inner.nodes[0].operator for inner in node.graphs.values()] == ["Identity"] * 2
    assert model.graph.constants == {
        "w": Constant(13, (1, 2**64 - 1), (2,)),
        "h": Constant(10, None, (3,), (0.5, -2.0, 65504.0)),
    }
    assert (model.graph.inputs, model.graph.types) == (["x"], {"x": 1})
    assert (model.opsets, model.ir_version) == ({"": 17}, 8)
    body = model.functions["d", "F"]
    assert (body.nodes[0].references, body.opsets) == ({"slope": "given"}, {"": 16})


def test_a_model_that_breaks_off_anywhere_or_is_changed_ends_in_an_error_or_a_graph() -> None:
    data, draw = _everything(), random.Random(0)
    for cut in range(len(data)):
        with suppress(NotOnnxError):
            read_nodes(data[:cut])
    for _ in range(2000):
        changed = bytearray(data)
        changed[draw.randrange(len(data))] = draw.randrange(256)
        with suppress(NotOnnxError):
            read_nodes(bytes(changed))
