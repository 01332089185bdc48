"""Protobuf fields put together by hand: spans leave by the thousand, and their messages' Python
objects take four times as long as the bytes."""

from __future__ import annotations

import struct

# Tags: field number and wire type.
TEXT, INSIDE = 0x0A, 0x12
ATTRIBUTE = 0x4A
_IDS = b"\x0a\x10%b\x12\x08%b"
_PARENT = b"\x22\x08"
_LINK = b"\x6a\x21\x0a\x10%b\x12\x08%b\x35%b"
_TIMES_AND_FLAGS = struct.Struct("<BQBQHI")
_START, _END, _FLAGS = 0x39, 0x41, 0x0185
_U32 = struct.Struct("<I")


def field(tag: int, content: bytes) -> bytes:
    """A field with its length."""
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    head = bytearray((tag,))
    while length >= 0x80:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return bytes(head) + content


def attribute(key: bytes, text: str) -> bytes:
    """Of a span: ``KeyValue`` with a text."""
    value = field(INSIDE, field(TEXT, text.encode()))
    return field(ATTRIBUTE, field(TEXT, key) + value)


def span_head(trace_id: str, span_id: str, parent_id: str) -> bytes:
    """Ids in hex; ``parent_id`` may be ""."""
    ids = _IDS % (bytes.fromhex(trace_id), bytes.fromhex(span_id))
    return ids + _PARENT + bytes.fromhex(parent_id) if parent_id else ids


def span_times(start_ns: int, end_ns: int, flags: int) -> bytes:
    return _TIMES_AND_FLAGS.pack(_START, start_ns, _END, end_ns, _FLAGS, flags)


def link(trace_id: str, span_id: str, flags: int) -> bytes:
    """Ids in hex."""
    return _LINK % (bytes.fromhex(trace_id), bytes.fromhex(span_id), _U32.pack(flags))
