"""Which outputs of an ONNX file no tensor protocol can carry, read off its bytes.

What a session says of a loaded model (``serving.execution.graph``), without onnxruntime.
Field numbers are those of ONNX's public schema.
"""

from __future__ import annotations

from serving.execution.protobuf_walk import VARINT, NotOnnxError, fields, messages, text
from serving.signature import DATATYPES, LeftOut

_MAX_DEPTH = 16
_UNKNOWN = "an unknown type"
# ONNX's element types from 1 on, as onnxruntime writes them.
_NAMES = (
    *("float", "uint8", "int8", "uint16", "int16", "int32", "int64", "string", "bool", "float16"),
    *("double", "uint32", "uint64", "complex64", "complex128", "bfloat16", "float8e4m3fn"),
    *("float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz", "uint4", "int4", "float4e2m1"),
)
_ELEMENTS = dict(enumerate(_NAMES, start=1))
_CARRIED = frozenset(number for _, number, _ in DATATYPES.values())
# Fields of TypeProto.
_TENSOR, _SEQUENCE, _MAP, _SPARSE, _OPTIONAL = 1, 4, 5, 8, 9


def left_out(model: bytes) -> tuple[LeftOut, ...]:
    """The outputs that are stated to be no tensor of a datatype that is carried.

    Raises NotOnnxError for what is no whole ModelProto.
    """
    found: list[LeftOut] = []
    try:
        for number, graph in messages(memoryview(model)):
            if number == 7:
                infos = (value for part, value in messages(graph) if part == 12)
                found += filter(None, map(_left_out, infos))
    except (IndexError, UnicodeDecodeError):
        raise NotOnnxError("is not a whole ONNX protobuf") from None
    return tuple(found)


def _left_out(info: memoryview) -> LeftOut | None:
    parts = dict(messages(info))
    stated = parts.get(2)
    if stated is None or _is_carried(stated):
        return None
    return LeftOut(text(parts.get(1)), _words(stated, 1))


def _is_carried(stated: memoryview) -> bool:
    kinds = dict(messages(stated))
    return not kinds or (_TENSOR in kinds and _element(kinds[_TENSOR]) in _CARRIED)


def _words(stated: memoryview, depth: int) -> str:
    """A TypeProto as onnxruntime writes it: ``seq(map(int64,tensor(float)))``."""
    if depth > _MAX_DEPTH:
        return _UNKNOWN
    for kind, value in messages(stated):
        if kind in (_TENSOR, _SPARSE):
            name = _ELEMENTS.get(_element(value), _UNKNOWN)
            return f"{'sparse_' if kind == _SPARSE else ''}tensor({name})"
        if kind in (_SEQUENCE, _OPTIONAL):
            inner = _words(dict(messages(value)).get(1, memoryview(b"")), depth + 1)
            return f"{'seq' if kind == _SEQUENCE else 'optional'}({inner})"
        if kind == _MAP:
            key = _ELEMENTS.get(_element(value), _UNKNOWN)
            inner = _words(dict(messages(value)).get(2, memoryview(b"")), depth + 1)
            return f"map({key},{inner})"
    return _UNKNOWN


def _element(data: memoryview) -> int:
    """Field 1, the element's type (of a map: its key's); 0 where none is stated."""
    numbers = (value for number, kind, value in fields(data) if number == 1 and kind == VARINT)
    return next((value for value in numbers if isinstance(value, int)), 0)
