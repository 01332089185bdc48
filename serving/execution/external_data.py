"""A model's external data: the files it names, opened so that none is anybody else's.

Every file is opened component by component below the model's folder, never through a link, so
no model can name data that is not its own (fault 8), and is looked at before it is read: what
is too large, not a regular file or odd is refused in words (fault 10).
"""

from __future__ import annotations

import difflib
import errno
import itertools
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial

from serving import machine
from serving.errors import LoadError, Retry
from serving.execution.onnx_file import ExternalData

_KEYS = frozenset({"location", "offset", "length", "checksum"})
# How onnxruntime marks, in a location, weights that are an address in memory. Such an entry
# in a file would have it read wherever the file says.
_MEMORY_MARK = "_ORT_"
# onnxruntime takes no larger tensor from a file that it is given in memory.
_MOST_IN_MEMORY = 2**31 - 1
_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR})
# Names of files in an error: how many, of how many letters, among how many.
_NAMES, _LETTERS, _LOOKED_AT = 3, 100, 1000
# What lies beside a model and is not its weights.
NOT_DATA = (".onnx", ".ort", ".npz", ".npy", ".json", ".yaml", ".yml", ".txt", ".md", ".pbtxt")


@dataclass(frozen=True, slots=True)
class ExternalFile:
    """One file with external data.

    ``path``: below the model's folder, in plain parts. ``spellings``: how the model writes it.
    ``size``: bytes. ``in_memory``: whether onnxruntime takes it from memory, too. ``opened``:
    a context with a descriptor and where in it the file's bytes begin; it raises LoadError
    where the file is another one by then, or has changed when it ends. ``identity``: by which
    it is known to be the same.
    """

    path: str
    spellings: frozenset[str]
    size: int
    in_memory: bool
    opened: Callable[[], AbstractContextManager[tuple[int, int]]]
    identity: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class _Entry:
    """What one tensor says of its data. ``who``: the tensor, for errors."""

    who: str
    location: str
    offset: int
    length: int | None


def find_files(
    root: int, references: Iterable[ExternalData], model_name: str
) -> tuple[ExternalFile, ...]:
    """The files that ``references`` name below the folder open as ``root``, all of them
    checked and none read yet. They can be opened while ``root`` is.

    Raises LoadError; what the disk refused is to be tried later.
    """
    files: dict[str, ExternalFile] = {}
    if not (references := list(references)):
        return ()
    budget = machine.usable_memory()
    for reference in references:
        entry = _entry(reference)
        path = "/".join(_parts(entry))
        if path not in files:
            files[path] = _look(root, path, entry, model_name)
            budget -= files[path].size
            if budget < 0:
                size = files[path].size
                raise LoadError(f"{entry.who} has {size} bytes, more than the memory there is")
        files[path] = _used(files[path], entry, reference.is_initializer)
    return tuple(files.values())


def read_file(file: ExternalFile) -> bytes:
    """Its bytes. Raises LoadError, also where there is no memory for them."""
    try:
        with file.opened() as (source, start), os.fdopen(os.dup(source), "rb") as stream:
            stream.seek(start)
            return stream.read(file.size)
    except OSError as error:
        words = f"the model's files cannot be read: {os_words(error)}"
        raise LoadError.after(error, words, str(error)) from error
    except MemoryError as error:
        words = "there is not enough memory for the model's files"
        raise LoadError.after(error, words) from error


def missing(location: str, model_name: str, there: Iterable[str]) -> str:
    """That a model lacks a file, with what lies there instead (relative names)."""
    looked_at = itertools.islice(there, _LOOKED_AT)
    names = sorted(name for name in looked_at if not name.endswith(NOT_DATA))
    near = difflib.get_close_matches(location, names, _NAMES) or names[:_NAMES]
    more = f" and {len(names) - len(near)} more" if len(names) > len(near) else ""
    found = ", ".join(map(_printable, near)) if near else "no such file"
    return f"it needs {_printable(location)} beside {model_name}; there is {found}{more}"


def walk_folder(folder: int, prefix: str = "") -> Iterator[tuple[str, int]]:
    """(relative name, bytes) of every file below the folder open as ``folder``; links are not
    followed."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = prefix + entry.name
                if entry.is_dir(follow_symlinks=False):
                    yield from _walk_below(folder, entry.name, f"{name}/")
                elif entry.is_file(follow_symlinks=False):
                    yield name, entry.stat(follow_symlinks=False).st_size
    except OSError:
        # Whatever cannot be looked at shows itself when it is read.
        return


def _walk_below(folder: int, name: str, prefix: str) -> Iterator[tuple[str, int]]:
    below = open_folder(name, folder)
    try:
        yield from walk_folder(below, prefix)
    finally:
        os.close(below)


def open_folder(path: str | os.PathLike[str], dir_fd: int | None = None) -> int:
    """A descriptor of the folder; below ``dir_fd`` no link is followed. Raises OSError."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    return os.open(
        path, flags if dir_fd is None else flags | os.O_NOFOLLOW, dir_fd=dir_fd
    )  # file: a folder


