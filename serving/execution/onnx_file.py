"""What must be known of an ONNX file before onnxruntime may see it.

A walk over the protobuf wire format that copies no weights: external data references,
operator domains, and which inputs state no shape. It needs neither the ``onnx`` package nor
generated classes, and its depth and cost are bounded. Field numbers are those of ONNX's
public schema.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

# Protobuf's own parsers stop at the same depth.
_MAX_DEPTH = 100
_EXTERNAL = 1

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class NotOnnxError(ValueError):
    """The bytes are not a whole ONNX protobuf."""


@dataclass(frozen=True, slots=True)
class ExternalData:
    """A tensor kept outside the file: ``entries`` are its keys and values as written."""

    tensor: str
    entries: tuple[tuple[str, str], ...]


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


def read(model: bytes) -> OnnxFile:
    """Walk a serialized ``ModelProto``.

    Raises NotOnnxError for bytes that are not one: truncated, nested too deep, not protobuf.
    """
    found = OnnxFile()
    try:
        for number, value in _messages(memoryview(model)):
            if number == 7:
                found.has_graph = True
                _graph(value, found, 1)
                _graph_inputs(value, found)
            elif number == 20:  # training_info
                for part, graph in _messages(value):
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
    for number, value in _messages(graph):
        if number == 1:
            _node(value, found, depth)
        elif number == 5:
            _tensor(value, found)
        elif number == 15:
            _sparse_tensor(value, found)


def _graph_inputs(graph: memoryview, found: OnnxFile) -> None:
    for number, value in _messages(graph):
        if number == 11:
            fields = dict(_messages(value))
            tensor = dict(_messages(fields[2])).get(1) if 2 in fields else None
            if tensor is not None and 2 not in dict(_messages(tensor)):
                found.unshaped_inputs.add(_text(fields.get(1)))


def _function(function: memoryview, found: OnnxFile) -> None:
    for number, value in _messages(function):
        if number == 7:
            _node(value, found, 2)
        elif number == 10:
            found.function_domains.add(_text(value))
        elif number == 11:
            _attribute(value, found, 2)


def _node(node: memoryview, found: OnnxFile, depth: int) -> None:
    domain = ""
    for number, value in _messages(node):
        if number == 5:
            _attribute(value, found, depth)
        elif number == 7:
            domain = _text(value)
    found.domains.add(domain)


def _attribute(attribute: memoryview, found: OnnxFile, depth: int) -> None:
    for number, value in _messages(attribute):
        if number in (5, 10):
            _tensor(value, found)
        elif number in (6, 11):
            _graph(value, found, depth + 1)
        elif number in (22, 23):
            _sparse_tensor(value, found)


def _sparse_tensor(sparse: memoryview, found: OnnxFile) -> None:
    for number, value in _messages(sparse):
        if number in (1, 2):
            _tensor(value, found)


def _tensor(tensor: memoryview, found: OnnxFile) -> None:
    name, entries, external = "", [], False
    for number, kind, value in _fields(tensor):
        if number == 8 and kind == _BYTES:
            name = _text(value)
        elif number == 13 and kind == _BYTES:
            pair = dict(_messages(_view(value)))
            entries.append((_text(pair.get(1)), _text(pair.get(2))))
        elif number == 14 and kind == _VARINT:
            external = value == _EXTERNAL
    # Entries count whatever the location field says: a tensor may be split over several
    # occurrences of one field, which protobuf merges.
    if external or entries:
        found.external.append(ExternalData(name, tuple(entries)))


def _messages(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The length-delimited fields of one message, the others skipped."""
    for number, kind, value in _fields(data):
        if kind == _BYTES:
            yield number, _view(value)


def _fields(data: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """(field number, wire type, value) of one message; raises IndexError where it breaks off."""
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        kind = key & 7
        if kind == _BYTES:
            length, at = _varint(data, at)
            if length > end - at:
                raise IndexError
            yield key >> 3, kind, data[at : at + length]
            at += length
        elif kind == _VARINT:
            value, at = _varint(data, at)
            yield key >> 3, kind, value
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
            if at > end:
                raise IndexError
        else:
            raise NotOnnxError("is not an ONNX protobuf")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    byte: int = data[at]
    at += 1
    if byte < 0x80:
        return byte, at
    result, shift = byte & 0x7F, 7
    while True:
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, at
        shift += 7
        if shift > 63:
            raise NotOnnxError("is not an ONNX protobuf")


def _view(value: int | memoryview) -> memoryview:
    assert isinstance(value, memoryview)
    return value


def _text(value: int | memoryview | None) -> str:
    return bytes(value).decode() if isinstance(value, memoryview) else ""
