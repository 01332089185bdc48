"""A version's files, read once: what happens to them later changes nothing (fault 9).

External data is opened component by component below the model's folder, never through a
link, so no model file can name data that is not its own (fault 8).
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from serving import machine
from serving.errors import LoadError
from serving.execution import onnx_file
from serving.execution.missing_file import words_for_missing
from serving.execution.onnx_file import ExternalData, NotOnnxError, OnnxFile

# The limit of the protobuf format itself.
_MAX_MODEL_BYTES = 2**31 - 1
_KEYS = frozenset({"location", "offset", "length", "checksum"})
# How onnxruntime marks, in a location, weights that are an address in memory. Such an
# entry in a file would have it read wherever the file says.
_MEMORY_MARK = "_ORT_MEM_ADDR_"

# The domains that onnxruntime has operators for, without libraries of others (fault 12).
_KNOWN_DOMAINS = frozenset(
    {
        "",
        "ai.onnx",
        "ai.onnx.ml",
        "ai.onnx.preview",
        "ai.onnx.preview.training",
        "ai.onnx.training",
        "com.microsoft",
        "com.microsoft.experimental",
        "com.microsoft.nchwc",
        "com.ms.internal.nhwc",
        "org.pytorch.aten",
    }
)


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """``model``: the serialized ModelProto. ``external``: location as the model writes it ->
    the whole file. ``unshaped_inputs``: graph inputs without a stated rank."""

    model: bytes
    external: Mapping[str, bytes]
    unshaped_inputs: frozenset[str]


# More than any model has; what counts is never to walk a whole disk.
_MOST_FILES = 10_000


def file_bytes(version_dir: Path, filename: str) -> int:
    """Bytes of the model file and of all beside it that may be its external data, by their
    stated sizes, unread; 0 for what is not there. Other models beside it do not count."""
    path = version_dir / filename
    if path.is_dir():
        path = path / "model.onnx"
    try:
        size = path.stat().st_size
    except OSError:
        return 0
    beside = itertools.islice(_walk_folder(path.parent), _MOST_FILES)
    return size + sum(bytes_ for name, bytes_ in beside if not name.endswith(_NOT_DATA))


# What lies beside a model and is not its weights.
_NOT_DATA = (".onnx", ".ort", ".npz", ".npy", ".json", ".yaml", ".yml", ".txt", ".md", ".pbtxt")


def _walk_folder(folder: Path) -> Iterator[tuple[str, int]]:
    """(name, bytes) of every file below; links are not followed."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield from _walk_folder(Path(entry.path))
                elif entry.is_file(follow_symlinks=False):
                    yield entry.name, entry.stat(follow_symlinks=False).st_size
    except OSError:
        # Whatever cannot be looked at shows itself when it is read.
        return


def read_files(version_dir: Path, filename: str) -> ModelFiles:
    """Read ``<version_dir>/<filename>``: a model file, or a folder that holds ``model.onnx``
    and its external data.

    Raises LoadError with the reason: no such file, not ONNX, external data that is not the
    model's own, an operator domain that nobody knows; what disk or memory refused is caused
    by its OSError or MemoryError.
    """
    try:
        return _read(version_dir, filename)
    except OSError as error:
        words = f"the model's files cannot be read: {_os_words(error)}"
        raise LoadError(words, str(error)) from error
    except MemoryError as error:
        raise LoadError("there is not enough memory for the model's files") from error


def _read(version_dir: Path, filename: str) -> ModelFiles:
    path = version_dir / filename
    if path.is_dir():
        path = path / "model.onnx"
    model = _read_model(version_dir, path)
    found = _walk(model)
    _check_domains(found)
    return ModelFiles(
        model, _read_external(path.parent, found.external), frozenset(found.unshaped_inputs)
    )


def _read_model(version_dir: Path, path: Path) -> bytes:
    name = path.relative_to(version_dir).as_posix()
    try:
        resolved = path.resolve(strict=True)
        if not resolved.is_relative_to(version_dir.resolve()):
            raise LoadError(f"{name} is a link that leaves the version's folder")
        return _read_whole(resolved, name)
    except FileNotFoundError:
        raise LoadError(words_for_missing(version_dir, name)) from None
    except (OSError, RuntimeError) as error:
        raise LoadError(f"{name} cannot be read: {_os_words(error)}", str(error)) from error


