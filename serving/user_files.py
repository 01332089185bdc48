"""The one way to open what users have put in place: model files, configurations, tokens.

Whatever lies under a name, opening it never waits, and only a regular file is read (fault
109): a pipe, a socket or a device would hold its reader up, or never end.
``tests/unit/ground/test_user_files.py`` looks for other ways in the source.
"""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path


class NotRegularError(OSError):
    """Something else than a regular file lies there."""

    def __init__(self) -> None:
        super().__init__(errno.EINVAL, "not a regular file")


class TooLargeError(OSError):
    """``size``: bytes that the file has, as far as it was looked at."""

    def __init__(self, size: int, most: int) -> None:
        super().__init__(errno.EFBIG, f"more than {most} bytes")
        self.size = size


class LinkOutError(OSError):
    """It is a link that leaves its folder, or lies behind one."""

    def __init__(self) -> None:
        super().__init__(errno.EPERM, "a link that leaves its folder")


def open_file(path: str | Path, most: int | None = None, *, follow: bool = True) -> BufferedReader:
    """The regular file at ``path``, opened for reading. ``most``: bytes that it may have.
    ``follow``: also where the last part of the path is a link.

    Raises OSError, whose words carry no path: NotRegularError, TooLargeError, the system's.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    try:
        file = os.open(path, flags)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket, or a device without a driver
            raise NotRegularError from None
        raise
    try:
        _check(os.fstat(file), most)
        return os.fdopen(file, "rb")
    except BaseException:
        os.close(file)
        raise


def read_file(path: str | Path, most: int, *, follow: bool = True) -> bytes:
    """Its whole content, at most so many bytes, also where it grows meanwhile.

    Raises as ``open_file`` does.
    """
    with open_file(path, most, follow=follow) as file:
        content = file.read(os.fstat(file.fileno()).st_size + 1)
    if len(content) > most:
        raise TooLargeError(len(content), most)
    return content


def read_inside(folder: Path, name: str | Path, most: int) -> bytes:
    """As ``read_file``, the file ``name`` of ``folder``, which has no more than its own to tell:
    links are followed as long as they stay in the folder, as those of Kubernetes' ConfigMaps do.
    The folder itself may be a link.

    Raises as ``read_file`` does, and LinkOutError.
    """
    found, whole = (Path(os.path.realpath(one, strict=True)) for one in (folder / name, folder))
    if not found.is_relative_to(whole):
        raise LinkOutError
    # What was looked at is what is opened.
    return read_file(found, most, follow=False)


def _check(facts: os.stat_result, most: int | None) -> None:
    if not stat.S_ISREG(facts.st_mode):
        raise NotRegularError
    if most is not None and facts.st_size > most:
        raise TooLargeError(facts.st_size, most)
