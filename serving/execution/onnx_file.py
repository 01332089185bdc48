"""What must be known of an ONNX file before onnxruntime may see it.

A walk over the protobuf wire format that copies no weights: external data references,
operator domains, and which inputs state no shape. It needs neither the ``onnx`` package nor
generated classes, and its depth and cost are bounded. Field numbers are those of ONNX's
public schema.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from serving.execution.protobuf_walk import (
    BYTES,
    VARINT,
    NotOnnxError,
    fields,
    messages,
    text,
    view,
)

__all__ = [
    "MOST_BYTES",
    "ExternalData",
    "NotOnnxError",
    "OnnxFile",
    "read",
]

# The limit of the protobuf format itself.
MOST_BYTES = 2**31 - 1
# Protobuf's own parsers stop at the same depth.
_MAX_DEPTH = 100
_EXTERNAL = 1


@dataclass(frozen=True, slots=True)
class ExternalData:
    """A tensor kept outside the file: ``entries`` are its keys and values as written.
    ``is_initializer``: it is one of the main graph's."""

    tensor: str
    entries: tuple[tuple[str, str], ...]
    is_initializer: bool = False


@dataclass(slots=True)
class OnnxFile:
    """What the walk found."""

    external: list[ExternalData] = field(default_factory=list)
    # Domains of the operators that nodes use, and of the functions that the file defines.
    domains: set[str] = field(default_factory=set)
    function_domains: set[str] = field(default_factory=set)
    # Names of graph inputs that state no shape, not even a rank.
    unshaped_inputs: set[str] = field(default_factory=set)
    has_graph: bool = False
    sparse_tensors: int = 0


def read(model: bytes) -> OnnxFile:
    """Walk a serialized ``ModelProto``.

    Raises NotOnnxError for bytes that are not one: truncated, nested too deep, not protobuf.
    """
    found = OnnxFile()
    try:
        for number, value in messages(memoryview(model)):
            if number == 7:
                found.has_graph = True
                _graph(value, found, 1)
                _graph_inputs(value, found)
            elif number == 20:  # training_info
                for part, graph in messages(value):
                    if part in (1, 2):
                        _graph(graph, found, 2)
            elif number == 25:
                _function(value, found)
    except IndexError:
        raise NotOnnxError("ends in the middle of a field") from None
    except UnicodeDecodeError:
        raise NotOnnxError("holds a name that is not UTF-8") from None
    return found


def _graph(graph: memoryview, found: OnnxFile, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise NotOnnxError(f"graphs nested more than {_MAX_DEPTH} deep")
    for number, value in messages(graph):
        if number == 1:
            _node(value, found, depth)
        elif number == 5:
            _tensor(value, found, depth == 1)
        elif number == 15:
            _sparse_tensor(value, found)


def _graph_inputs(graph: memoryview, found: OnnxFile) -> None:
    for number, value in messages(graph):
        if number == 11:
            parts = dict(messages(value))
            tensor = dict(messages(parts[2])).get(1) if 2 in parts else None
            if tensor is not None and 2 not in dict(messages(tensor)):
                found.unshaped_inputs.add(text(parts.get(1)))


def _function(function: memoryview, found: OnnxFile) -> None:
    for number, value in messages(function):
        if number == 7:
            _node(value, found, 2)
        elif number == 10:
            found.function_domains.add(text(value))
        elif number == 11:
            _attribute(value, found, 2)


def _node(node: memoryview, found: OnnxFile, depth: int) -> None:
    domain = ""
    for number, value in messages(node):
        if number == 5:
            _attribute(value, found, depth)
        elif number == 7:
            domain = text(value)
    found.domains.add(domain)


def _attribute(attribute: memoryview, found: OnnxFile, depth: int) -> None:
    for number, value in messages(attribute):
        if number in (5, 10):
            _tensor(value, found)
        elif number in (6, 11):
            _graph(value, found, depth + 1)
        elif number in (22, 23):
            _sparse_tensor(value, found)


def _sparse_tensor(sparse: memoryview, found: OnnxFile) -> None:
    found.sparse_tensors += 1
    for number, value in messages(sparse):
        if number in (1, 2):
            _tensor(value, found)


def _tensor(tensor: memoryview, found: OnnxFile, is_initializer: bool = False) -> None:
    name, entries, external = "", [], False
    for number, kind, value in fields(tensor):
        if number == 8 and kind == BYTES:
            name = text(value)
        elif number == 13 and kind == BYTES:
            pair = dict(messages(view(value)))
            entries.append((text(pair.get(1)), text(pair.get(2))))
        elif number == 14 and kind == VARINT:
            external = value == _EXTERNAL
    # Entries count whatever the location field says: a tensor may be split over several
    # occurrences of one field, which protobuf merges.
    if external or entries:
        found.external.append(ExternalData(name, tuple(entries), is_initializer))
