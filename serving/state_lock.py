"""One state directory, one gateway: a lock that ends with the process, however that ends."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import weakref
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_FILE = "lock"
_MOST_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Holder:
    """As it described itself; 0 and "" where it did not. ``pid`` is a number on ``host``."""

    pid: int
    host: str
    since: str

    def __str__(self) -> str:
        if not self.pid:
            return "another gateway"
        return f"the gateway with pid {self.pid} on {self.host}, since {self.since}"


class HeldError(Exception):
    """Another gateway has the directory."""

    def __init__(self, holder: Holder) -> None:
        super().__init__(f"held by {holder}")
        self.holder = holder


class StateLock:
    """Held from here on, until ``release`` or the end of the process.

    ``folder`` exists. No child inherits it, so that it is free at once when this process is
    killed. Raises HeldError; OSError where there can be no lock.
    """

    def __init__(self, folder: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(folder / _FILE, flags, 0o600)  # file: ours, and not read before it is locked
        self._release = weakref.finalize(self, os.close, fd)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _read(fd)
            self._release()
            raise HeldError(holder) from None
        except OSError:
            self._release()
            raise
        _describe_us(fd)

    def release(self) -> None:
        """Again and again without harm."""
        self._release()


def described(folder: Path) -> Holder | None:
    """Who had the directory last, as it said; whether it still has is another matter."""
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(folder / _FILE, flags)  # file: ours, and read up to a bound
    except OSError:
        return None
    try:
        return _read(fd)
    finally:
        os.close(fd)


def running_holder(folder: Path) -> Path | None:
    """The folder in /proc of the process on this machine that has the directory; None where
    that can't be seen. The lock is left alone: to try it would keep a gateway from starting."""
    last = described(folder)
    if last is None or last.host != socket.gethostname():
        return None
    process, lock = Path("/proc") / str(last.pid), os.path.realpath(folder / _FILE)
    with suppress(OSError):  # it has ended, or is another user's
        if any(os.path.realpath(fd) == lock for fd in (process / "fd").iterdir()):
            return process
    return None


def _describe_us(fd: int) -> None:
    us = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
    }
    with suppress(OSError):  # a full disk: the lock holds all the same
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps(us).encode(), 0)


def _read(fd: int) -> Holder:
    try:
        said = json.loads(os.pread(fd, _MOST_BYTES, 0))
        return Holder(int(said["pid"]), _word(said["host"]), _word(said["since"]))
    except (OSError, ValueError, OverflowError, TypeError, KeyError, RecursionError):
        return Holder(0, "", "")


def _word(text: object) -> str:
    """Whoever wrote it shares the volume; it moves no cursor of ours."""
    return "".join(c for c in str(text)[:255] if c.isprintable())
