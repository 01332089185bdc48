"""Arrays in shared memory: raw bytes, and a head of plain values that says where each lies.

An entry of the head is ``[datatype, shape, offset, bytes]``. ``datatype`` is numpy's short
name (``<f4``), ``BYTES``, or ``BF16`` for two-byte numbers that numpy has no type for. BYTES
are texts, each behind its length in four bytes, little-endian.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from serving._core import PackedTexts
from serving.execution.session import Array, Output, Outputs

_ALIGN = 64
_PLAIN = frozenset({"|b1", "|u1", "<u2", "<u4", "<u8", "|i1", "<i2", "<i4", "<i8"})
_PLAIN_FLOATS = frozenset({"<f2", "<f4", "<f8"})
_NUMBERS = _PLAIN | _PLAIN_FLOATS
BYTES, BF16 = "BYTES", "BF16"

Memory = np.ndarray[tuple[int], np.dtype[np.uint8]]
Entry = list[Any]
Read = Array | PackedTexts | tuple[str, Array]


class WireError(ValueError):
    """What is in the memory is not what the head says."""


def write(values: Sequence[Output], reserve: Callable[[int], Memory]) -> tuple[list[Entry], int]:
    """Lay the values one after another into the memory that ``reserve(bytes)`` returns; the
    head, and the bytes used."""
    parts = [_part(value) for value in values]
    head: list[Entry] = []
    end = 0
    for datatype, shape, data in parts:
        start = -(-end // _ALIGN) * _ALIGN
        end = start + data.nbytes
        head.append([datatype, list(shape), start, data.nbytes])
    memory = reserve(end)
    for (_, _, start, size), (_, _, data) in zip(head, parts, strict=True):
        if size:
            _copy(memory[start : start + size], data)
    return head, end


def _copy(into: Memory, data: Array) -> None:
    into.view(data.dtype).reshape(data.shape)[...] = data


def _part(value: Output) -> tuple[str, tuple[int, ...], Array]:
    if isinstance(value, PackedTexts):
        return BYTES, value.shape, value.data
    if isinstance(value, tuple):
        address, datatype, shape = value
        count = math.prod(shape)
        data = np.empty(count, np.uint16)
        if count:
            ctypes.memmove(data.ctypes.data, address, data.nbytes)
        return datatype, shape, data
    if value.dtype.kind in "OUS":
        return _part(PackedTexts.of(value.astype(object, copy=False)))
    if value.dtype.str not in _NUMBERS:
        raise WireError(f"arrays of {value.dtype} do not cross")
    return value.dtype.str, value.shape, value


def read(head: Sequence[Sequence[Any]], memory: Memory) -> list[Read]:
    """The arrays, pointing into ``memory`` (BYTES: packed texts, copied before they are checked).
    BF16 comes as ``("BF16", bits)``.

    Raises WireError for a head that does not fit the memory.
    """
    return [_read_one(entry, memory) for entry in head]


def _read_one(entry: Sequence[Any], memory: Memory) -> Read:
    datatype, shape, start, size = _checked(entry, memory)
    data = memory[start : start + size]
    if datatype == BYTES:
        return _texts(data, shape)
    dtype = np.dtype("<u2" if datatype == BF16 else datatype)
    if math.prod(shape) * dtype.itemsize != size:
        raise WireError(f"{size} bytes for {datatype} {shape}")
    # A slice of no bytes may begin anywhere.
    array = data.view(dtype).reshape(shape) if size else np.empty(shape, dtype)
    return (BF16, array) if datatype == BF16 else array


def _checked(entry: Sequence[Any], memory: Memory) -> tuple[str, tuple[int, ...], int, int]:
    try:
        datatype, shape, start, size = entry
        sizes = (*shape, start, size)
    except (TypeError, ValueError):
        raise WireError("not an entry of a head") from None
    known = datatype in (BYTES, BF16) or datatype in _NUMBERS
    if not known or not all(type(number) is int and number >= 0 for number in sizes):
        raise WireError("not an entry of a head")
    if start % _ALIGN or start + size > len(memory):
        raise WireError("an entry that lies outside the memory")
    return datatype, tuple(shape), start, size


def _texts(data: Memory, shape: tuple[int, ...]) -> PackedTexts:
    try:
        return PackedTexts(data, shape)
    except ValueError as error:
        raise WireError(str(error)) from None


def kept(values: Sequence[Read], memory: Memory, packed: bool) -> Outputs:
    """Outputs in memory of their own: what ``read`` gave is overwritten by the next run. Texts
    stay ``packed``, or become arrays of str."""
    outputs, keepalive = Outputs(), []
    for value in values:
        if isinstance(value, PackedTexts):
            outputs.append(value if packed else value.objects())
        elif isinstance(value, tuple):
            bits = value[1].copy()
            keepalive.append(bits)
            outputs.append((bits.ctypes.data, BF16, bits.shape))
        else:
            outputs.append(value.copy() if np.may_share_memory(value, memory) else value)
    outputs.keepalive = keepalive
    return outputs
