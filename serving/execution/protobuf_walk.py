"""Protobuf's wire format: the fields of a message, without classes made for it.

Nothing is copied, and what is malformed is an error, never a crash.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
# Protobuf's own parsers keep 32 bits of a field's key, and take what lies above for nothing:
# a field would have one number here and another one there.
_MOST_KEY = 2**32 - 1


class NotOnnxError(ValueError):
    """The bytes are not a whole ONNX protobuf."""


def messages(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The length-delimited fields of one message, the others skipped."""
    for number, kind, value in fields(data):
        if kind == BYTES and isinstance(value, memoryview):
            yield number, value


def fields(data: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """(field number, wire type, value) of one message; raises IndexError where it breaks off."""
    at, end = 0, len(data)
    while at < end:
        key = data[at]
        # Most keys are one byte: a call less for each field.
        key, at = (key, at + 1) if key < 0x80 else varint(data, at)
        if key > _MOST_KEY:
            raise NotOnnxError("is not an ONNX protobuf")
        kind = key & 7
        if kind == BYTES:
            length, at = varint(data, at)
            if length > end - at:
                raise IndexError
            yield key >> 3, kind, data[at : at + length]
            at += length
        elif kind == VARINT:
            value, at = varint(data, at)
            yield key >> 3, kind, value
        elif kind in (FIXED64, FIXED32):
            width = 8 if kind == FIXED64 else 4
            if width > end - at:
                raise IndexError
            yield key >> 3, kind, data[at : at + width]
            at += width
        else:
            raise NotOnnxError("is not an ONNX protobuf")


def varint(data: memoryview, at: int) -> tuple[int, int]:
    """The number at ``at``, and where it ends."""
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


def view(value: int | memoryview) -> memoryview:
    """The value of a field that is known to be length-delimited."""
    assert isinstance(value, memoryview)
    return value


def merged(values: Sequence[memoryview]) -> memoryview:
    """A message whose field is there several times: as protobuf has it, each goes on with
    those before."""
    return values[0] if len(values) == 1 else memoryview(b"".join(values))


def text(value: int | memoryview | None) -> str:
    """Raises UnicodeDecodeError."""
    return str(value, "utf-8") if isinstance(value, memoryview) else ""
