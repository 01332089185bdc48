"""A version's files in a store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from serving.errors import Retry
from serving.registry.manifest import (
    MANIFEST_NAME,
    MAX_BYTES,
    Manifest,
    ManifestError,
    parse_manifest,
)
from serving.registry.object_store.store import ChangedError, Store, StoredFile, StoreError
from serving.registry.remote.listing import Listing, RemoteError, RemoteFile

_MD5 = 32


@dataclass(frozen=True, slots=True)
class StoreRemote:
    """See ``Remote``. ``files``: by path in the version; of a version with a ``manifest`` those
    count that it lists."""

    store: Store
    files: Mapping[str, StoredFile]
    manifest: Manifest | None = None

    def listing(self) -> Listing:
        """See ``Remote``."""
        manifest = self.manifest or self._manifest()
        if manifest is None:
            return {
                path: RemoteFile(file.size, md5=_md5(file)) for path, file in self.files.items()
            }
        found = {
            path: RemoteFile(entry.size, entry.sha256) for path, entry in manifest.files.items()
        }
        if missing := sorted(found.keys() - self.files.keys()):
            raise RemoteError(f"{missing[0]}, which its manifest lists, is not there")
        found[MANIFEST_NAME] = RemoteFile(self.files[MANIFEST_NAME].size)
        return found

    def _manifest(self) -> Manifest | None:
        """Where nobody has read it yet."""
        if MANIFEST_NAME not in self.files:
            return None
        try:
            return parse_manifest(self.store.read(self.files[MANIFEST_NAME], MAX_BYTES))
        except ManifestError as error:
            raise RemoteError(error.reason, retry=Retry.ON_CHANGE) from None
        except StoreError as error:
            raise RemoteError("its manifest could not be read", str(error)) from None

    def pieces(self, path: str, file: RemoteFile, start: int) -> Iterator[bytes]:
        """See ``Remote``."""
        stored = self.files[path]
        if stored.size != file.size:
            words = f"{path} has {stored.size} bytes, and its manifest lists {file.size}"
            raise RemoteError(words, retry=Retry.ON_CHANGE)
        try:
            yield from self.store.pieces(stored, start)
        except ChangedError as error:
            raise RemoteError(f"{path} is not what it was when it was found", str(error)) from None
        except StoreError as error:
            words = f"{path} could not be had from its store"
            raise RemoteError(words, str(error)) from None

    def close(self) -> None:
        """Nothing is open."""


class GoneRemote:
    """See ``Remote``: of a version that is known from an earlier start only."""

    def listing(self) -> Listing:
        """See ``Remote``."""
        raise RemoteError("its store does not answer, and its files are here no more")

    def pieces(self, path: str, file: RemoteFile, start: int) -> Iterator[bytes]:
        """See ``Remote``."""
        raise AssertionError("nothing was listed")

    def close(self) -> None:
        """Nothing is open."""


def _md5(file: StoredFile) -> str:
    """Of contents, as stores make ETags of what was put at once; it may be something else."""
    tag = file.etag.strip('"').lower()
    return tag if len(tag) == _MD5 and not set(tag) - set("0123456789abcdef") else ""
