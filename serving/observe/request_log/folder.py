"""The folder of the request log: whole files under their own names, one that is being written,
and never more bytes than allowed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from serving.errors import ConfigError
from serving.events import log
from serving.observe.request_log.forms import PART, Form, finish

_NAME = re.compile(r"requests-\d{8}T\d{12}Z\.(jsonl|parquet)(\.part|\.tmp)?")
_NAMES_TRIED = 100
# Enough for one write to carry many lines, and little to lose where it fails.
_PIECE_BYTES = 65536


class TooLargeError(ValueError):
    """A piece that is larger than all files together may be."""


class Folder:
    """Appends pieces to a file that another follows when it is full. One thread's own.

    ``max_file_bytes``: of a file (half of ``max_bytes`` at most, so that what was written
    lately is always there); ``max_bytes``: of all files of a request log in the folder.
    """

    def __init__(
        self,
        path: Path,
        form: Form,
        *,
        max_file_bytes: int,
        max_bytes: int,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.path, self._form, self._wall = path, form, wall
        self._max_bytes = max_bytes
        self._max_file_bytes = min(max_file_bytes, max(1, max_bytes // 2))
        self._part: _Part | None = None
        # Of the other files, as last looked: whole ones by age, and what is not ours to remove.
        self._whole: list[tuple[Path, int]] = []
        self._fixed = 0
        self._said: set[Path] = set()

    @property
    def held_bytes(self) -> int:
        """Of all files together."""
        part = self._part.size if self._part is not None else 0
        return sum(size for _, size in self._whole) + self._fixed + part

    def room(self) -> int:
        """How many bytes a piece of many requests should have at most, for nothing that fits
        alone to be refused together, and files to end where they should."""
        part = self._part.size if self._part is not None else 0
        if part >= self._max_file_bytes:
            part = 0
        all_files = self._max_bytes - self._fixed
        return max(0, min(_PIECE_BYTES, min(self._max_file_bytes, all_files) - part))

    def open(self) -> None:
        """Make the folder, and whole files of what processes that are gone left half written.

        Raises OSError.
        """
        _make_folder(self.path)
        self._tidy()
        self._look()

    def append(self, piece: bytes) -> None:
        """Raises OSError, then nothing of the piece stays; TooLargeError."""
        if len(self._form.header) + len(piece) > self._max_bytes:
            raise TooLargeError
        part = self._part
        if part is not None and part.filled and part.size + len(piece) > self._max_file_bytes:
            self.close()
            part = None
        if part is None:
            part = self._part = self._new_part(len(piece))
        self._make_room(part.size + len(piece))
        try:
            part.append(piece)
        except OSError:
            # What was written before can be read now; the next attempt begins a new file.
            with contextlib.suppress(OSError):
                self.close()
            raise

    def close(self) -> None:
        """Make a whole file of the one that is being written. Raises OSError; it then keeps
        its name, to be taken over later."""
        part, self._part = self._part, None
        if part is None:
            return
        try:
            if self._form.copies:
                self._make_room(part.size * 2)
            finish(part.path)
        finally:
            part.close()
            self._look()

    def _new_part(self, room: int) -> _Part:
        self.open()  # file: it opens a name of its own choice
        self._make_room(len(self._form.header) + room)
        at = self._wall()
        for attempt in range(_NAMES_TRIED):
            stamp = datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%S")
            fraction = (int(at * 1e6) + attempt) % 10**6
            final = self.path / f"requests-{stamp}{fraction:06d}Z{self._form.suffix}"
            part = None if final.exists() else _Part.create(final.with_name(final.name + PART))
            if part is not None:
                try:
                    part.begin(self._form.header)
                except OSError:
                    part.close()
                    part.path.unlink(missing_ok=True)
                    raise
                return part
        raise FileExistsError(errno.EEXIST, "no name is free for a new file")

    def _make_room(self, needed: int) -> None:
        """Let the oldest files go until ``needed`` bytes fit beside the others."""
        while self._whole and self._held() + needed > self._max_bytes:
            oldest, _ = self._whole.pop(0)
            oldest.unlink(missing_ok=True)
        if self._held() + needed > self._max_bytes:
            raise OSError(errno.EDQUOT, "files that are being written take up all that is allowed")

    def _held(self) -> int:
        return sum(size for _, size in self._whole) + self._fixed

    def _tidy(self) -> None:
        """Finish what nobody writes to any more."""
        for path in self._ours():
            if path.name.endswith(".tmp"):
                with _left(path.with_suffix(PART)) as left:
                    if left:
                        path.unlink(missing_ok=True)
            elif path.name.endswith(PART):
                with _left(path) as left:
                    if left and path.exists():
                        self._finish_left(path)

    def _finish_left(self, path: Path) -> None:
        try:
            finish(path)
        except (OSError, ConfigError) as error:
            # It stays as it is, and counts.
            if path not in self._said:
                self._said.add(path)
                log.warning("request_log_file_left", file=path.name, reason=words(error))

    def _look(self) -> None:
        self._whole, self._fixed = [], 0
        for path in self._ours():
            with contextlib.suppress(FileNotFoundError):
                size = path.stat().st_size
                if not path.name.endswith((PART, ".tmp")):
                    self._whole.append((path, size))
                elif self._part is None or path != self._part.path:
                    self._fixed += size

    def _ours(self) -> list[Path]:
        """Files of a request log, oldest first: their names begin with the time."""
        return sorted(path for path in self.path.iterdir() if _NAME.fullmatch(path.name))


class _Part:
    """A file that is being written, and locked: a lock says better than a number in a file
    whether its process is still there."""

    def __init__(self, path: Path, handle: int) -> None:
        self.path, self._handle = path, handle
        self.size = 0
        self.filled = False

    @staticmethod
    def create(path: Path) -> _Part | None:
        """None where the name is taken, or somebody else was quicker. Raises OSError."""
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW
        try:
            handle = os.open(path, flags, 0o600)  # file: made here
        except FileExistsError:
            return None
        if _taken(handle, path):
            os.close(handle)
            return None
        return _Part(path, handle)

    def begin(self, header: bytes) -> None:
        self._write(header)

    def append(self, piece: bytes) -> None:
        """Whole or not at all. Raises OSError."""
        self._write(piece)
        self.filled = True

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._handle, rest) :]
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, self.size)
            raise
        self.size += len(data)

    def close(self) -> None:
        os.close(self._handle)


def _taken(handle: int, path: Path) -> bool:
    """Whether another process took a file that was just made for one that was left behind."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        # A file system without locks: then nobody takes over anything.
        return False
    try:
        return not os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return True


@contextlib.contextmanager
def _left(path: Path) -> Iterator[bool]:
    """Whether nobody writes to the file, if it is there; nobody else takes it over meanwhile."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)  # file: ours
    except FileNotFoundError:
        yield True
        return
    except OSError:
        yield False
        return
    try:
        yield _locked(handle)
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _make_folder(path: Path) -> None:
    """A folder of our making is private; one that was there is its owner's business."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def words(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error).lower()
