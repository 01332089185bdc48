"""A version's files as one sealed piece of anonymous memory.

A child that died is started again from what was loaded first, whatever has become of the
files since.
"""

from __future__ import annotations

import fcntl
import json
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from serving.execution.external_data import ExternalFile
from serving.execution.files import ModelFiles
from serving.execution.private_copy import send_bytes

_HEAD = struct.Struct("<Q")
_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def new() -> int:
    """An empty snapshot's file descriptor."""
    return os.memfd_create("serving-model", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)


def is_empty(fd: int) -> bool:
    return os.fstat(fd).st_size == 0


def fill(fd: int, files: ModelFiles) -> None:
    """Write the files, once; nobody can change them then. Raises OSError where memory is
    short, LoadError where a file changes meanwhile."""
    facts = {
        "model": len(files.model),
        "external": [[f.path, sorted(f.spellings), f.size, f.in_memory] for f in files.external],
        "unshaped_inputs": sorted(files.unshaped_inputs),
    }
    head = json.dumps(facts).encode()
    at = _HEAD.size + len(head) + len(files.model)
    os.posix_fallocate(fd, 0, at + sum(file.size for file in files.external))
    _write(fd, _HEAD.pack(len(head)) + head, 0)
    _write(fd, files.model, at - len(files.model))
    for file in files.external:
        with file.opened() as (source, start):
            send_bytes(source, start, fd, at, file.size)
        at += file.size
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)


def _write(fd: int, data: bytes, at: int) -> None:
    part = memoryview(data)
    while part:
        written = os.pwrite(fd, part, at)
        part, at = part[written:], at + written


def read(fd: int) -> ModelFiles:
    """What ``fill`` wrote; external data can be opened for as long as ``fd`` is."""
    (length,) = _HEAD.unpack(_read(fd, _HEAD.size, 0))
    facts = json.loads(_read(fd, length, _HEAD.size))
    at = _HEAD.size + length
    model = _read(fd, facts["model"], at)
    at += len(model)
    external = []
    for path, spellings, size, in_memory in facts["external"]:
        opened = partial(_opened, fd, at)
        external.append(ExternalFile(path, frozenset(spellings), size, in_memory, opened))
        at += size
    return ModelFiles(model, tuple(external), frozenset(facts["unshaped_inputs"]))


@contextmanager
def _opened(fd: int, at: int) -> Iterator[tuple[int, int]]:
    yield fd, at


def _read(fd: int, size: int, at: int) -> bytes:
    with os.fdopen(os.dup(fd), "rb") as stream:
        stream.seek(at)
        return stream.read(size)
