"""Requests as the answering version had them, and their way into a process of ours."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.execution.isolation.shared_memory import SharedMemory
from serving.loading.inputs.generated import Array, Feeds
from serving.signature import DATATYPES

if TYPE_CHECKING:
    from serving import _core

# Name, datatype, shape, and row-major little-endian bytes, BYTES behind their lengths.
Raw = tuple[str, str, tuple[int, ...], bytes]
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Answered:
    """An output as a client was given it. ``finite``: whether all its numbers were."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    finite: bool


@dataclass(frozen=True, slots=True)
class Recorded:
    """A request that was answered well. ``version``: which answered."""

    version: int
    inputs: tuple[Raw, ...]
    outputs: tuple[Answered, ...]

    @property
    def size(self) -> int:
        """Bytes of its inputs."""
        return sum(len(data) for _, _, _, data in self.inputs)


def of_sample(sample: _core.Sample) -> Recorded:
    inputs = tuple((name, kind, tuple(shape), data) for name, kind, shape, data in sample.inputs)
    outputs = tuple(
        Answered(name, _dtype(kind), tuple(shape), _is_finite(kind, data))
        for name, kind, shape, data in sample.outputs
    )
    return Recorded(sample.version, inputs, outputs)


def _dtype(datatype: str) -> str:
    """As the arrays of a run have it: BF16 leaves as float32."""
    return "float32" if datatype == "BF16" else str(DATATYPES[datatype][0])


def _is_finite(datatype: str, data: bytes) -> bool:
    if datatype == "BF16":
        bits = np.frombuffer(data, "<u2").astype(np.uint32) << 16
        return bool(np.isfinite(bits.view(np.float32)).all())
    if datatype not in ("FP16", "FP32", "FP64"):
        return True
    dtype = np.dtype(DATATYPES[datatype][0]).newbyteorder("<")
    return bool(np.isfinite(np.frombuffer(data, dtype)).all())


def to_memory(requests: Sequence[Recorded], memory: SharedMemory) -> list[dict[str, Any]]:
    """Lay their inputs into ``memory``, and say where they are. Raises OSError."""
    memory.reserve(sum(one.size for one in requests) or 1)
    at, said = 0, []
    for one in requests:
        inputs = []
        for name, datatype, shape, data in one.inputs:
            memory.bytes[at : at + len(data)] = np.frombuffer(data, np.uint8)
            inputs.append([name, datatype, list(shape), at, len(data)])
            at += len(data)
        outputs = [[one.name, one.dtype, list(one.shape), one.finite] for one in one.outputs]
        said.append({"inputs": inputs, "outputs": outputs})
    return said


def from_memory(
    said: Sequence[dict[str, Any]], memory: SharedMemory
) -> Iterator[tuple[Feeds, tuple[Answered, ...]]]:
    for one in said:
        feeds = {
            name: _array(datatype, tuple(shape), memory.bytes[at : at + size].tobytes())
            for name, datatype, shape, at, size in one["inputs"]
        }
        outputs = tuple(
            Answered(name, dtype, tuple(shape), finite)
            for name, dtype, shape, finite in one["outputs"]
        )
        yield feeds, outputs


def _array(datatype: str, shape: tuple[int, ...], data: bytes) -> Array:
    if datatype != "BYTES":
        dtype = "<u2" if datatype == "BF16" else np.dtype(DATATYPES[datatype][0]).newbyteorder("<")
        return np.frombuffer(data, dtype).reshape(shape)
    texts = list(_texts(data))
    found = np.empty(len(texts), object)
    found[:] = texts
    return found.reshape(shape)


def _texts(data: bytes) -> Iterator[str | bytes]:
    at = 0
    while at < len(data):
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        text = data[at : at + length]
        at += length
        try:
            yield text.decode()
        except UnicodeDecodeError:
            yield text