def _read_whole(resolved: Path, name: str) -> bytes:
    """The file as it is when it is opened. A hard link is one of the ways to publish, and no
    way out: whoever can make one in this folder could as well have put a model there."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    with os.fdopen(os.open(resolved, flags), "rb") as stream:
        facts = os.fstat(stream.fileno())
        if not stat.S_ISREG(facts.st_mode):
            raise LoadError(f"{name} is not a file")
        if facts.st_size > _MAX_MODEL_BYTES:
            raise LoadError(
                f"{name} has {facts.st_size} bytes, at most {_MAX_MODEL_BYTES} are possible:"
                " save the weights as external data"
            )
        return stream.read(facts.st_size)


def _walk(model: bytes) -> OnnxFile:
    if not model:
        raise LoadError("the model file is empty")
    try:
        found = onnx_file.read(model)
    except NotOnnxError as error:
        raise LoadError(f"the model file is corrupt or truncated: it {error}") from None
    if not found.has_graph:
        raise LoadError("the model file is corrupt or not ONNX: it holds no graph")
    return found


def _check_domains(found: OnnxFile) -> None:
    unknown = sorted(found.domains - _KNOWN_DOMAINS - found.function_domains)
    if unknown:
        raise LoadError(
            f"the model uses operators of the custom domain '{unknown[0]}', which is not known"
            " here; libraries with custom operators are not loaded"
        )


def _read_external(folder: Path, references: list[ExternalData]) -> dict[str, bytes]:
    """Location -> contents, every reference checked first."""
    if not references:
        return {}
    files: dict[str, bytes] = {}
    budget = machine.usable_memory()
    root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for reference in references:
            location, offset, length = _entry(reference)
            if location not in files:
                files[location] = _read_below(root, location, reference.tensor, budget)
                budget -= len(files[location])
            _check_range(reference.tensor, offset, length, len(files[location]))
    finally:
        os.close(root)
    return files


def _entry(reference: ExternalData) -> tuple[str, int, int | None]:
    """(location, offset, length) of one reference, refusing what has no meaning (fault 10)."""
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
    return location, offset, length


def _number(who: str, key: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise LoadError(f"{who}: {key} is not a number of bytes")
    return int(text)


def _check_range(tensor: str, offset: int, length: int | None, size: int) -> None:
    if offset + (length or 0) > size:
        asked = f"{length} bytes at {offset}" if length is not None else f"what is at {offset}"
        raise LoadError(
            f"external data of '{tensor}' refers to {asked}, but its file has {size} bytes"
        )


def _read_below(root: int, location: str, tensor: str, budget: int) -> bytes:
    """The file at ``location`` below the folder open as ``root``; no link is followed."""
    who = f"external data of '{tensor}'"
    if location.startswith("/") or "\\" in location or "\0" in location:
        raise LoadError(f"{who} is given by an absolute or malformed location")
    parts = [part for part in location.split("/") if part not in ("", ".")]
    if ".." in parts or _MEMORY_MARK in parts:
        raise LoadError(f"{who} lies outside the model's folder")
    if not parts:
        raise LoadError(f"{who} names no file")
    file = _open_below(root, parts, who)
    try:
        facts = os.fstat(file)
        if not stat.S_ISREG(facts.st_mode):
            raise LoadError(f"{who} is not a regular file")
        if facts.st_nlink > 1:
            raise LoadError(f"{who} is a hard link: it may be somebody else's file")
        if facts.st_size > budget:
            raise LoadError(f"{who} has {facts.st_size} bytes, more than the memory there is")
        with os.fdopen(file, "rb", closefd=False) as stream:
            return stream.read(facts.st_size)
    finally:
        os.close(file)


def _open_below(root: int, parts: list[str], who: str) -> int:
    """A descriptor of the last part. Closes those it opened on the way."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    current = os.dup(root)
    try:
        for part in parts:
            below = os.open(part, flags, dir_fd=current)
            os.close(current)
            current = below
        return current
    except OSError as error:
        os.close(current)
        if error.errno == errno.ELOOP:
            raise LoadError(f"{who} is a symbolic link or lies behind one", str(error)) from None
        raise LoadError(f"{who} cannot be read: {_os_words(error)}", str(error)) from error


def _os_words(error: Exception) -> str:
    """The system's words without the path that ``str`` would add."""
    return (getattr(error, "strerror", None) or type(error).__name__).lower()
