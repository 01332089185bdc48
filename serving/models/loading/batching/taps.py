"""A model with more outputs: tensors inside the graph, to be looked at in a run.

A serialized message followed by another of its kind is both of them, merged: so outputs are
added by bytes behind the file's, and nothing in it is written anew.
"""

from __future__ import annotations

from collections.abc import Iterable

# Field numbers: ModelProto.graph, GraphProto.output, ValueInfoProto.name.
_GRAPH, _OUTPUT, _NAME = 7, 12, 1


def with_outputs(model: bytes, names: Iterable[str]) -> bytes:
    """``model``, a serialized ModelProto, with these tensors of its main graph as outputs."""
    outputs = b"".join(field_of(_OUTPUT, field_of(_NAME, name.encode())) for name in names)
    return model + field_of(_GRAPH, outputs)


def field_of(number: int, data: bytes) -> bytes:
    """A length-delimited field of a message."""
    return varint_of(number << 3 | 2) + varint_of(len(data)) + data


def varint_of(value: int) -> bytes:
    """A number as protobuf writes it."""
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])
