"""A version's files: looked at, and its model read, before onnxruntime sees any of them.

What happens to them later changes nothing (fault 9): the model goes to onnxruntime as bytes,
its external data as a private copy (``private_copy``).
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from serving.errors import LoadError, Retry
from serving.execution import onnx_file
from serving.execution.external_data import (
    NOT_DATA,
    ExternalFile,
    find_files,
    open_folder,
    os_words,
    walk_folder,
)
from serving.execution.missing_file import words_for_missing
from serving.execution.onnx_file import MOST_BYTES, NotOnnxError, OnnxFile
from serving.user_files import NotRegularError, TooLargeError, read_file

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
    """``model``: the serialized ModelProto. ``external``: the files with its external data.
    ``unshaped_inputs``: graph inputs without a stated rank."""

    model: bytes
    external: tuple[ExternalFile, ...]
    unshaped_inputs: frozenset[str]

    def fingerprint(self) -> str:
        """Two of the same are the same files: the model by its bytes, the others, which are not
        read for this, by what the file system says of them."""
        digest = hashlib.blake2b(self.model, digest_size=16)
        digest.update(repr([(one.path, one.identity) for one in self.external]).encode())
        return digest.hexdigest()


# More than any model has; what counts is never to walk a whole disk.
_MOST_FILES = 10_000


def file_bytes(version_dir: Path, filename: str) -> int:
    """Bytes of the model file and of all beside it that may be its external data, by their
    stated sizes, unread; 0 for what is not there. Other models beside it do not count."""
    path = _model_path(version_dir, filename)
    try:
        size = path.stat().st_size
        folder = open_folder(path.parent)
    except OSError:
        return 0
    try:
        beside = itertools.islice(walk_folder(folder), _MOST_FILES)
        return size + sum(bytes_ for name, bytes_ in beside if not name.endswith(NOT_DATA))
    finally:
        os.close(folder)


def _model_path(version_dir: Path, filename: str) -> Path:
    path = version_dir / filename
    return path / "model.onnx" if path.is_dir() else path


@contextmanager
def open_files(version_dir: Path, filename: str) -> Iterator[ModelFiles]:
    """The files of ``<version_dir>/<filename>``, a model file, or a folder that holds
    ``model.onnx`` and its external data. The latter can be opened until the context ends.

    Raises LoadError with the reason: no such file, not ONNX, external data that is not the
    model's own, an operator domain that nobody knows; what disk or memory refused is to be
    tried later.
    """
    path = _model_path(version_dir, filename)
    model, found = _checked_model(version_dir, path)
    with _opened(path.parent) as root:
        external = find_files(root, found.external, path.name)
        yield ModelFiles(model, external, frozenset(found.unshaped_inputs))


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    try:
        root = open_folder(folder)
    except OSError as error:
        words = f"the model's files cannot be read: {os_words(error)}"
        raise LoadError.after(error, words, str(error)) from error
    try:
        yield root
    finally:
        os.close(root)


def _checked_model(version_dir: Path, path: Path) -> tuple[bytes, OnnxFile]:
    try:
        model = _read_model(version_dir, path)
        found = _walk(model)
    except MemoryError as error:
        words = "there is not enough memory for the model's files"
        raise LoadError.after(error, words) from error
    _check_domains(found)
    return model, found


def _read_model(version_dir: Path, path: Path) -> bytes:
    name = path.relative_to(version_dir).as_posix()
    try:
        if path.parent == version_dir and not path.is_symlink():
            return _read_whole(path, name)  # and should it be a link by then, it is not followed
        resolved = path.resolve(strict=True)
        if not resolved.is_relative_to(version_dir.resolve()):
            raise LoadError(f"{name} is a link that leaves the version's folder")
        return _read_whole(resolved, name)
    except FileNotFoundError:
        words = words_for_missing(version_dir, name)
        raise LoadError(words, retry=Retry.ON_CHANGE) from None
    except (OSError, RuntimeError) as error:
        words = f"{name} cannot be read: {os_words(error)}"
        raise LoadError.after(error, words, str(error)) from error


def _read_whole(resolved: Path, name: str) -> bytes:
    """The file as it is when it is opened. A hard link is one of the ways to publish, and no
    way out: whoever can make one in this folder could as well have put a model there."""
    try:
        return read_file(resolved, MOST_BYTES, follow=False)
    except NotRegularError:
        raise LoadError(f"{name} is not a file") from None
    except TooLargeError as error:
        raise LoadError(
            f"{name} has {error.size} bytes, at most {MOST_BYTES} are possible:"
            " save the weights as external data"
        ) from None


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
