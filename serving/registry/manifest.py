"""The list of a version's files with their checksums, and where the version comes from.

It lies in the version's folder as ``serving_manifest.json``, written by ``serving publish``.
Whoever can write there can write anything into it, so it is read strictly and within bounds.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

from pydantic import AfterValidator, Field

from serving.errors import LoadError
from serving.registry.names import MAX_VERSION, why_no_model
from serving.registry.tree import MAX_DEPTH, MAX_FILES, words
from serving.strict import Count, Strict, StrictError, Text, few
from serving.user_files import LinkOutError, TooLargeError, open_file, read_inside

MANIFEST_NAME = "serving_manifest.json"
FORMAT = 1
# Statistics of the data that a version was trained on, as `serving publish` calls the file.
BASELINE = "baseline.pb"
MAX_BYTES = 4 * 1024 * 1024
MAX_ENTRIES = 1000
MAX_SAMPLES = 100
_MAX_PATH = 1024
_ORIGINS = ("git_commit", "mlflow_run_id", "mlflow_model_id")

_Value = TypeVar("_Value")


class ManifestError(LoadError):
    """A manifest that cannot be used, or files that are not what it says."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """``size`` in bytes; ``sha256`` as 64 hexadecimal digits."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """``files``: path relative to the version's folder -> what it holds. ``samples``: those of them
    that are inputs to warm up with; ``evaluation``: the one to be judged by, ``baseline``: the one
    with statistics of the data it was trained on, "" for none. ``created``: UTC, ISO 8601. Origins
    are "" where nobody said."""

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
    evaluation: str = ""
    baseline: str = ""

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
            **({"evaluation": self.evaluation} if self.evaluation else {}),
            **({"statistics": {"baseline": self.baseline}} if self.baseline else {}),
        }
        return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def baseline_of(version_dir: Path, manifest: Manifest | None) -> str:
    """The file in a version's folder with statistics of its training data, "" for none: the one
    that its manifest names; without a manifest, as in a folder of MLflow's, ``baseline.pb``."""
    if manifest is not None:
        return manifest.baseline
    return BASELINE if (version_dir / BASELINE).is_file() else ""


def has_manifest(version_dir: Path) -> bool:
    """Whether there is anything by that name, or nobody can say."""
    try:
        (version_dir / MANIFEST_NAME).lstat()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


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


def digest(manifest: Manifest) -> str:
    """Of what its files hold."""
    rows = sorted((name, entry.sha256) for name, entry in manifest.files.items())
    return hashlib.blake2b(repr(rows).encode(), digest_size=16).hexdigest()


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
        return read_inside(path.parent, path.name, MAX_BYTES)
    except LinkOutError:
        raise ManifestError("its manifest is a link that leaves the version's folder") from None
    except TooLargeError:
        raise ManifestError(f"its manifest has more than {MAX_BYTES} bytes") from None


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _model(name: str) -> str:
    if why_no_model(name):
        raise ValueError("is no model's name")
    return name


def _digest_text(text: str) -> str:
    if len(text) != 64 or set(text) - set("0123456789abcdef"):
        raise ValueError("is not 64 hexadecimal digits")
    return text


def _named(table: dict[str, _Value]) -> dict[str, _Value]:
    if any(not 0 < len(key) <= _MAX_PATH for key in table):
        raise ValueError("has an empty or too long key")
    return table


_Table = Annotated[dict[Text, _Value], few(MAX_ENTRIES), AfterValidator(_named)]


class _File(Strict):
    size: Count
    sha256: Annotated[str, AfterValidator(_digest_text)]


class _TrainedBy(Strict):
    git_commit: Text = ""
    mlflow_run_id: Text = ""
    mlflow_model_id: Text = ""


class _Statistics(Strict):
    baseline: Text = ""


class _Document(Strict):
    format: int
    model: Annotated[str, AfterValidator(_model)]
    version: Annotated[int, Field(ge=1, le=MAX_VERSION)]
    created: Text
    files: Annotated[dict[Text, _File], few(MAX_FILES)]
    trained_by: _TrainedBy = _TrainedBy()
    metadata: _Table[Text] = Field(default_factory=dict)
    metrics: _Table[float] = Field(default_factory=dict)
    samples: Annotated[tuple[Text, ...], Field(strict=False), few(MAX_SAMPLES)] = ()
    evaluation: Text = ""
    statistics: _Statistics = _Statistics()


def _manifest(document: object) -> Manifest:
    if isinstance(document, dict):
        _check_format(document.get("format"))
    try:
        found = _Document.read(document, "its manifest")
    except StrictError as error:
        raise ManifestError(str(error)) from None
    files = {safe_path(name): FileEntry(**dict(entry)) for name, entry in found.files.items()}
    _check_files(files, found.samples)
    if found.evaluation and found.evaluation not in files:
        raise ManifestError("'evaluation' of its manifest names a file that it does not list")
    if found.statistics.baseline and found.statistics.baseline not in files:
        raise ManifestError("'baseline' of its manifest names a file that it does not list")
    return Manifest(
        model=found.model,
        version=found.version,
        created=found.created,
        files=files,
        git_commit=found.trained_by.git_commit,
        run_id=found.trained_by.mlflow_run_id,
        model_id=found.trained_by.mlflow_model_id,
        metadata=found.metadata,
        metrics=found.metrics,
        samples=found.samples,
        evaluation=found.evaluation,
        baseline=found.statistics.baseline,
    )


def _check_format(value: object) -> None:
    """Before all else: another format has other keys."""
    if value != FORMAT or isinstance(value, bool):
        raise ManifestError(f"its manifest is not of format {FORMAT}, the one known here")


def _check_files(files: Mapping[str, FileEntry], samples: Sequence[str]) -> None:
    if not files:
        raise ManifestError("its manifest lists no file")
    if MANIFEST_NAME in files:
        raise ManifestError("its manifest lists itself")
    if any(name not in files for name in samples):
        raise ManifestError("'samples' of its manifest names a file that it does not list")
