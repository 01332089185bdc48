"""The list of a version's files with their checksums, and where the version comes from.

It lies in the version's folder as ``serving_manifest.json``, written by ``serving publish``.
Whoever can write there can write anything into it, so it is read strictly and within bounds.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from serving.errors import LoadError
from serving.registry.names import MAX_VERSION, why_no_model
from serving.registry.tree import MAX_DEPTH, MAX_FILES, words
from serving.user_files import TooLargeError, open_file, read_file

MANIFEST_NAME = "serving_manifest.json"
FORMAT = 1
MAX_BYTES = 4 * 1024 * 1024
MAX_ENTRIES = 1000
MAX_KEY = 256
MAX_TEXT = 4096
MAX_SAMPLES = 100
_MAX_PATH = 1024
_MAX_SIZE = 2**63 - 1
_ORIGINS = ("git_commit", "mlflow_run_id", "mlflow_model_id")
_REQUIRED = frozenset({"format", "model", "version", "created", "files"})
_OPTIONAL = frozenset({"trained_by", "metadata", "metrics", "samples"})


class ManifestError(LoadError):
    """A manifest that cannot be used, or files that are not what it says."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """``size`` in bytes; ``sha256`` as 64 hexadecimal digits."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """``files``: path relative to the version's folder -> what it holds. ``samples``: those of
    them that are inputs to warm up with. ``created``: UTC, ISO 8601. Origins are "" where
    nobody said."""

    model: str
    version: int
    created: str
    files: Mapping[str, FileEntry]
    git_commit: str = ""
    run_id: str = ""
    model_id: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    samples: tuple[str, ...] = ()

    def differs(self, sizes: Mapping[str, int]) -> str:
        """How files of these sizes (path -> bytes) are not the ones listed, in words; ""
        where they are. Others than those listed don't count."""
        for name, entry in self.files.items():
            size = sizes.get(name)
            if size is None:
                return f"{name}, which its manifest lists, is not there"
            if size != entry.size:
                return f"{name} has {size} bytes, and its manifest lists {entry.size}"
        return ""

    def to_json(self) -> str:
        origins = (self.git_commit, self.run_id, self.model_id)
        document = {
            "format": FORMAT,
            "model": self.model,
            "version": self.version,
            "created": self.created,
            "files": {
                name: {"size": entry.size, "sha256": entry.sha256}
                for name, entry in sorted(self.files.items())
            },
            "trained_by": {k: v for k, v in zip(_ORIGINS, origins, strict=True) if v},
            "metadata": dict(self.metadata),
            "metrics": dict(self.metrics),
            "samples": list(self.samples),
        }
        return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def read_manifest(version_dir: Path) -> Manifest | None:
    """The manifest in a version's folder; None where there is none.

    Raises ManifestError for one that cannot be read or is wrong.
    """
    try:
        text = _read(version_dir / MANIFEST_NAME)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ManifestError.after(error, f"its manifest {words(error)}", str(error)) from None
    return parse_manifest(text)


def parse_manifest(text: bytes) -> Manifest:
    """Raises ManifestError, in words, for anything but a manifest of this format."""
    try:
        document = json.loads(text, object_pairs_hook=_no_twins, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"its manifest is not JSON, or not whole: {error}"[:300]) from None
    return _manifest(document)


def verify(version_dir: Path, manifest: Manifest) -> None:
    """Read every file that the manifest lists and compare size and SHA-256.

    Raises ManifestError, naming the first file that differs; to be tried later where the disk
    refused. Reading takes as long as the disk does, without the GIL.
    """
    root = version_dir.resolve()
    for name, entry in manifest.files.items():
        try:
            found = _digest(root, name, entry.size)
        except OSError as error:
            what = f"{name}, which its manifest lists, {words(error)}"
            raise ManifestError.after(error, what) from error
        if found != entry.sha256:
            raise ManifestError(f"{name} is corrupt: its SHA-256 is not that of its manifest")


def safe_path(name: object) -> str:
    """A relative path as a manifest may hold it. Raises ManifestError for any other."""
    if not isinstance(name, str) or not 0 < len(name) <= _MAX_PATH or not name.isprintable():
        raise ManifestError("a file's name is no text, too long, or not printable")
    parts = name.split("/")
    if "\\" in name or any(part in ("", ".", "..") for part in parts):
        raise ManifestError("a file's name is not a path below the version's folder")
    if len(parts) > MAX_DEPTH:
        raise ManifestError(f"a file lies more than {MAX_DEPTH} folders deep")
    return name


