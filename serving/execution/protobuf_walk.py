"""Protobuf's wire format: the fields of a message, without classes made for it.

Nothing is copied, and what is malformed is an error, never a crash.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence

from serving.execution.protobuf_runs import bytes_run, fixed_run, varint_run

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
WIDTHS = {FIXED64: 8, FIXED32: 4}
# Set in the wire type of a run: many fields of one key, as they stand in the bytes.
RUN = 8
# Protobuf's own parsers keep 32 bits of a field's key, and take what lies above for nothing:
# a field would have one number here and another one there.
_MOST_KEY = 2**32 - 1
# Shorter lists are read field by field.
_LONG = 8
_NUMBERS = frozenset(
    number << 3 | kind for number in range(1, 16) for kind in (VARINT, FIXED64, FIXED32)
)


class NotOnnxError(ValueError):
    """The bytes are not a whole ONNX protobuf."""


def messages(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The length-delimited fields of one message, the others skipped."""
    for number, kind, value in fields(data, _NUMBERS):
        if kind == BYTES and isinstance(value, memoryview):
            yield number, value


def fields(
    data: memoryview, lists: Container[int] = frozenset()
) -> Iterator[tuple[int, int, int | memoryview]]:
    """(number, wire type, value) of a message's fields; raises IndexError where it breaks off.

    ``lists``: keys of one byte of which long runs come as one, see ``RUN``.
    """
    at, end, last, equal = 0, len(data), -1, 0
    while at < end:
        key = data[at]
        # Most keys are one byte: a call less for each field.
        key, at = (key, at + 1) if key < 0x80 else varint(data, at)
        if key > _MOST_KEY:
            raise NotOnnxError("is not an ONNX protobuf")
        kind = key & 7
        if key in lists:
            equal = equal + 1 if key == last else 0
            last = key
            if equal % _LONG == _LONG - 1 and (stop := _run_end(data, at - 1)) > at:
                yield key >> 3, kind | RUN, data[at - 1 : stop]
                at = stop
                continue
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
            width = WIDTHS[kind]
            if width > end - at:
                raise IndexError
            yield key >> 3, kind, data[at : at + width]
            at += width
        else:
            raise NotOnnxError("is not an ONNX protobuf")


def _run_end(data: memoryview, at: int) -> int:
    kind = data[at] & 7
    if kind == VARINT:
        return varint_run(data, at)
    return bytes_run(data, at) if kind == BYTES else fixed_run(data, at, WIDTHS[kind])


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
