"""What the system says of the kind of file system that a folder lies on."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

# Kinds by statfs(2) whose files only this machine changes and which are at hand as long as it
# runs: ext, xfs, btrfs, tmpfs, overlay, f2fs, zfs, bcachefs, ramfs, jfs.
_LOCAL = frozenset(
    {
        0xEF53,
        0x58465342,
        0x9123683E,
        0x01021994,
        0x794C7630,
        0xF2F52010,
        0x2FC12FC1,
        0xCA451A4E,
        0x858458F6,
        0x3153464A,
    }
)


def is_local(folder: Path) -> bool:
    """Whether it is known to be a disk or the memory of this machine; True where the system has
    no such figures. Raises OSError."""
    if sys.platform != "linux":
        return True
    facts = ctypes.create_string_buffer(512)
    if ctypes.CDLL(None, use_errno=True).statfs(os.fsencode(folder), facts):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    kind = ctypes.c_long.from_buffer(facts).value
    return kind & 0xFFFFFFFF in _LOCAL