def _digest(root: Path, name: str, size: int) -> str:
    path = (root / name).resolve(strict=True)
    if not path.is_relative_to(root):
        raise ManifestError(f"{name} is a link that leaves the version's folder")
    with open_file(path) as file:
        found = os.fstat(file.fileno()).st_size
        if found != size:
            raise ManifestError(f"{name} has {found} bytes, and its manifest lists {size}")
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path) -> bytes:
    try:
        return read_file(path, MAX_BYTES)
    except TooLargeError:
        raise ManifestError(f"its manifest has more than {MAX_BYTES} bytes") from None


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _manifest(document: object) -> Manifest:
    if not isinstance(document, dict):
        raise ManifestError("its manifest is not an object")
    if document.get("format") != FORMAT or isinstance(document.get("format"), bool):
        raise ManifestError(f"its manifest is not of format {FORMAT}, the one known here")
    _keys("its manifest", document, _REQUIRED, _OPTIONAL)
    files = _files(document["files"])
    origin = _texts("trained_by", document.get("trained_by", {}))
    _keys("trained_by", origin, frozenset(), frozenset(_ORIGINS))
    return Manifest(
        model=_model(document["model"]),
        version=_integer("version", document["version"], 1, MAX_VERSION),
        created=_text("created", document["created"]),
        files=files,
        git_commit=origin.get("git_commit", ""),
        run_id=origin.get("mlflow_run_id", ""),
        model_id=origin.get("mlflow_model_id", ""),
        metadata=_texts("metadata", document.get("metadata", {})),
        metrics=_metrics(document.get("metrics", {})),
        samples=_samples(document.get("samples", []), files),
    )


def _keys(
    what: str, found: Mapping[str, object], required: frozenset[str], optional: frozenset[str]
) -> None:
    missing = sorted(required - found.keys())
    if missing:
        raise ManifestError(f"{what} has no '{missing[0]}'")
    unknown = sorted(found.keys() - required - optional)
    if unknown:
        raise ManifestError(f"{what} has the unknown key {unknown[0][:MAX_KEY]!r}")


def _model(value: object) -> str:
    if not isinstance(value, str) or why_no_model(value):
        raise ManifestError("'model' of its manifest is no model's name")
    return value


def _integer(what: str, value: object, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ManifestError(f"'{what}' of its manifest is no integer from {least} to {most}")
    return value


def _text(what: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise ManifestError(f"'{what}' of its manifest has a value that is no text, or too long")
    if any(0xD800 <= ord(character) <= 0xDFFF for character in value):
        raise ManifestError(f"'{what}' of its manifest holds half a character")
    return value


def _table(what: str, value: object, most: int) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ManifestError(f"'{what}' of its manifest is not an object")
    if len(value) > most:
        raise ManifestError(f"'{what}' of its manifest has more than {most} entries")
    for key in value:
        if not key or len(_text(what, key)) > _MAX_PATH:
            raise ManifestError(f"'{what}' of its manifest has an empty or too long key")
    return value


def _texts(what: str, value: object) -> dict[str, str]:
    return {key: _text(what, text) for key, text in _table(what, value, MAX_ENTRIES).items()}


def _metrics(value: object) -> dict[str, float]:
    found = {}
    for key, number in _table("metrics", value, MAX_ENTRIES).items():
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise ManifestError("'metrics' of its manifest has a value that is no number")
        try:
            found[key] = float(number)
        except OverflowError:
            raise ManifestError("'metrics' of its manifest has a number too large") from None
        if not math.isfinite(found[key]):
            raise ManifestError("'metrics' of its manifest has a number too large")
    return found


def _files(value: object) -> dict[str, FileEntry]:
    files = {safe_path(n): _entry(n, e) for n, e in _table("files", value, MAX_FILES).items()}
    if not files:
        raise ManifestError("its manifest lists no file")
    if MANIFEST_NAME in files:
        raise ManifestError("its manifest lists itself")
    return files


def _entry(name: str, value: object) -> FileEntry:
    if not isinstance(value, dict):
        raise ManifestError("'files' of its manifest has an entry that is not an object")
    _keys("an entry of its manifest", value, frozenset({"size", "sha256"}), frozenset())
    digest = value["sha256"]
    hexadecimal = isinstance(digest, str) and len(digest) == 64
    if not hexadecimal or set(digest) - set("0123456789abcdef"):
        raise ManifestError("its manifest has a SHA-256 that is not 64 hexadecimal digits")
    return FileEntry(_integer("size", value["size"], 0, _MAX_SIZE), digest)


def _samples(value: object, files: Mapping[str, FileEntry]) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MAX_SAMPLES:
        raise ManifestError(f"'samples' of its manifest is no list of up to {MAX_SAMPLES} names")
    if any(not isinstance(name, str) or name not in files for name in value):
        raise ManifestError("'samples' of its manifest names a file that it does not list")
    return tuple(value)
