"""Arrays and their bytes on the wire; what a model's datatype makes of a caller's values. Pure."""

from __future__ import annotations

import math
import struct
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

try:
    from ml_dtypes import bfloat16 as _bfloat16
except ImportError:
    _bfloat16 = None

Array = NDArray[Any]
Buffer = bytes | memoryview

DTYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype(dtype)
    for name, dtype in {
        "BOOL": "?",
        "UINT8": "u1",
        "UINT16": "u2",
        "UINT32": "u4",
        "UINT64": "u8",
        "INT8": "i1",
        "INT16": "i2",
        "INT32": "i4",
        "INT64": "i8",
        "FP16": "f2",
        "FP32": "f4",
        "FP64": "f8",
    }.items()
}
# What BF16 is here: a type of its own where ml_dtypes is installed, else float32.
BF16: np.dtype[Any] = np.dtype(np.float32 if _bfloat16 is None else _bfloat16)
_NAMES = {dtype: name for name, dtype in DTYPES.items()} | (
    {} if _bfloat16 is None else {BF16: "BF16"}
)
# On the wire numbers have their low byte first.
_WIRE = {name: dtype.newbyteorder("<") for name, dtype in DTYPES.items()}
# Larger ones are sent, and taken, where they lie; smaller ones protobuf copies faster than that.
SMALL_BYTES = 16_384


