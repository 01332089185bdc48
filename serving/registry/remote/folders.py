"""The cache's folders on the disk: made, measured, held against what they should be, removed."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from serving.registry.remote.downloading import sum_of
from serving.registry.remote.listing import Listing
from serving.state_dir import make_private

# What is short is short for anybody: it says nothing about a file.
_SHORT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


def with_parts(root: Path) -> Path:
    """Raises OSError."""
    make_private(root)
    for part in ("entries", "names", "work"):
        make_private(root / part)
    return root


def wrong(folder: Path, listing: Listing, check: Callable[[], None]) -> str:
    """How a folder is not what it was, "" where it is. Raises OSError where that can't be told,
    for want of descriptors or memory."""
    try:
        for path, file in listing.items():
            check()
            if sum_of(folder / path) != file.sha256:
                return f"{path} has changed"
    except OSError as error:
        if error.errno in _SHORT:
            raise
        return (error.strerror or str(error)).lower()
    return ""


def bytes_of(folder: Path) -> int:
    sizes = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                sizes += os.lstat(Path(place, name)).st_size
    return sizes


def remove(place: Path) -> None:
    with contextlib.suppress(OSError):
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink()
