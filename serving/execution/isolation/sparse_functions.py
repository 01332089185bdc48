"""Whether a function of a model holds a sparse tensor.

onnxruntime (observed with 1.32) puts functions into the graph while it loads, and goes on
comparing the names of their sparse tensors where they are no more: it reads freed memory, and
ends the process now and then. Such versions are loaded in a child, from a file or not.
"""

from __future__ import annotations

import os
from pathlib import Path

from serving.execution.onnx_file import NotOnnxError, function_holds_sparse_tensor
from serving.execution.protobuf_walk import BYTES, FIXED32, FIXED64, VARINT, varint
from serving.user_files import open_file

_FUNCTIONS = 25
# A key and a length have at most ten bytes each.
_HEAD = 20


def file_holds_sparse_functions(version_dir: Path, filename: str) -> bool:
    """False where there is no model to be read: whoever loads it says so. The graph and its
    weights are passed over."""
    path = version_dir / filename
    if path.is_dir():
        path = path / "model.onnx"
    try:
        with open_file(path) as file:
            return _found(file.fileno())
    except (OSError, NotOnnxError, IndexError):
        return False


def _found(file: int) -> bool:
    at = 0
    while head := os.pread(file, _HEAD, at):
        key, value = varint(memoryview(head), 0)
        kind = key & 7
        if kind == BYTES:
            length, start = varint(memoryview(head), value)
            if key >> 3 == _FUNCTIONS and function_holds_sparse_tensor(
                os.pread(file, length, at + start)
            ):
                return True
            at += start + length
        elif kind == VARINT:
            at += varint(memoryview(head), value)[1]
        elif kind in (FIXED64, FIXED32):
            at += value + (8 if kind == FIXED64 else 4)
        else:
            raise NotOnnxError("is not an ONNX protobuf")
    return False