def os_words(error: Exception) -> str:
    """The system's words without the path that ``str`` would add."""
    return (getattr(error, "strerror", None) or type(error).__name__).lower()


def _printable(name: str) -> str:
    shown = "".join(letter if letter.isprintable() else "?" for letter in name)
    return shown if len(shown) <= _LETTERS else shown[:_LETTERS] + "..."


def _entry(reference: ExternalData) -> _Entry:
    """What one reference says, refusing what has no meaning (fault 10)."""
    who = f"external data of '{reference.tensor}'"
    entries = dict(reference.entries)
    if len(entries) != len(reference.entries):
        raise LoadError(f"{who} gives a key twice")
    unknown = sorted(set(entries) - _KEYS)
    if unknown:
        raise LoadError(f"{who} has the unknown key '{unknown[0][:64]}'")
    location = entries.get("location", "")
    if not location:
        raise LoadError(f"{who} names no file")
    offset = _number(who, "offset", entries.get("offset", "0"))
    length = _number(who, "length", entries["length"]) if "length" in entries else None
    return _Entry(who, location, offset, length)


def _number(who: str, key: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise LoadError(f"{who}: {key} is not a number of bytes")
    return int(text)


def _parts(entry: _Entry) -> list[str]:
    location = entry.location
    if location.startswith("/") or "\\" in location or "\0" in location:
        raise LoadError(f"{entry.who} is given by an absolute or malformed location")
    parts = [part for part in location.split("/") if part not in ("", ".")]
    if ".." in parts or any(part.startswith(_MEMORY_MARK) for part in parts):
        raise LoadError(f"{entry.who} lies outside the model's folder")
    if not parts:
        raise LoadError(f"{entry.who} names no file")
    return parts


def _look(root: int, path: str, entry: _Entry, model_name: str) -> ExternalFile:
    """The file as it is now, not used by any tensor yet."""
    file = _open_below(root, path.split("/"), entry, model_name)
    try:
        facts = os.fstat(file)
    finally:
        os.close(file)
    if not stat.S_ISREG(facts.st_mode):
        raise LoadError(f"{entry.who} is not a regular file")
    if facts.st_nlink > 1:
        raise LoadError(f"{entry.who} is a hard link: it may be somebody else's file")
    identity = _identity(facts)
    opened = partial(_opened, root, path, entry, model_name, identity)
    return ExternalFile(path, frozenset(), facts.st_size, True, opened, identity)


def _used(file: ExternalFile, entry: _Entry, is_initializer: bool) -> ExternalFile:
    """The file with one more tensor in it."""
    if entry.offset + (entry.length or 0) > file.size:
        length, offset = entry.length, entry.offset
        asked = f"{length} bytes at {offset}" if length is not None else f"what is at {offset}"
        raise LoadError(f"{entry.who} refers to {asked}, but its file has {file.size} bytes")
    bytes_ = file.size - entry.offset if entry.length is None else entry.length
    return replace(
        file,
        spellings=file.spellings | {entry.location},
        in_memory=file.in_memory and is_initializer and bytes_ <= _MOST_IN_MEMORY,
    )


@contextmanager
def _opened(
    root: int, path: str, entry: _Entry, model_name: str, identity: tuple[int, ...]
) -> Iterator[tuple[int, int]]:
    file = _open_below(root, path.split("/"), entry, model_name)
    try:
        _check_same(file, entry, identity)
        yield file, 0
        _check_same(file, entry, identity)
    finally:
        os.close(file)


def _identity(facts: os.stat_result) -> tuple[int, ...]:
    return (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_nlink)


def _check_same(file: int, entry: _Entry, identity: tuple[int, ...]) -> None:
    if _identity(os.fstat(file)) != identity:
        raise LoadError(f"{entry.who} changed while it was read", retry=Retry.LATER)


def _open_below(root: int, parts: list[str], entry: _Entry, model_name: str) -> int:
    """A descriptor of the last part. Closes those it opened on the way."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    current = os.dup(root)
    try:
        for part in parts:
            below = os.open(part, flags, dir_fd=current)  # file: looked at before it is read
            os.close(current)
            current = below
        return current
    except OSError as error:
        os.close(current)
        if error.errno == errno.ELOOP:
            words = f"{entry.who} is a symbolic link or lies behind one"
            raise LoadError(words, str(error)) from None
        raise _unreadable(error, root, entry, model_name) from error


def _unreadable(error: OSError, root: int, entry: _Entry, model_name: str) -> LoadError:
    if error.errno in _NOT_THERE:
        there = (name for name, _ in walk_folder(root) if name != model_name)
        words = missing(entry.location, model_name, there)
        return LoadError(words, str(error), Retry.ON_CHANGE)
    words = f"{entry.who} cannot be read: {os_words(error)}"
    return LoadError.after(error, words, str(error))
