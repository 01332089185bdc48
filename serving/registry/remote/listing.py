"""What a version elsewhere is made of, and where its bytes come from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from serving.errors import LoadError, Retry
from serving.registry.manifest import ManifestError, safe_path
from serving.registry.tree import MAX_FILES


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """``size`` in bytes; ``sha256`` in hexadecimal, "" where nobody says. ``md5``: what is likely
    to be one, of a store that has no better sum."""

    size: int
    sha256: str = ""
    md5: str = ""


Listing = Mapping[str, RemoteFile]


class RemoteError(LoadError):
    """What is elsewhere could not be had now, in words for users: without addresses."""

    def __init__(self, reason: str, detail: str = "", retry: Retry = Retry.LATER) -> None:
        super().__init__(reason, detail, retry)


class Remote(Protocol):
    """A version's files elsewhere; for one thread. Raises RemoteError."""

    def listing(self) -> Listing:
        """All of its files, by their paths in the version's folder."""
        ...

    def pieces(self, path: str, file: RemoteFile, start: int) -> Iterator[bytes]:
        """The bytes of a file from ``start`` on."""
        ...

    def close(self) -> None: ...


def checked(listing: Listing) -> Listing:
    """The listing, where a folder can be made of it. Raises RemoteError."""
    if not listing:
        raise RemoteError("it has no files where it comes from")
    if len(listing) > MAX_FILES:
        raise RemoteError(f"it has more than {MAX_FILES} files", retry=Retry.ON_CHANGE)
    try:
        for path in listing:
            safe_path(path)
    except ManifestError as error:
        raise RemoteError(f"where it comes from, {error.reason}", retry=Retry.ON_CHANGE) from None
    folders = {path[:at] for path in listing for at, one in enumerate(path) if one == "/"}
    if both := sorted(folders & listing.keys()):
        words = f"where it comes from, {both[0]} is a file and a folder"
        raise RemoteError(words, retry=Retry.ON_CHANGE)
    return listing


def size_of(listing: Listing) -> int:
    """Bytes of all files together."""
    return sum(file.size for file in listing.values())


def digest_of(listing: Listing) -> str:
    """Of contents: the same for versions whose files are the same."""
    rows = [(path, file.size, file.sha256) for path, file in sorted(listing.items())]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()
