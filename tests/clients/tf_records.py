"""TFRecord files of ``PredictionLog``, as a TensorFlow Serving's request log has them."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# The logs by the number of their field in PredictionLog.
CLASSIFY, REGRESS, MULTI_INFERENCE, SESSION_RUN, PREDICT, STREAMED = 2, 3, 4, 5, 6, 7
FILE = Path("assets.extra", "tf_serving_warmup_requests")


def crc32c(data: bytes) -> int:
    """Bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def _checked(data: bytes) -> bytes:
    crc = crc32c(data)
    turned = (crc >> 15 | crc << 17) & 0xFFFFFFFF
    return data + struct.pack("<I", (turned + 0xA282EAD8) & 0xFFFFFFFF)


def record(data: bytes) -> bytes:
    return _checked(struct.pack("<Q", len(data))) + _checked(data)


def _field(number: int, data: bytes) -> bytes:
    length, size = bytearray(), len(data)
    while size >= 0x80:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([number << 3 | 2, *length, size]) + data


def log(number: int, request: Any) -> bytes:
    """A PredictionLog that holds a request, in the log of that number."""
    data = request if isinstance(request, bytes) else request.SerializeToString()
    return _field(number, _field(1, data))


def write_warmup(version: Path, logs: Iterable[bytes]) -> Path:
    """The file of a version's folder; its path."""
    path = version / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(record(one) for one in logs))
    return path
