"""A version's files as one sealed piece of anonymous memory.

A child that died is started again from what was loaded first, whatever has become of the
files since.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import struct

from serving.execution.files import ModelFiles

_HEAD = struct.Struct("<Q")
_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def new() -> int:
    """An empty snapshot's file descriptor."""
    return os.memfd_create("serving-model", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)


def is_empty(fd: int) -> bool:
    return os.fstat(fd).st_size == 0


def fill(fd: int, files: ModelFiles) -> None:
    """Write the files, once; nobody can change them then. Raises OSError where memory is short."""
    blobs = [files.model, *files.external.values()]
    facts = {
        "external": list(files.external),
        "unshaped_inputs": sorted(files.unshaped_inputs),
        "sizes": [len(blob) for blob in blobs],
    }
    head = json.dumps(facts).encode()
    size = _HEAD.size + len(head) + sum(len(blob) for blob in blobs)
    os.posix_fallocate(fd, 0, size)
    at = 0
    for part in (_HEAD.pack(len(head)), head, *blobs):
        at = _write(fd, memoryview(part), at)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)


def _write(fd: int, part: memoryview, at: int) -> int:
    while part:
        written = os.pwrite(fd, part, at)
        part, at = part[written:], at + written
    return at


def read(fd: int) -> ModelFiles:
    """What ``fill`` wrote."""
    with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as data:
        (length,) = _HEAD.unpack_from(data)
        at = _HEAD.size + length
        facts = json.loads(data[_HEAD.size : at])
        blobs = []
        for size in facts["sizes"]:
            blobs.append(data[at : at + size])
            at += size
    external = dict(zip(facts["external"], blobs[1:], strict=True))
    return ModelFiles(blobs[0], external, frozenset(facts["unshaped_inputs"]))
