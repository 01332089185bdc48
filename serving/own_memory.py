"""The memory that this process has, and what of it may be had for a while."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path

from serving import machine

_STATUS = Path("/proc/self/status")
_PART = 2


def memory_of(kind: str) -> int:
    """Of this process now, in bytes; 0 where the system can't tell. ``VmData``: what RLIMIT_DATA
    counts; ``RssAnon``: what is there of it."""
    try:
        for line in _STATUS.read_text().splitlines():  # file: the kernel's
            if line.startswith(f"{kind}:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def limit_words() -> str:
    """What this process may have, to be said behind what there is too little of; "" where that has
    no limit of its own."""
    soft, _ = resource.getrlimit(resource.RLIMIT_DATA)
    return "" if soft == resource.RLIM_INFINITY else f": this process may have {soft:,} bytes of it"


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """While this lasts, half of the memory that may be used here can be allocated beyond what there
    is, by all threads: for a process that does nothing else, and reads what may unpack to anything.

    Who asks for more gets MemoryError, where else the system would end this process or another.
    Nothing is bounded where the system has no such limit, or a tighter one.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limits = [one for one in (soft, hard) if one != resource.RLIM_INFINITY]
    has = memory_of("VmData")
    if not has:
        yield
        return
    limit = min([has + machine.usable_memory() // _PART, *limits])
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    try:
        yield
    finally:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
