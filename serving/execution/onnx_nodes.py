"""An ONNX graph's nodes, values and small constants, for analysis. The core reads them off the
file's bytes, and does not look at weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from serving import _core
from serving.execution.onnx_constants import Constant
from serving.execution.onnx_file import MOST_BYTES, NotOnnxError
from serving.user_files import read_file

if TYPE_CHECKING:
    from serving._core import OnnxGraph, Texts, _RawNode


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
    # Lists of texts, kept as they stand in the file.
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
    try:
        graph, functions, opsets, ir_version = _core.onnx_graph(model)
    except ValueError as error:
        raise NotOnnxError(str(error)) from None
    bodies = {name: _graph(body) for name, body in functions.items()}
    return Model(_graph(graph), bodies, opsets, ir_version)


def read_file_nodes(version_dir: Path, filename: str) -> Model | None:
    """The graph of a version's file; None where there is none that can be read."""
    path = version_dir / filename
    if path.is_dir():
        path = path / "model.onnx"
    try:
        return read_nodes(read_file(path, MOST_BYTES))
    except (OSError, NotOnnxError):
        return None


def _graph(raw: OnnxGraph) -> Graph:
    nodes, constants = raw.sizes
    return Graph(
        [_node(raw.node(at)) for at in range(nodes)],
        raw.inputs,
        raw.outputs,
        raw.types,
        {name: Constant(*constant) for name, constant in map(raw.constant, range(constants))},
        raw.opsets,
        None if raw.defaults is None else _node(raw.defaults),
        raw.repeated,
    )


def _node(raw: _RawNode) -> Node:
    tensors = {name: Constant(*constant) for name, constant in raw[8].items()}
    graphs = {name: _graph(graph) for name, graph in raw[9].items()}
    return Node(*raw[:8], tensors, graphs, *raw[10:])
