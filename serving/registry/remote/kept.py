"""The cache's own documents."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from serving.registry.manifest import ManifestError, safe_path
from serving.registry.remote.listing import Listing, RemoteFile, digest_of, size_of
from serving.registry.tree import MAX_FILES
from serving.strict import Count, Strict, StrictError, Text, few
from serving.user_files import read_file

_MOST_BYTES = 16 * 1024 * 1024
_FORM = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """The files of a version, each with its sum. ``digest``: of all that."""

    digest: str
    listing: Listing

    @property
    def size(self) -> int:
        return size_of(self.listing)


class _File(Strict):
    size: Count
    sha256: Text


class _Document(Strict):
    form: int
    files: Annotated[dict[str, _File], few(MAX_FILES)]


class _Name(Strict):
    form: int
    digest: Text


def write_entry(entries: Path, entry: Entry) -> None:
    """Raises OSError."""
    files = {path: {"size": one.size, "sha256": one.sha256} for path, one in entry.listing.items()}
    _write(entries / f"{entry.digest}.json", {"form": _FORM, "files": files})


def read_entry(entries: Path, digest: str) -> Entry | None:
    """None where it can't be read, or says other files than its name."""
    with contextlib.suppress(OSError, ValueError, RecursionError, ManifestError):
        read = _Document.read(_read(entries / f"{digest}.json"), "its list of files")
        listing = {
            safe_path(path): RemoteFile(one.size, one.sha256) for path, one in read.files.items()
        }
        if read.form == _FORM and digest_of(listing) == digest:
            return Entry(digest, listing)
    return None


def write_name(place: Path, digest: str) -> None:
    """Raises OSError."""
    _write(place, {"form": _FORM, "digest": digest})


def read_name(place: Path) -> str:
    """The digest; "" where it can't be read."""
    with contextlib.suppress(OSError, ValueError, RecursionError, StrictError):
        read = _Name.read(_read(place), "it")
        if read.form == _FORM and read.digest.isalnum():
            return read.digest
    return ""


def _read(place: Path) -> object:
    return json.loads(read_file(place, _MOST_BYTES))


def _write(place: Path, document: object) -> None:
    """Whole or not at all."""
    handle, temporary = tempfile.mkstemp(prefix=".writing-", dir=place.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(document, file)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(place)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise
