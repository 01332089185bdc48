"""An ONNX graph's nodes, values and small constants, read off the bytes for analysis.

Field numbers are those of ONNX's public schema; weights are not looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from serving.execution.onnx_constants import (
    FLOAT,
    INT64,
    SMALL,
    Constant,
    Texts,
    float_of,
    floats_in,
    floats_of,
    integers_in,
    integers_of,
    signed,
    sparse_of,
    tensor_of,
)
from serving.execution.onnx_file import MOST_BYTES
from serving.execution.protobuf_walk import (
    BYTES,
    FIXED32,
    RUN,
    VARINT,
    NotOnnxError,
    fields,
    merged,
    messages,
    text,
    view,
)
from serving.user_files import read_file

_MAX_DEPTH = 64
_NEWEST = 2**31
# Many of them, or of what is skipped, are read as one.
_VERSIONS = frozenset(number << 3 | VARINT for number in range(1, 16))
# Of files larger than this nothing is read; no graph without weights comes near.


@dataclass(slots=True)
class Node:
    """``operator``: with a function's overload, if it has one, after a colon. ``domain``: ""
    for the default one, also where the file says "ai.onnx"."""

    operator: str
    domain: str
    inputs: list[str]
    outputs: list[str]
    name: str = ""
    # Attributes by name; lists of numbers are tensors of rank 1.
    numbers: dict[str, int] = field(default_factory=dict)
    floats: dict[str, float] = field(default_factory=dict)
    # Bytes that are no UTF-8 are kept as lone surrogates.
    texts: dict[str, str] = field(default_factory=dict)
    tensors: dict[str, Constant] = field(default_factory=dict)
    graphs: dict[str, Graph] = field(default_factory=dict)
    # In a function: attribute -> the function's own attribute whose value it takes.
    references: dict[str, str] = field(default_factory=dict)
    # Lists of texts, as they stand in the file.
    text_lists: dict[str, Texts] = field(default_factory=dict)
    # Those of other types: lists of tensors and of graphs, sparse tensors.
    others: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Graph:
    """``inputs`` and ``outputs``: names in order. ``types``: value -> stated element type."""

    nodes: list[Node] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    types: dict[str, int] = field(default_factory=dict)
    constants: dict[str, Constant] = field(default_factory=dict)
    # Of a function: its own versions of the operator sets, and its attributes' defaults.
    opsets: dict[str, int] = field(default_factory=dict)
    defaults: Node | None = None
    # Constants that are there more than once.
    repeated: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Model:
    """``functions``: (domain, name) -> body; ``opsets``: domain -> version; ``ir_version``: 0
    where none is stated."""

    graph: Graph
    functions: Mapping[tuple[str, str], Graph]
    opsets: Mapping[str, int]
    ir_version: int = 0


def read_nodes(model: bytes) -> Model:
    """Raises NotOnnxError for what is no whole ModelProto."""
    graph, functions, version = Graph(), {}, 0
    opsets: dict[str, int] = {}
    try:
        for number, kind, value in fields(memoryview(model), _VERSIONS):
            if number == 1 and kind & ~RUN == VARINT:
                # Nobody states it eight times over who means an old one.
                version = _NEWEST if isinstance(value, memoryview) else signed(value)
            elif kind != BYTES:
                continue
            elif number == 7:
                # As protobuf has it: a second occurrence goes on with the first.
                graph = _graph(view(value), 1, graph)
            elif number == 8:
                _opset(view(value), opsets)
            elif number == 25:
                key, body = _function(view(value))
                functions[key] = body
    except (IndexError, UnicodeDecodeError):
        raise NotOnnxError("is not a whole ONNX protobuf") from None
    return Model(graph, functions, opsets, version)


def read_file_nodes(version_dir: Path, filename: str) -> Model | None:
    """The graph of a version's file; None where there is none that can be read."""
    path = version_dir / filename
    if path.is_dir():
        path = path / "model.onnx"
    try:
        return read_nodes(read_file(path, MOST_BYTES))
    except (OSError, NotOnnxError):
        return None


def _opset(data: memoryview, opsets: dict[str, int]) -> None:
    domain, version = "", 1
    for number, kind, value in fields(data):
        if number == 1 and kind == BYTES:
            domain = text(view(value))
        elif number == 2 and kind == VARINT:
            version = signed(value)
    # Of several for one domain the last counts, whichever of its names it goes by.
    opsets[_domain(domain)] = version


def _domain(name: str) -> str:
    """The default domain has two names."""
    return "" if name == "ai.onnx" else name


def _graph(data: memoryview, depth: int, into: Graph | None = None) -> Graph:
    if depth > _MAX_DEPTH:
        raise NotOnnxError(f"has graphs nested more than {_MAX_DEPTH} deep")
    graph = Graph() if into is None else into
    for number, value in messages(data):
        if number == 1:
            graph.nodes.append(_node(value, depth))
        elif number in (5, 15):
            name, constant = tensor_of(value) if number == 5 else sparse_of(value)
            if name in graph.constants:
                graph.repeated.add(name)
            graph.constants[name] = constant
        elif number in (11, 12, 13):
            name = _value_info(value, graph.types)
            if number == 11:
                graph.inputs.append(name)
            elif number == 12:
                graph.outputs.append(name)
    return graph


def _function(data: memoryview) -> tuple[tuple[str, str], Graph]:
    graph = Graph(defaults=Node("", "", [], []))
    names = {1: "", 10: "", 13: ""}
    for number, value in messages(data):
        if number in names:
            names[number] = text(value)
        elif number in (4, 5):
            (graph.inputs if number == 4 else graph.outputs).append(text(value))
        elif number == 7:
            graph.nodes.append(_node(value, 2))
        elif number == 9:
            _opset(value, graph.opsets)
        elif number == 11 and graph.defaults is not None:
            _attribute(value, graph.defaults, 2)
        elif number == 12:
            _value_info(value, graph.types)
    return (_domain(names[10]), _overloaded(names[1], names[13])), graph


def _overloaded(name: str, overload: str) -> str:
    return f"{name}:{overload}" if overload else name


def _node(data: memoryview, depth: int) -> Node:
    node, overload = Node("", "", [], []), ""
    for number, value in messages(data):
        if number == 1:
            node.inputs.append(text(value))
        elif number == 2:
            node.outputs.append(text(value))
        elif number == 3:
            node.name = text(value)
        elif number == 4:
            node.operator = text(value)
        elif number == 5:
            _attribute(value, node, depth)
        elif number == 7:
            node.domain = _domain(text(value))
        elif number == 8:
            overload = text(value)
    node.operator = _overloaded(node.operator, overload)
    return node


# AttributeProto's types.
_FLOAT, _INT, _FLOATS, _INTS = 1, 2, 6, 7
# Lists of tensors and of graphs; sparse tensors.
_OTHERS = frozenset({10, 11, 22, 23})

# The lists of floats, of integers and of texts.
_LISTS = frozenset({7 << 3 | FIXED32, 8 << 3 | VARINT, 9 << 3 | BYTES})

_Taken = list[tuple[int, int | memoryview]]
_Parts = dict[int, _Taken]


def _attribute(data: memoryview, node: Node, depth: int) -> None:
    parts: _Parts = {}
    for number, kind, value in fields(data, _LISTS):
        parts.setdefault(number, []).append((kind, value))
    name = text(_last(parts, 1))
    reference = text(_last(parts, 21))
    if reference:
        # It has no value of its own, whatever stands there.
        node.references[name] = reference
        return
    stated = _last(parts, 20)
    _single(parts, node, name, depth)
    _list(parts, node, name, stated)
    # Writers may leave out what is the default of its type.
    if stated == _INT:
        node.numbers.setdefault(name, 0)
    elif stated == _FLOAT:
        node.floats.setdefault(name, 0.0)
    if 9 in parts:
        node.text_lists[name] = Texts(parts[9])
    if not _OTHERS.isdisjoint(parts):
        node.others.add(name)


def _last(parts: _Parts, number: int) -> int | memoryview | None:
    return parts[number][-1][1] if number in parts else None


def _merged(taken: _Taken) -> memoryview:
    return merged([view(value) for kind, value in taken if kind == BYTES])


def _single(parts: _Parts, node: Node, name: str, depth: int) -> None:
    """A float, an integer, a text, a tensor or a graph."""
    for number, taken in parts.items():
        kind, value = taken[-1]
        if number == 2 and kind == FIXED32:
            node.floats[name] = float_of(value)
        elif number == 3 and kind == VARINT:
            node.numbers[name] = signed(value)
        elif number == 4 and kind == BYTES:
            node.texts[name] = str(view(value), "utf-8", "surrogateescape")
        elif number == 5 and kind == BYTES:
            node.tensors[name] = tensor_of(_merged(taken))[1]
        elif number == 6 and kind == BYTES:
            node.graphs[name] = _graph(_merged(taken), depth + 1)


def _list(parts: _Parts, node: Node, name: str, stated: int | memoryview | None) -> None:
    """A list of integers or of floats; long ones are only counted."""
    whole, real = parts.get(8, ()), parts.get(7, ())
    integers = sum(integers_in(kind, value) for kind, value in whole)
    floats = sum(floats_in(kind, value, 4) for kind, value in real)
    if integers or stated == _INTS:
        found = chain.from_iterable(integers_of(*one) for one in whole)
        known = tuple(found) if integers <= SMALL else None
        node.tensors[name] = Constant(INT64, known, (integers,))
    elif floats or stated == _FLOATS:
        parts_of = chain.from_iterable(floats_of(*one, "<f4") for one in real)
        many = tuple(parts_of) if floats <= SMALL else None
        node.tensors[name] = Constant(FLOAT, None, (floats,), many)


def _value_info(data: memoryview, types: dict[str, int]) -> str:
    name, stated = "", list[memoryview]()
    for number, value in messages(data):
        if number == 1:
            name = text(value)
        elif number == 2:
            stated.append(value)
    tensors = [value for number, value in messages(merged(stated)) if number == 1]
    for number, kind, one in fields(merged(tensors)):
        if number == 1 and kind == VARINT:
            types[name] = signed(one)
    return name
