"""TFRecord files: each record between its length and checksums (CRC32C, masked as TensorFlow
does)."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from functools import cache

_LENGTH = struct.Struct("<Q")
_CHECK = struct.Struct("<I")
_SHIFT = 0xA282EAD8
# Castagnoli's, reversed.
_POLYNOMIAL = 0x82F63B78


def read(data: bytes) -> list[bytes]:
    """All records. Raises ValueError saying which is damaged."""
    found: list[bytes] = []
    at = 0
    while at < len(data):
        record, at = _next(data, at, len(found) + 1)
        found.append(record)
    return found


def write(some: Iterable[bytes]) -> bytes:
    made = bytearray()
    for record in some:
        length = _LENGTH.pack(len(record))
        made += length + _CHECK.pack(_masked(length)) + record + _CHECK.pack(_masked(record))
    return bytes(made)


def _next(data: bytes, at: int, number: int) -> tuple[bytes, int]:
    start = at + _LENGTH.size + _CHECK.size
    if len(data) < start:
        raise ValueError(f"it ends within record {number}")
    head = data[at : at + _LENGTH.size]
    if _masked(head) != _CHECK.unpack_from(data, at + _LENGTH.size)[0]:
        raise ValueError(f"the length of record {number} does not match its checksum")
    (length,) = _LENGTH.unpack(head)
    end = start + length
    if len(data) < end + _CHECK.size:
        raise ValueError(f"it ends within record {number}")
    record = data[start:end]
    if _masked(record) != _CHECK.unpack_from(data, end)[0]:
        raise ValueError(f"record {number} does not match its checksum")
    return record, end + _CHECK.size


def _masked(data: bytes) -> int:
    value = _crc32c(data)
    return ((value >> 15 | value << 17) + _SHIFT) & 0xFFFFFFFF


def _crc32c(data: bytes) -> int:
    table = _table()
    value = 0xFFFFFFFF
    for byte in data:
        value = table[(value ^ byte) & 0xFF] ^ value >> 8
    return value ^ 0xFFFFFFFF


@cache
def _table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ _POLYNOMIAL if value & 1 else value >> 1
        table.append(value)
    return tuple(table)
