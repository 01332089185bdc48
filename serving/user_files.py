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


def _check(facts: os.stat_result, most: int | None) -> None:
    if not stat.S_ISREG(facts.st_mode):
        raise NotRegularError
    if most is not None and facts.st_size > most:
        raise TooLargeError(facts.st_size, most)
