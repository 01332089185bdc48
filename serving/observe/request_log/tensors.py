"""Tensors of logged requests: bytes in memory, readable JSON in files, which the core writes.

JSON carries numbers, booleans and texts as the Open Inference Protocol writes them, bare NaN
and infinities included. What it can't carry (FP16, BF16, bytes that are no text), and what is
long, is base64 of the raw bytes, marked by ``"encoding": "base64"``.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from serving.signature import DATATYPES

_NOT_IN_JSON = frozenset({"FP16", "BF16"})
_DTYPES = {name: np.dtype(row[0]).newbyteorder("<") for name, row in DATATYPES.items()}


class LoggedTensor(NamedTuple):
    """``data``: row-major, little-endian, BYTES with their lengths (four bytes each); None
    where the values are left out on purpose."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: bytes | None


def elements(data: bytes) -> list[bytes]:
    """The elements of a BYTES tensor. Raises ValueError where a length says too much."""
    found, at = [], 0
    while at < len(data):
        if at + 4 > len(data):
            raise ValueError("its bytes end within a length")
        (length,) = struct.unpack_from("<I", data, at)
        at += 4 + length
        if at > len(data):
            raise ValueError("its bytes end within an element")
        found.append(data[at - length : at])
    return found


def from_json(given: Any) -> LoggedTensor:
    """A tensor of a line, parsed. Raises ValueError saying what is wrong."""
    if not isinstance(given, Mapping):
        raise ValueError("a tensor is an object")
    name, datatype, shape = given.get("name"), given.get("datatype"), given.get("shape")
    if not isinstance(name, str):
        raise ValueError("a tensor has no name")
    if datatype not in DATATYPES:
        raise ValueError(f"tensor '{name}' has no known datatype")
    if not isinstance(shape, list) or any(type(dim) is not int or dim < 0 for dim in shape):
        raise ValueError(f"tensor '{name}' has no shape")
    head = (name, datatype, tuple(shape))
    if given.get("redacted") is True:
        return LoggedTensor(*head, None)
    try:
        return checked(LoggedTensor(*head, _raw(datatype, given)))
    except (ValueError, OverflowError, TypeError) as error:
        raise ValueError(f"tensor '{name}': {error}") from None


def checked(tensor: LoggedTensor) -> LoggedTensor:
    """The tensor itself. Raises ValueError where its bytes don't have its shape."""
    if tensor.data is None:
        return tensor
    expected = math.prod(tensor.shape)
    if tensor.datatype == "BYTES":
        found = len(elements(tensor.data))
    else:
        found, rest = divmod(len(tensor.data), _DTYPES[tensor.datatype].itemsize)
        if rest:
            raise ValueError(f"{len(tensor.data)} bytes hold no whole number of elements")
    if found != expected:
        raise ValueError(f"expected {expected} elements, got {found}")
    return tensor


def _raw(datatype: str, given: Mapping[str, Any]) -> bytes:
    data, encoding = given.get("data"), given.get("encoding")
    if encoding is not None:
        if encoding != "base64" or not isinstance(data, str):
            raise ValueError("its encoding is not base64")
        try:
            return base64.b64decode(data, validate=True)
        except binascii.Error:
            raise ValueError("its data is no base64") from None
    if not isinstance(data, list) or datatype in _NOT_IN_JSON:
        raise ValueError("its data is no list of values")
    if datatype == "BYTES":
        texts = [_text(one).encode("utf-8") for one in data]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return _numbers(datatype, data).tobytes()


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("a value is no text")
    return value


def _numbers(datatype: str, data: list[Any]) -> np.ndarray[Any, Any]:
    dtype = _DTYPES[datatype]
    allowed = {"b": (bool,), "f": (int, float)}.get(dtype.kind, (int,))
    if any(type(value) not in allowed for value in data):
        raise ValueError(f"a value does not fit {datatype}")
    with np.errstate(over="ignore"):
        return np.array(data, dtype)