class Tensor(NamedTuple):
    """An input as it is sent: its name, datatype, shape and bytes."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: Buffer


def encode_input(name: str, value: ArrayLike, datatype: str | None) -> Tensor:
    """``datatype``: what the model wants; None sends the values as the type that they have.

    Raises TypeError or ValueError where they don't fit: ragged lists, numbers out of range,
    fractions for integers, text for numbers.
    """
    if isinstance(value, np.ndarray):
        # None would be equal to float64.
        if datatype in _WIRE and value.dtype == _WIRE[datatype]:
            return Tensor(name, datatype, value.shape, _bytes_of(value))
        array = value
    else:
        array = np.asarray(value, _dtype_asked(datatype))
    datatype = datatype or datatype_of(array)
    return Tensor(name, datatype, array.shape, _encode(array, datatype))


def _encode(array: Array, datatype: str) -> Buffer:
    wire = _WIRE.get(datatype)
    if wire is not None:
        if array.dtype != wire:
            array = fit(array, datatype, DTYPES[datatype]).astype(wire, copy=False)
        return _bytes_of(array)
    if datatype == "BYTES":
        return _encode_texts(array)
    if datatype == "BF16":
        return _bytes_of(_bf16_bits(array).astype("<u2", copy=False))
    raise TypeError(f"{datatype} is no datatype that this client knows")


def _dtype_asked(datatype: str | None) -> np.dtype[Any] | None:
    """Texts keep their trailing zeros in an array of objects only."""
    return np.dtype(object) if datatype == "BYTES" else None


def datatype_of(array: Array) -> str:
    """The protocol's name of an array's type. Raises TypeError where it has none."""
    if array.dtype.kind in "OSUT":
        return "BYTES"
    found = _NAMES.get(array.dtype.newbyteorder("="))
    if found is None:
        raise TypeError(f"{array.dtype} is no datatype of the protocol")
    return found


def fit(array: Array, datatype: str, dtype: np.dtype[Any]) -> Array:
    """Another type's values: integers never wrap and are never made of fractions, floats may be
    rounded and never become infinite, nothing becomes a truth value but one."""
    if array.size == 0:
        return array.astype(dtype)
    known = array.dtype.kind in "biuf" or array.dtype == BF16
    if not known or (dtype.kind in "iu" and array.dtype.kind not in "biu"):
        raise TypeError(f"expected {datatype} ({dtype}), got {_words(array)}")
    if dtype.kind == "b":
        raise TypeError(f"expected {datatype}, got {_words(array)}")
    with np.errstate(over="ignore", invalid="ignore"):
        cast = array.astype(dtype)
    if dtype.kind in "iu" and not np.array_equal(cast, array):
        raise ValueError(f"a number is out of {datatype}'s range")
    if dtype.kind == "f" and not np.can_cast(array.dtype, dtype):
        _check_infinite(np.isinf(cast), array, datatype)
    return cast


def _words(array: Array) -> str:
    return "objects" if array.dtype.kind == "O" else str(array.dtype)


def _check_infinite(infinite: Array, array: Array, datatype: str) -> None:
    """That only those are that were."""
    if not np.array_equal(infinite, np.isinf(array)):
        raise ValueError(f"a number is out of {datatype}'s range")


def _bytes_of(array: Array) -> Buffer:
    """Row-major; without a copy where the array is large and lies so."""
    if array.nbytes <= SMALL_BYTES:
        return array.tobytes()
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _bf16_bits(array: Array) -> Array:
    """The upper halves of float32: rounded to the nearest, ties to even; as ml_dtypes does it."""
    if _bfloat16 is not None and array.dtype == BF16:
        return array.view(np.uint16)
    floats = np.ascontiguousarray(fit(array, "BF16", np.dtype(np.float32))).reshape(array.shape)
    bits = floats.view(np.uint32)
    rounded = ((bits.astype(np.uint64) + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    # Rounding must not turn a NaN into an infinity.
    rounded = np.where(np.isnan(floats), np.uint16(0x7FC0), rounded)
    _check_infinite((rounded & 0x7FFF) == 0x7F80, floats, "BF16")
    return rounded


def _encode_texts(array: Array) -> bytes:
    parts: list[bytes] = []
    for item in array.reshape(-1).tolist():
        if isinstance(item, str):
            data = item.encode("utf-8", "surrogateescape")
        elif isinstance(item, bytes):
            data = item
        else:
            raise TypeError(f"expected BYTES (str or bytes), got {type(item).__name__}")
        parts += (struct.pack("<I", len(data)), data)
    return b"".join(parts)


def decode_output(data: Buffer, datatype: str, shape: tuple[int, ...]) -> Array:
    """An array of the caller's own. BYTES become ``str`` (bytes that are no UTF-8 by
    ``surrogateescape``). Raises ValueError where bytes and shape don't belong together."""
    dtype = _WIRE.get(datatype)
    if dtype is not None:
        return np.frombuffer(data, dtype).reshape(shape).astype(DTYPES[datatype])
    if datatype == "BYTES":
        return _decode_texts(bytes(data), shape)
    if datatype == "BF16":
        bits = np.frombuffer(data, "<u2").reshape(shape)
        if _bfloat16 is not None:
            return bits.astype(np.uint16).view(BF16)
        return (bits.astype(np.uint32) << 16).view(np.float32)
    raise ValueError(f"{datatype} is no datatype that this client knows")


def _decode_texts(data: bytes, shape: tuple[int, ...]) -> Array:
    # Each has at least its length: so many can't be meant.
    count = math.prod(shape)
    if count * 4 > len(data):
        raise ValueError(f"{count} texts in {len(data)} bytes")
    array = np.empty(count, dtype=object)
    at = 0
    for i in range(count):
        end = at + 4 + int.from_bytes(data[at : at + 4], "little")
        if end > len(data):
            raise ValueError(f"text {i} ends behind the data")
        array[i] = data[at + 4 : end].decode("utf-8", "surrogateescape")
        at = end
    if at != len(data):
        raise ValueError(f"{len(data) - at} bytes behind {count} texts")
    return array.reshape(shape)


def decode_values(values: list[Any], datatype: str, shape: tuple[int, ...]) -> Array:
    """From the numbers of a JSON answer. Raises as ``decode_output``, and TypeError."""
    if datatype == "BYTES":
        array = np.empty(len(values), dtype=object)
        array[:] = values
        return array.reshape(shape)
    if datatype not in DTYPES:
        raise ValueError(f"{datatype} does not travel as JSON")
    return np.array(values, DTYPES[datatype]).reshape(shape)
