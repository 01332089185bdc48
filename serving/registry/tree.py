"""A folder's files as rows of facts, without reading one: what the system says of each."""

from __future__ import annotations

import hashlib
import itertools
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from serving.user_files import NotRegularError, open_file

MAX_DEPTH = 4
MAX_FILES = 10_000

# Relative path, mode, size, mtime, ctime (both ns), inode.
Row = tuple[str, int, int, int, int, int]
Rows = tuple[Row, ...]


class UnfitError(Exception):
    """A tree that will not do, and why."""


def list_entries(directory: str) -> list[os.DirEntry[str]]:
    """By name. Raises OSError."""
    with os.scandir(directory) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def read_tree(directory: str) -> Rows:
    """The directory itself, first, and everything below it.

    Raises OSError, and UnfitError when it is too deep or too many.
    """
    rows = [row("", Path(directory).lstat())]
    walk(directory, "", 1, rows)
    rows.sort()
    return tuple(rows)


def read_part(directory: str, leave_out: Callable[[str], bool]) -> Rows:
    """As ``read_tree``, without the entries that are not a part of the version; of the
    directory only that it is the same one."""
    found = Path(directory).stat()
    rows: list[Row] = [("", found.st_mode, 0, 0, 0, found.st_ino)]
    for entry in list_entries(directory):
        if leave_out(entry.name):
            continue
        add(rows, entry.name, entry)
        if entry.is_dir(follow_symlinks=False):
            walk(entry.path, f"{entry.name}/", 2, rows)
    rows.sort()
    return tuple(rows)


def outline(directory: str, depth: int, most: int) -> tuple[str, ...]:
    """Relative paths of what lies in it, those of folders with a slash at the end: ``depth``
    levels at most, and the first ``most`` entries, the upper levels first. No link is followed;
    what can't be printed in a name is a question mark.

    Raises OSError where the directory itself can't be listed; what can't be below is left out.
    """
    found: list[str] = []
    level = [""]
    for _ in range(depth):
        below: list[str] = []
        for prefix in level:
            try:
                entries = _some_entries(Path(directory, prefix), most - len(found))
            except OSError:
                if not prefix:
                    raise
                continue
            found += [prefix + name for name in entries]
            below += [prefix + name for name in entries if name.endswith("/")]
        level = below
    return tuple(sorted(found))


def _some_entries(directory: Path, most: int) -> list[str]:
    with os.scandir(directory) as entries:
        few = list(itertools.islice(entries, most))
    return [shown(e.name) + ("/" if e.is_dir(follow_symlinks=False) else "") for e in few]


def shown(name: str) -> str:
    """The name as a message may carry it."""
    return "".join(c if c.isprintable() else "?" for c in name)


def walk(directory: str, prefix: str, depth: int, rows: list[Row]) -> None:
    with os.scandir(directory) as entries:
        for entry in entries:
            name = prefix + entry.name
            add(rows, name, entry)
            if len(rows) > MAX_FILES:
                raise UnfitError(f"it holds more than {MAX_FILES} files")
            if entry.is_dir(follow_symlinks=False):
                if depth == MAX_DEPTH:
                    raise UnfitError(f"its folders are nested more than {MAX_DEPTH} deep")
                walk(entry.path, f"{name}/", depth + 1, rows)


def add(rows: list[Row], name: str, entry: os.DirEntry[str]) -> None:
    """The entry's own row; for a symbolic link also its target's, which may change alone."""
    try:
        rows.append(row(name, entry.stat(follow_symlinks=False)))
        if entry.is_symlink():
            rows.append(row(f"{name}@", entry.stat()))
    except FileNotFoundError:
        # Deleted while we looked (or a dangling link): its absence shows in the rows.
        return


def row(name: str, found: os.stat_result) -> Row:
    return (
        name,
        found.st_mode,
        found.st_size,
        found.st_mtime_ns,
        found.st_ctime_ns,
        found.st_ino,
    )


def digest(rows: Rows) -> str:
    return hashlib.blake2b(repr(rows).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def contents(folder: Path, names: Iterable[str]) -> str:
    """Of files that lie below it, by their relative paths. Raises OSError."""
    whole = hashlib.blake2b(digest_size=16)
    for name in sorted(names):
        with open_file(folder / name) as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        whole.update(f"{name}\0{found}\n".encode("utf-8", "surrogatepass"))
    return whole.hexdigest()


def file_sizes(rows: Rows) -> dict[str, int]:
    """Relative path -> bytes, of regular files and of links to such."""
    links = {f"{r[0]}@": r[0] for r in rows if stat.S_ISLNK(r[1])}
    return {links.get(r[0], r[0]): r[2] for r in rows if stat.S_ISREG(r[1])}


def has_content(rows: Rows) -> bool:
    """Whether there is a file that is not hidden: hidden ones are temporary files of copying
    tools."""
    return any(_is_content(r) for r in rows)


def _is_content(found: Row) -> bool:
    name = found[0].rpartition("/")[2]
    return bool(name) and not name.startswith(".") and not stat.S_ISDIR(found[1])


def is_directory(entry: os.DirEntry[str]) -> bool:
    """Whether it is a directory or a link to one."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def words(error: OSError) -> str:
    """Without the path that the error's own text has."""
    if isinstance(error, FileNotFoundError):
        return "does not exist"
    if isinstance(error, NotADirectoryError):
        return "is not a directory"
    if isinstance(error, PermissionError):
        return "may not be read (permission denied)"
    if isinstance(error, NotRegularError):
        return "is not a regular file"
    return f"cannot be read ({os.strerror(error.errno) if error.errno else 'I/O error'})"
