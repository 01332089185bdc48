"""An ONNX graph's nodes, values and small constants, read off the bytes for analysis.

Field numbers are those of ONNX's public schema; weights are not looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from serving.execution.protobuf_walk import (
    BYTES,
    VARINT,
    NotOnnxError,
    fields,
    messages,
    text,
    varint,
    view,
)

INT32, INT64 = 6, 7
FLOAT = 1
# Constants with more elements than this are only known by type.
_SMALL = 4096
_MAX_DEPTH = 64
_WIDTHS = {INT32: "<i4", INT64: "<i8"}


@dataclass(slots=True)
class Constant:
    """``values``: its integers, None where they are many, kept elsewhere, or no integers."""

    elem_type: int
    values: tuple[int, ...] | None = None


@dataclass(slots=True)
class Node:
    operator: str
    domain: str
    inputs: list[str]
    outputs: list[str]
    # Integer, tensor and graph attributes by name.
    numbers: dict[str, int] = field(default_factory=dict)
    tensors: dict[str, Constant] = field(default_factory=dict)
    graphs: dict[str, Graph] = field(default_factory=dict)


@dataclass(slots=True)
class Graph:
    """``inputs`` and ``outputs``: names in order. ``types``: value -> stated element type."""

    nodes: list[Node] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    types: dict[str, int] = field(default_factory=dict)
    constants: dict[str, Constant] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Model:
    """``functions``: (domain, name) -> body."""

    graph: Graph
    functions: Mapping[tuple[str, str], Graph]


def read_nodes(model: bytes) -> Model:
    """Raises NotOnnxError for what is no whole ModelProto."""
    graph, functions = Graph(), {}
    try:
        for number, value in messages(memoryview(model)):
            if number == 7:
                graph = _graph(value, 1)
            elif number == 25:
                key, body = _function(value)
                functions[key] = body
    except (IndexError, UnicodeDecodeError):
        raise NotOnnxError("is not a whole ONNX protobuf") from None
    return Model(graph, functions)


def _graph(data: memoryview, depth: int) -> Graph:
    if depth > _MAX_DEPTH:
        raise NotOnnxError(f"has graphs nested more than {_MAX_DEPTH} deep")
    graph = Graph()
    for number, value in messages(data):
        if number == 1:
            graph.nodes.append(_node(value, depth))
        elif number == 5:
            name, constant = _tensor(value)
            graph.constants[name] = constant
        elif number in (11, 12, 13):
            name = _value_info(value, graph.types)
            if number == 11:
                graph.inputs.append(name)
            elif number == 12:
                graph.outputs.append(name)
    return graph


def _function(data: memoryview) -> tuple[tuple[str, str], Graph]:
    graph, name, domain = Graph(), "", ""
    for number, value in messages(data):
        if number == 1:
            name = text(value)
        elif number == 4:
            graph.inputs.append(text(value))
        elif number == 5:
            graph.outputs.append(text(value))
        elif number == 7:
            graph.nodes.append(_node(value, 2))
        elif number == 10:
            domain = text(value)
        elif number == 12:
            _value_info(value, graph.types)
    return (domain, name), graph


def _node(data: memoryview, depth: int) -> Node:
    node = Node("", "", [], [])
    for number, value in messages(data):
        if number == 1:
            node.inputs.append(text(value))
        elif number == 2:
            node.outputs.append(text(value))
        elif number == 4:
            node.operator = text(value)
        elif number == 5:
            _attribute(value, node, depth)
        elif number == 7:
            node.domain = text(value)
    return node


def _attribute(data: memoryview, node: Node, depth: int) -> None:
    name, number_found, integers = "", None, []
    for number, kind, value in fields(data):
        if number == 1 and kind == BYTES:
            name = text(value)
        elif number == 3 and kind == VARINT:
            number_found = _signed(value)
        elif number == 5 and kind == BYTES:
            node.tensors[name] = _tensor(view(value))[1]
        elif number == 6 and kind == BYTES:
            node.graphs[name] = _graph(view(value), depth + 1)
        elif number == 8:
            integers += _integers(kind, value)
    if number_found is not None:
        node.numbers[name] = number_found
    if integers:
        node.tensors[name] = Constant(INT64, tuple(integers[:_SMALL]))


def _value_info(data: memoryview, types: dict[str, int]) -> str:
    parts = dict(messages(data))
    name = text(parts.get(1))
    tensor = dict(messages(parts[2])).get(1) if 2 in parts else None
    if tensor is not None:
        for number, kind, value in fields(tensor):
            if number == 1 and kind == VARINT:
                types[name] = _signed(value)
    return name


def _tensor(data: memoryview) -> tuple[str, Constant]:
    name, elem_type, count = "", 0, 1
    raw: memoryview | None = None
    integers: list[int] = []
    elsewhere = False
    for number, kind, value in fields(data):
        if number == 1:
            for size in _integers(kind, value):
                count *= size
        elif number == 2 and kind == VARINT:
            elem_type = _signed(value)
        elif number in (5, 7) and count <= _SMALL:
            integers += _integers(kind, value)
        elif number == 8 and kind == BYTES:
            name = text(value)
        elif number == 9 and kind == BYTES:
            raw = view(value)
        elif number in (13, 14):
            elsewhere = True
    return name, Constant(elem_type, _values(elem_type, count, raw, integers, elsewhere))


def _values(
    elem_type: int, count: int, raw: memoryview | None, integers: list[int], elsewhere: bool
) -> tuple[int, ...] | None:
    if elem_type not in _WIDTHS or elsewhere or not 0 <= count <= _SMALL:
        return None
    if raw is None:
        return tuple(integers)
    dtype = np.dtype(_WIDTHS[elem_type])
    if len(raw) != count * dtype.itemsize:
        return None
    return tuple(np.frombuffer(raw, dtype).tolist())


def _integers(kind: int, value: int | memoryview) -> list[int]:
    """A repeated integer field, packed or one of several."""
    if kind == VARINT:
        return [_signed(value)]
    found: list[int] = []
    if kind == BYTES:
        data, at = view(value), 0
        while at < len(data):
            number, at = varint(data, at)
            found.append(_signed(number))
    return found


def _signed(value: int | memoryview) -> int:
    assert isinstance(value, int)
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >= 1 << 63 else value
