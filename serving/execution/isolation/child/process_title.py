"""What the process list shows of a process that was forked, not started with its arguments."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path

_STAT = Path("/proc/self/stat")
# Of the fields behind the name, in proc(5) fields 48 and 49.
_START, _END = 45, 46


def show(arguments: Sequence[str]) -> None:
    """Have the list show these, as far as the arguments that the process was started with had
    room; nothing where the system does not say where they lie."""
    try:
        fields = _STAT.read_bytes().rpartition(b")")[2].split()  # file: the kernel's
        start, room = int(fields[_START]), int(fields[_END]) - int(fields[_START])
    except (OSError, ValueError, IndexError):
        return
    if room <= 0:
        return
    said = b"\0".join(map(os.fsencode, arguments))[: room - 1]
    ctypes.memmove(start, said.ljust(room, b"\0"), room)
