"""Folders that are being written: hidden from scans, locked by their writer, and removed by
the next publisher when their writer is dead.

The lock is a file beside the folder, made before it and held for as long as the writer
lives; the system releases it however the writer ends.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serving.registry.names import UNFINISHED

_LOCK = ".lock"
# Without locks (some network disks) only age tells that a writer is dead.
_OLD_S = 24 * 3600.0
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL})


@contextmanager
def unfinished_folder(parent: Path) -> Iterator[Path]:
    """A new folder in ``parent``, to be filled and renamed; what is left of it at the end is
    removed. Raises OSError."""
    lock, path = _locked(parent)
    folder = path.with_name(path.name.removesuffix(_LOCK))
    try:
        folder.mkdir()
        yield folder
    finally:
        _remove(folder)
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(lock)


def remove_dead(parent: Path) -> int:
    """Remove what dead writers left in ``parent``; how many folders and locks there were.

    What cannot be removed stays for the next one.
    """
    removed = 0
    with contextlib.suppress(OSError):
        names = [p.name for p in parent.iterdir() if p.name.startswith(UNFINISHED)]
        for stem in sorted({name.removesuffix(_LOCK) for name in names}):
            removed += _remove_if_dead(parent / stem)
    return removed


def _locked(parent: Path) -> tuple[int, Path]:
    while True:
        path = parent / f"{UNFINISHED}{secrets.token_hex(8)}{_LOCK}"
        file = os.open(
            path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644
        )  # file: made here
        try:
            # Whoever cleans up may have taken it for a dead one's before it was locked, and be
            # about to remove it, or have done so.
            if _lock(file) is not False and os.fstat(file).st_nlink:
                return file, path
        except OSError:
            os.close(file)
            raise
        os.close(file)


def _lock(file: int) -> bool | None:
    """Whether it is ours now; None where the file system has no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return None
        raise
    return True


def _remove_if_dead(folder: Path) -> bool:
    path = folder.with_name(folder.name + _LOCK)
    try:
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        file = os.open(path, flags)  # file: a lock, never read
    except FileNotFoundError:
        return _remove(folder)  # nobody writes without a lock
    except OSError:
        return False
    try:
        ours = _lock(file)
        if ours is False or (ours is None and not _is_old(path)):
            return False
        _remove(folder)
        path.unlink(missing_ok=True)
        return True
    except OSError:
        return False
    finally:
        os.close(file)


def _is_old(path: Path) -> bool:
    return time.time() - path.stat().st_mtime > _OLD_S


def _remove(folder: Path) -> bool:
    existed = folder.exists()
    shutil.rmtree(folder, ignore_errors=True)
    return existed
