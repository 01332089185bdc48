"""External data as a private copy, in a folder that onnxruntime reads and maps it from.

The folder has a name for as long as a session is being made. What is mapped then lives on
without one: nobody can open it, change it or cut it short, and it goes with the session.
Where and why: docs/decisions/0010-private-copies.md.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from serving.execution.external_data import ExternalFile, os_words
from serving.file_systems import is_local
from serving.state_dir import make_private, make_root

_PREFIX = "serving-weights-"
# What a copy leaves free for others.
_SPARE = 64 * 1024 * 1024
_PIECE = 64 * 1024 * 1024
_MAPS = Path("/proc/self/maps")
_FICLONE = 0x40049409
# Whether this process ever made a copy.
_MADE = threading.Event()


class NoPlaceError(OSError):
    """No place takes the copy; the words say why, place by place, without a path."""


@dataclass(frozen=True, slots=True)
class Place:
    """A folder for copies; ``name`` is what errors call it. ``is_ours``: it may be made."""

    name: str
    folder: Path
    is_ours: bool = False


def places(state_dir: Path | None) -> tuple[Place, ...]:
    """Where copies may lie, the best first."""
    ours = (Place("the state directory", state_dir / "copies", True),) if state_dir else ()
    temporary = os.environ.get("TMPDIR", "")
    folder = Path(temporary if temporary.startswith("/") else "/tmp")
    return (
        *ours,
        Place("the folder for temporary files", folder),
        Place("shared memory", Path("/dev/shm")),
    )


@contextmanager
def private_folder(files: Sequence[ExternalFile], where: Sequence[Place]) -> Iterator[Path]:
    """A folder, mode 0700, with copies of ``files`` by their paths, in the first place that
    takes them. It is removed at the end; what is mapped by then stays.

    Raises NoPlaceError; LoadError for a file that changed since it was looked at.
    """
    folder, lock = _filled(files, where)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def remove_dead(where: Sequence[Place]) -> int:
    """Remove folders whose process died while it made a session; how many there were."""
    removed = 0
    for place in where:
        with contextlib.suppress(OSError), os.scandir(place.folder) as entries:
            names = [entry.name for entry in entries if entry.name.startswith(_PREFIX)]
            removed += sum(_remove_if_dead(place.folder / name) for name in names)
    return removed


def mapped_bytes() -> int:
    """Bytes of private copies that this process has mapped, each counted once. They are
    memory that its versions need, though the system counts them as files."""
    if not _MADE.is_set():
        return 0  # spares a look at all that is mapped
    try:
        text = _MAPS.read_bytes()  # file: the kernel's
    except OSError:
        return 0
    mark, ranges = b"/" + _PREFIX.encode(), set()
    for line in text.splitlines() if mark in text else ():
        if mark in line:
            span, _, offset, device, inode, _ = line.split(maxsplit=5)
            first, last = (int(address, 16) for address in span.split(b"-"))
            ranges.add((device, inode, offset, last - first))
    return sum(size for *_, size in ranges)


def send_bytes(source: int, start: int, target: int, to: int, size: int) -> None:
    """Copy ``size`` bytes at ``start`` of one descriptor to ``to`` in another, holes left
    out, without bringing them through this process. Raises OSError."""
    for first, end in _extents(source, start, start + size):
        os.lseek(target, to + first - start, os.SEEK_SET)
        at = first
        while at < end:
            sent = os.sendfile(target, source, at, min(end - at, _PIECE))
            if not sent:
                raise OSError(errno.ESTALE, "the file became shorter")
            at += sent


def _filled(files: Sequence[ExternalFile], where: Sequence[Place]) -> tuple[Path, int]:
    reasons = []
    for place in where:
        try:
            return _fill(files, place)
        except OSError as error:
            reasons.append(f"{place.name}: {os_words(error)}")
    raise NoPlaceError(errno.ENOSPC, "; ".join(reasons) or "there is no place for it")


def _fill(files: Sequence[ExternalFile], place: Place) -> tuple[Path, int]:
    """Raises OSError where this place does not take them, and leaves nothing then."""
    if place.is_ours:
        make_root(place.folder.parent)
        make_private(place.folder)
    remove_dead([place])
    _check_place(place.folder, sum(file.size for file in files))
    folder, lock = _made(place.folder)
    _MADE.set()
    try:
        for file in files:
            _copy(file, folder / file.path)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)
        raise
    return folder, lock


def _check_place(folder: Path, size: int) -> None:
    # A mapped page of another machine's disk may be gone when it is needed, which ends the process.
    if not is_local(folder):
        raise OSError(errno.ENOTSUP, "its disk is not a local one")
    facts = os.statvfs(folder)
    if facts.f_bavail * facts.f_frsize < size + _SPARE:
        raise OSError(errno.ENOSPC, "no space left on device")


def _made(parent: Path) -> tuple[Path, int]:
    """A new folder, and the lock on it that says that its maker lives."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        # Whoever cleans up may have taken it for a dead one's before it was locked.
        with contextlib.suppress(FileNotFoundError):
            lock = _opened(folder)
            if _is_locked(lock, or_unknown=True) and folder.exists():
                return folder, lock
            os.close(lock)


def _opened(folder: Path) -> int:
    return os.open(
        folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    )  # file: a folder


def _is_locked(folder: int, *, or_unknown: bool) -> bool:
    """Whether the lock is ours now; ``or_unknown`` where there are no locks."""
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return or_unknown
    return True


def _remove_if_dead(folder: Path) -> bool:
    try:
        lock = _opened(folder)
    except OSError:
        return False
    try:
        is_dead = os.fstat(lock).st_uid == os.geteuid() and _is_locked(lock, or_unknown=False)
        if is_dead:
            shutil.rmtree(folder, ignore_errors=True)
        return is_dead
    finally:
        os.close(lock)


def _copy(file: ExternalFile, target: Path) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with file.opened() as (source, start):
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        copy = os.open(target, flags, 0o400)  # file: made here
        try:
            if start or not _is_cloned(source, copy):
                os.ftruncate(copy, file.size)
                send_bytes(source, start, copy, 0, file.size)
        finally:
            os.close(copy)


def _is_cloned(source: int, copy: int) -> bool:
    """Whether the file system made them share their blocks."""
    try:
        fcntl.ioctl(copy, _FICLONE, source)
    except OSError:
        return False
    return True


def _extents(source: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Where the file has data, from ``start`` to ``end``."""
    at = start
    while at < end:
        try:
            at = os.lseek(source, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return  # a hole up to its end
            raise
        if at >= end:
            return
        hole = min(end, os.lseek(source, at, os.SEEK_HOLE))
        yield at, hole
        at = hole
