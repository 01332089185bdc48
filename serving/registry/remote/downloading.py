"""A version's files from elsewhere into a folder: sized, summed, synced, and resumed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from serving.registry.placing import sync_folder
from serving.registry.remote.listing import Listing, Remote, RemoteError, RemoteFile
from serving.user_files import open_file

# Nobody writes there again.
_MODE = 0o400
_PART = ".part"


def download(remote: Remote, listing: Listing, work: Path, check: Callable[[], None]) -> Listing:
    """Bring the files of ``listing`` into ``work/files``; the listing with the sums that they
    turned out to have. What an earlier call left there goes on from where that ended.

    ``check`` is called between pieces, and may raise. Raises RemoteError, OSError.
    """
    files = work / "files"
    files.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = {}
    for path, file in sorted(listing.items()):
        place = files / path
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        digest = _kept(place, path, file) or _brought(remote, path, file, place, work, check)
        found[path] = RemoteFile(file.size, digest)
    for folder in sorted({(files / path).parent for path in found}, reverse=True):
        sync_folder(folder)
    _remove_others(files, found)
    return found


def sum_of(place: Path) -> str:
    """The SHA-256 of a file of ours. Raises OSError."""
    with open_file(place, follow=False) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _kept(place: Path, path: str, file: RemoteFile) -> str:
    """The sum of a file that is there whole already, "" where it is not."""
    with contextlib.suppress(FileNotFoundError):
        if place.stat().st_size == file.size:
            digest = sum_of(place)
            if digest == (file.sha256 or digest):
                return digest
        place.unlink()
    return ""


def _brought(
    remote: Remote,
    path: str,
    file: RemoteFile,
    place: Path,
    work: Path,
    check: Callable[[], None],
) -> str:
    part = work / (hashlib.sha256(path.encode()).hexdigest()[:16] + _PART)
    digest, odd = _read(remote, path, file, part, check)
    if odd:
        # Not every store makes it of contents; what comes twice the same is what is there.
        again, _ = _read(remote, path, file, part, check)
        if again != digest:
            part.unlink()
            raise RemoteError(f"{path} is not what it should be: its checksum is another one")
    if file.sha256 and digest != file.sha256:
        part.unlink()
        raise RemoteError(f"{path} is not what it should be: its SHA-256 is another one")
    part.chmod(_MODE)
    part.rename(place)
    return digest


def _read(
    remote: Remote, path: str, file: RemoteFile, part: Path, check: Callable[[], None]
) -> tuple[str, bool]:
    """The SHA-256, and whether the MD5 is another one."""
    start = _begun(part, file)
    digest, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with part.open("r+b" if start else "wb") as written:  # file: one of ours, written
        while start and (piece := written.read(1 << 20)):
            digest.update(piece)
        size = start
        for piece in remote.pieces(path, file, start):
            check()
            size += len(piece)
            if size > file.size:
                break
            written.write(piece)
            digest.update(piece)
            md5.update(piece)
        written.flush()
        os.fsync(written.fileno())
    if size != file.size:
        part.unlink()
        more = "more" if size > file.size else f"{size}"
        raise RemoteError(f"{path} came with {more} bytes in place of {file.size}")
    return digest.hexdigest(), bool(file.md5 and md5.hexdigest() != file.md5)


def _begun(part: Path, file: RemoteFile) -> int:
    """The bytes that are there already; none where no sum would tell that they are right."""
    with contextlib.suppress(FileNotFoundError):
        size = part.stat().st_size
        if file.sha256 and size < file.size:
            return size
    return 0


def _remove_others(files: Path, listing: Listing) -> None:
    """What another listing once left there is no part of this version."""
    for folder, _, names in os.walk(files):
        for name in names:
            place = Path(folder) / name
            if place.relative_to(files).as_posix() not in listing:
                place.unlink()


def words_of(error: OSError) -> str:
    """Why files could not be kept here, in words without a path."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "there is no space left for its files"
    return f"its files could not be kept here: {(error.strerror or 'error').lower()}"
