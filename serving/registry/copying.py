"""What a version is made of, and copying it: every byte read once, summed and synced."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from io import BufferedReader
from pathlib import Path

from serving.registry.manifest import MANIFEST_NAME, FileEntry, safe_path
from serving.registry.placing import sync_folder
from serving.registry.tree import MAX_DEPTH, MAX_FILES
from serving.user_files import NotRegularError, open_file

_CHUNK = 1024 * 1024

# Bytes copied so far, and of how many.
Progress = Callable[[int, int], None]


class PublishError(Exception):
    """A version that was not published, in words for whoever publishes. Nothing is left."""


def files_below(folder: Path) -> dict[str, Path]:
    """Relative path -> file, of everything in a folder but a manifest of its own.

    Links to files count as the files; raises PublishError for what can't be copied as it is,
    and OSError.
    """
    found = dict(_walk(folder, "", 1))
    found.pop(MANIFEST_NAME, None)
    if len(found) > MAX_FILES - 1:
        raise PublishError(f"it holds more than {MAX_FILES - 1} files")
    return found


def _walk(folder: Path, prefix: str, depth: int) -> Iterator[tuple[str, Path]]:
    for entry in sorted(folder.iterdir()):
        name = prefix + entry.name
        if entry.is_dir():
            if entry.is_symlink():
                raise PublishError(f"{name} is a link to a folder: copy what it leads to")
            if depth == MAX_DEPTH:
                raise PublishError(f"its folders are nested more than {MAX_DEPTH} deep")
            yield from _walk(entry, f"{name}/", depth + 1)
        elif not entry.is_file():
            raise PublishError(f"{name} is not a regular file")
        else:
            yield name, entry


def copy_files(files: Mapping[str, Path], target: Path, progress: Progress) -> dict[str, FileEntry]:
    """Copy ``files`` (relative path -> where it lies) into the folder ``target``; what each
    of them holds. All are on the disk when this returns, their folders included.

    Raises PublishError where a file changes meanwhile, OSError where one can't be read or
    written.
    """
    total = sum(path.stat().st_size for path in files.values())
    done = 0
    entries = {}
    for name, path in sorted(files.items()):
        copy = target / safe_path(name)
        copy.parent.mkdir(parents=True, exist_ok=True)
        for entry in _copy(name, path, copy):
            progress(done + entry.size, total)
        done += entry.size
        entries[name] = entry
    for folder in sorted({(target / name).parent for name in entries}, reverse=True):
        sync_folder(folder)
    return entries


def write_synced(path: Path, text: str) -> None:
    """Replace the file's contents, and wait until they are on the disk."""
    with path.open("w", encoding="utf-8") as file:  # file: one of ours, written
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _opened(name: str, source: Path) -> BufferedReader:
    try:
        return open_file(source)
    except NotRegularError:
        raise PublishError(f"{name} is not a regular file") from None


def _copy(name: str, source: Path, target: Path) -> Iterator[FileEntry]:
    """After each piece what was copied so far; the last one has the sum."""
    digest, size = hashlib.sha256(), 0
    with _opened(name, source) as read, target.open("xb") as written:  # file: a new one of ours
        before = os.fstat(read.fileno())
        while piece := read.read(_CHUNK):
            written.write(piece)
            digest.update(piece)
            size += len(piece)
            yield FileEntry(size, "")
        written.flush()
        os.fsync(written.fileno())
        after = os.fstat(read.fileno())
        if (before.st_size, before.st_mtime_ns) != (size, after.st_mtime_ns):
            raise PublishError(f"{name} changed while it was copied: publish it again")
    yield FileEntry(size, digest.hexdigest())
