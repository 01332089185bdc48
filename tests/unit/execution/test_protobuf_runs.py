"""Lists written one field an entry are read as onnx reads them, and not entry by entry."""

from __future__ import annotations

import random
import time

import pytest
from onnx import AttributeProto, TensorProto, helper

from serving.execution.onnx_constants import SMALL, tensor_of
from serving.execution.onnx_nodes import Node, read_nodes
from serving.execution.protobuf_walk import (
    BYTES,
    FIXED32,
    FIXED64,
    RUN,
    VARINT,
    NotOnnxError,
    fields,
    messages,
)

_KEYS = frozenset({1 << 3 | VARINT, 2 << 3 | FIXED32, 3 << 3 | FIXED64, 4 << 3 | BYTES})
TREE_NODES = 300_000


def _varint(value: int) -> bytes:
    low = []
    while value > 0x7F:
        low.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*low, value])


def _field(draw: random.Random, kind: int) -> bytes:
    if kind == VARINT:
        return b"\x08" + _varint(draw.choice([0, 8, 127, 128, 2**21, 2**64 - 1]))
    if kind == FIXED32:
        return b"\x15" + draw.randbytes(4)
    if kind == FIXED64:
        return b"\x19" + draw.randbytes(8)
    length = draw.choice([0, 1, 5, 127, 128, 300])
    return b"\x22" + _varint(length) + draw.randbytes(length)


def _message(draw: random.Random) -> bytes:
    kinds = [draw.choice([VARINT, FIXED32, FIXED64, BYTES]) for _ in range(9)]
    runs = [(kind, draw.choice([1, 3, 9, 40, 700])) for kind in kinds]
    return b"".join(_field(draw, kind) for kind, count in runs for _ in range(count))


@pytest.mark.parametrize("seed", range(8))
def test_runs_hold_the_fields_that_a_look_at_each_finds(seed: int) -> None:
    data = memoryview(_message(random.Random(seed)))
    found = []
    for number, kind, value in fields(data, _KEYS):
        if kind & RUN:
            assert isinstance(value, memoryview)
            found += list(fields(value))
        else:
            found.append((number, kind, value))
    assert found == list(fields(data))
    assert list(messages(data)) == [(n, v) for n, k, v in fields(data) if k == BYTES]


@pytest.mark.parametrize("seed", range(4))
def test_what_breaks_off_within_a_list_breaks_off(seed: int) -> None:
    draw = random.Random(seed)
    kind = (VARINT, FIXED32, FIXED64, BYTES)[seed]
    data = memoryview(b"".join(_field(draw, kind) for _ in range(900)))[:-1]
    if kind == BYTES:
        data = memoryview(b"\x22\x02ab" * 900)[:-1]
    with pytest.raises(IndexError):
        list(fields(data, _KEYS))


def test_a_number_of_eleven_bytes_is_refused_within_a_list() -> None:
    data = b"\x08\x01" * 600 + b"\x08" + b"\x80" * 10 + b"\x00" + b"\x08\x01" * 600
    with pytest.raises(NotOnnxError):
        list(fields(memoryview(data), _KEYS))


@pytest.mark.parametrize("count", [0, 1, 8, 9, 100, SMALL, SMALL + 1])
def test_lists_of_attributes_are_what_onnx_wrote(count: int) -> None:
    wholes = [(-1) ** at * at for at in range(count)]
    node = _read(ints=wholes, floats=[float(at) for at in wholes], texts=["é" * 3] * count)
    few = count <= SMALL
    assert len(node.text_lists["texts"]) == count if count else not node.text_lists
    assert node.tensors["ints"].dims == node.tensors["floats"].dims == (count,)
    assert node.tensors["ints"].values == (tuple(wholes) if few else None)
    assert node.tensors["floats"].floats == (tuple(map(float, wholes)) if few else None)
    assert all(bytes(one).decode() == "ééé" for one in node.text_lists.get("texts", ()))


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
    assert tensor_of(memoryview(whole))[1].values == (tuple(range(count)) if few else None)
    assert tensor_of(memoryview(real))[1].floats == ((0.0,) * count if count <= 9 else None)


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
