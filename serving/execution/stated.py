"""What a version's file says beside its graph and must be known before onnxruntime sees it, in one
look at the file.

onnxruntime (observed with 1.32) puts functions into the graph while it loads, and goes on
comparing the names of their sparse tensors where they are no more: it reads freed memory, and
ends the process now and then. Such versions are loaded in a child, from a file or not.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from serving.execution.onnx_beside import TooManyFieldsError, fields_of_file
from serving.execution.onnx_file import NotOnnxError, read
from serving.execution.onnx_nodes import read_nodes

# Fields of ModelProto: the IR version, one for each set of operators, and for each function.
_IR_VERSION, _OPSET, _FUNCTION = 1, 8, 25
# No model has more sets of operators, or longer names for them.
_MOST_VERSIONS, _LONGEST = 1000, 4096


@dataclass(frozen=True, slots=True)
class Stated:
    """``sparse_functions``: whether a function holds a sparse tensor, or there is too much of the
    file to be looked at. ``opset``: of ONNX's own operators; None where the file states none."""

    sparse_functions: bool = False
    opset: int | None = None
    ir_version: int | None = None


def stated_by(version_dir: Path, filename: str) -> Stated:
    """Nothing is known of a file that can't be read: whoever loads it says so."""
    sparse, versions = False, list[bytes]()
    try:
        for part in fields_of_file(version_dir, filename, {_IR_VERSION, _OPSET, _FUNCTION}):
            if _number(part) == _FUNCTION:
                sparse = sparse or read(part).sparse_tensors > 0
            elif len(part) <= _LONGEST and len(versions) < _MOST_VERSIONS:
                versions.append(part)
        model = read_nodes(b"".join(versions))
    except TooManyFieldsError:
        return Stated(sparse_functions=True)
    except (OSError, NotOnnxError):
        return Stated(sparse)
    return Stated(sparse, model.opsets.get(""), model.ir_version or None)


def _number(field: bytes) -> int:
    """Its own; whoever wrote it may have taken more bytes for that than it needs."""
    key = 0
    for place, byte in enumerate(field):
        key |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            break
    return key >> 3
