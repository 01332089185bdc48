"""Protobuf's wire format, written: the little that a model needs which is made here."""

from __future__ import annotations


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
