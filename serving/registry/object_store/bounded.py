"""Answers of a store that may go on for ever, ended at a time and at a size.

``obstore`` brings a list as a whole, however many pages the store says there are, and however long
each of them is. What can be ended runs in native threads, which go on for a moment after its end: a
process that takes its interpreter down just then is aborted, so it has to leave as
``running.leave`` does.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

Found = TypeVar("Found")

# What one list may take, far above what as many entries as count take.
MOST_BYTES = 512 * 1024 * 1024
# Between two looks at how much that is.
_LOOK_S = 0.05
_STATM = Path("/proc/self/statm")


class EndlessError(Exception):
    """It went on beyond its bounds; the text says beyond which."""


def bounded(
    asked: Callable[[], Awaitable[Found]], seconds: float, most_bytes: int = MOST_BYTES
) -> Found:
    """What comes of it, in a loop of this thread's own. ``most_bytes``: by which the process may
    grow meanwhile. Raises EndlessError, and whatever it raises."""
    return asyncio.run(_watched(asked, seconds, most_bytes))


async def _watched(asked: Callable[[], Awaitable[Found]], seconds: float, most_bytes: int) -> Found:
    start = _resident()
    task = asyncio.ensure_future(asked())
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not (await asyncio.wait({task}, timeout=_LOOK_S))[0]:
        late, large = loop.time() > end, _resident() - start > most_bytes
        if not (late or large):
            continue
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        words = f"it did not end in {seconds:g} s" if late else "it is too large to be read"
        raise EndlessError(words)
    return task.result()


def _resident() -> int:
    """Bytes of memory; 0 where the system does not tell."""
    try:
        pages = int(_STATM.read_bytes().split()[1])  # file: the kernel's
        return pages * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
