"""What a model's file says beside its graph, read without the graph and its weights."""

from __future__ import annotations

import os
from collections.abc import Container, Iterator
from pathlib import Path

from serving.execution.onnx_file import MOST_BYTES
from serving.execution.protobuf_walk import BYTES, VARINT, WIDTHS, NotOnnxError, varint
from serving.user_files import open_file

# A key and a length have at most ten bytes each.
_HEAD = 20
# More than any model has beside its graph. Each costs a read: a file of nothing else, of a few
# megabytes, would keep its load busy for seconds.
MOST_FIELDS = 100_000


class TooManyFieldsError(Exception):
    """The file has more fields than are looked at."""


def fields_of_file(
    version_dir: Path, filename: str, numbers: Container[int], longest: int = MOST_BYTES
) -> Iterator[bytes]:
    """The fields of these numbers of a serialized ``ModelProto``, in order: each as it stands,
    which makes it a ``ModelProto`` of its own. Those longer than ``longest`` bytes are passed over.

    Raises OSError where there is no file to be read, NotOnnxError and IndexError where it is none
    or breaks off, TooManyFieldsError after ``MOST_FIELDS``.
    """
    path = version_dir / filename
    if path.is_dir():
        path = path / "model.onnx"
    with open_file(path) as file:
        yield from _fields(file.fileno(), numbers, longest)


def _fields(file: int, numbers: Container[int], longest: int) -> Iterator[bytes]:
    at, size, seen = 0, os.fstat(file).st_size, 0
    while at < size:
        seen += 1
        if seen > MOST_FIELDS:
            raise TooManyFieldsError
        number, end = _field(memoryview(os.pread(file, _HEAD, at)))
        if at + end > size:
            raise IndexError
        if number in numbers and end <= longest:
            yield os.pread(file, end, at)
        at += end


def _field(head: memoryview) -> tuple[int, int]:
    """The number of the field that begins with these bytes, and how many it has."""
    key, at = varint(head, 0)
    kind = key & 7
    if kind == BYTES:
        length, at = varint(head, at)
        return key >> 3, at + length
    if kind == VARINT:
        return key >> 3, varint(head, at)[1]
    if kind in WIDTHS:
        return key >> 3, at + WIDTHS[kind]
    raise NotOnnxError("is not an ONNX protobuf")
