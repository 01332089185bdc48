"""Tensors of samples as arrays, rows first. Pure."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np

from serving.signature import DATATYPES

Array = np.ndarray[Any, Any]
# As ``_core.Sample`` has it: name, datatype, shape, little-endian row-major bytes.
SampledTensor = tuple[str, str, tuple[int, ...], bytes]
# Of one tensor of one request: what is beyond would keep everybody else waiting.
MOST_TEXTS = 65_536

_LENGTH = struct.Struct("<I")
_DTYPES = {name: np.dtype(row[0]).newbyteorder("<") for name, row in DATATYPES.items()}


def array_of(tensor: SampledTensor) -> Array:
    """In the tensor's own shape. FP16 and BF16 come as float32; BYTES as an array of objects:
    ``str``, or ``bytes`` that are no text.

    Of more than ``MOST_TEXTS`` elements the first whole rows are left, or of one row alone the
    first elements, on one axis.
    """
    _, datatype, shape, data = tensor
    if datatype == "BYTES":
        return _texts(shape, data)
    values = np.frombuffer(data, _DTYPES[datatype])
    if datatype == "BF16":
        values = (values.astype(np.uint32) << 16).view(np.float32)
    elif datatype == "FP16":
        values = values.astype(np.float32)
    return values.reshape(shape)


def _texts(shape: tuple[int, ...], data: bytes) -> Array:
    count = math.prod(shape)
    if count > MOST_TEXTS:
        row = math.prod(shape[1:])
        rows = MOST_TEXTS // row if row else 0
        shape = (rows, *shape[1:]) if rows else (1, MOST_TEXTS)
        count = math.prod(shape)
    found = np.empty(count, object)
    at = 0
    for place in range(count):
        (length,) = _LENGTH.unpack_from(data, at)
        at += 4 + length
        found[place] = _text(data[at - length : at])
    return found.reshape(shape)


def _text(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data
