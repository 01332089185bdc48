"""What a model's file says beside its graph, read without the graph and its weights."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from serving import _core
from serving.execution.onnx_file import MOST_BYTES, NotOnnxError
from serving.user_files import open_file

# More than any model has beside its graph. Each costs a read: a file of nothing else, of a few
# megabytes, would keep its load busy.
MOST_FIELDS = 100_000


class TooManyFieldsError(Exception):
    """The file has more fields than are looked at."""


def fields_of_file(version_dir: Path, filename: str, numbers: Collection[int]) -> Iterator[bytes]:
    """The fields of these numbers of a serialized ``ModelProto``, in order: each as it stands,
    which makes it a ``ModelProto`` of its own.

    Raises OSError where there is no file to be read, NotOnnxError where it is none or breaks off,
    TooManyFieldsError after ``MOST_FIELDS``; what stands before comes first.
    """
    path = version_dir / filename
    if path.is_dir():
        path = path / "model.onnx"
    with open_file(path) as file:
        descriptor = file.fileno()
        places, is_all, words = _core.onnx_fields(descriptor, [*numbers], MOST_BYTES, MOST_FIELDS)
        yield from (os.pread(descriptor, size, at) for at, size in places)
    if words:
        raise NotOnnxError(words)
    if not is_all:
        raise TooManyFieldsError
