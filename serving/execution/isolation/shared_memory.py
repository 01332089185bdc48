"""Memory that the server and a child both see: anonymous, reserved before it is used.

It is a memfd, so it is in no file system, is nobody else's to open, and goes with the last
process that holds it. It is sealed against shrinking: whatever a child does, reading what is
mapped here cannot fail.
"""

from __future__ import annotations

import fcntl
import mmap
import os

import numpy as np

_PAGE = mmap.PAGESIZE
# A buffer larger than this is given back once so many runs in a row needed a quarter of it.
KEPT_BYTES = 4 * 1024 * 1024
_PATIENCE = 32


class SharedMemory:
    """A growing stretch of bytes. ``fd`` may be sent to another process, which makes its own
    ``SharedMemory`` of it; either side may ``reserve``, the other then has to ``map`` the new
    size."""

    def __init__(self, fd: int | None = None) -> None:
        """``fd``: of the other side, taken over. Without one, a new one of no bytes."""
        self.fd = _new() if fd is None else fd
        self.size = 0
        self.bytes: np.ndarray[tuple[int], np.dtype[np.uint8]] = np.empty(0, np.uint8)
        self._map: mmap.mmap | None = None

    def reserve(self, size: int) -> None:
        """Have at least ``size`` bytes, in memory. Raises OSError where there are not so many."""
        if size <= self.size:
            return
        size = -(-max(size, self.size + self.size // 2) // _PAGE) * _PAGE
        os.posix_fallocate(self.fd, 0, size)
        self._map_all(size)

    def map(self, size: int) -> None:
        """See ``size`` bytes that the other side has reserved. Raises ValueError where it
        has not."""
        if size > self.size:
            if size > os.fstat(self.fd).st_size:
                raise ValueError("less memory is there than was said")
            self._map_all(size)

    def _map_all(self, size: int) -> None:
        # The old mapping goes with the last array that points into it.
        self._map = mmap.mmap(self.fd, size)
        self.bytes = np.frombuffer(self._map, np.uint8)
        self.size = size

    def give_back(self) -> None:
        """Have the memory gone, whoever else still maps it; nobody may use it any more."""
        if self._map is not None:
            self._map.madvise(mmap.MADV_REMOVE)
        self.close()

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
        self.bytes = np.empty(0, np.uint8)
        self._map = None
        self.size = 0


def _new() -> int:
    fd = os.memfd_create("serving-tensors", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
    return fd


class Thrift:
    """Whether a buffer has been much too large for long enough to be given back."""

    def __init__(self) -> None:
        self._idle = 0

    def is_waste(self, size: int, used: int) -> bool:
        """Told once a run: the buffer's bytes, and those that the run needed."""
        if size <= KEPT_BYTES or used * 4 > size:
            self._idle = 0
            return False
        self._idle += 1
        return self._idle >= _PATIENCE
