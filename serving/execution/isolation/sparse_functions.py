"""Whether a function of a model holds a sparse tensor.

onnxruntime (observed with 1.32) puts functions into the graph while it loads, and goes on
comparing the names of their sparse tensors where they are no more: it reads freed memory, and
ends the process now and then. Such versions are loaded in a child, from a file or not.
"""

from __future__ import annotations

from pathlib import Path

from serving.execution.onnx_beside import TooManyFieldsError, fields_of_file
from serving.execution.onnx_file import NotOnnxError, read

_FUNCTIONS = 25


def file_holds_sparse_functions(version_dir: Path, filename: str) -> bool:
    """False where there is no model to be read: whoever loads it says so. True where there is too
    much of it to be looked at."""
    try:
        functions = fields_of_file(version_dir, filename, {_FUNCTIONS})
        return any(read(function).sparse_tensors for function in functions)
    except TooManyFieldsError:
        return True
    except (OSError, NotOnnxError):
        return False
