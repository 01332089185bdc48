"""Putting a finished folder under its name: at once, never over another one."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path

_NOREPLACE = 1
_AT_FDCWD = -100
# The system or the file system cannot do it in one step.
_UNKNOWN = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP})


def rename_to_new(source: Path, target: Path) -> None:
    """Rename a folder to a name that nothing has.

    Raises FileExistsError where something has it; another OSError as it comes.
    """
    if sys.platform == "linux":
        code = _rename_noreplace(source, target)
        if code == 0:
            return
        if code not in _UNKNOWN:
            raise OSError(code, os.strerror(code))
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    try:
        os.rename(source, target)  # noqa: PTH104 - the same call as above, by its own name
    except OSError as error:
        if error.errno == errno.ENOTEMPTY:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
        raise


def sync_folder(folder: Path) -> None:
    """Make the folder's names outlive a power failure."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # file: a folder
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in _UNKNOWN:  # some network disks sync no folders
            raise
    finally:
        os.close(file)


def _rename_noreplace(source: Path, target: Path) -> int:
    """0, or the error's number."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        return errno.ENOSYS
    failed = rename(
        _AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), ctypes.c_uint(_NOREPLACE)
    )
    return ctypes.get_errno() if failed else 0
