"""What is asked of a store, by ``obstore``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

from serving.errors import ConfigError
from serving.registry.object_store.bounded import EndlessError, bounded
from serving.registry.tree import MAX_FILES

# Read at once: a time limit is for each.
PIECE = 8 * 1024 * 1024
_RETRIES = 2
# A list takes one answer for each thousand entries: so many times as long as one of them.
_LISTS = 4
_LONGEST = 300


class StoreError(Exception):
    """A store that could not be asked, in words for the operator, without its URL."""


class DeniedError(StoreError):
    """It answers, and does not let us see that."""


class OddNameError(StoreError):
    """It holds something there by a name that no file can have."""


class ChangedError(StoreError):
    """It holds something else now than what was asked for."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """``path``: below the store's URL; ``modified``: nanoseconds since the epoch."""

    path: str
    size: int
    etag: str
    modified: int


@dataclass(frozen=True, slots=True)
class Level:
    """What lies directly below a prefix: names, and files by name."""

    folders: Sequence[str]
    files: Mapping[str, StoredFile]


class Store:
    """Raises StoreError. ``timeout_s``: for each answer. ``watched``: lists are ended that go on
    for ever; only for a process that ends without waiting for its threads (``bounded``). Safe from
    any thread."""

    def __init__(self, url: str, timeout_s: float, *, watched: bool = False) -> None:
        """Raises ConfigError where ``obstore`` is missing, or can make nothing of the URL."""
        try:
            import obstore
            from obstore.store import from_url
        except ImportError:
            raise ConfigError(
                f"'{urlsplit(url).scheme}://' needs the extra 'object-stores':"
                " pip install 'serving[object-stores]'"
            ) from None
        self._obstore, self._list_s = obstore, _LISTS * timeout_s
        # A disk of ours has an end.
        self._watched = watched and urlsplit(url).scheme != "file"
        # Its types name every option of every store.
        self._asked: Any = obstore
        try:
            at, self._root = _split(url)
            self._store: Any = from_url(at, **_options(url, timeout_s))
        except (obstore.exceptions.BaseError, ValueError, OSError) as error:
            raise ConfigError(f"{urlsplit(url).scheme}://: {_words(error)}") from None

    def level(self, prefix: str) -> Level:
        """``prefix``: "" or with a slash at its end."""
        where = f"{self._root}{prefix}"
        with self._told():
            found = self._level(where or None)
        start = len(where)
        folders = [path.rstrip("/")[start:] for path in found["common_prefixes"]]
        files = {one["path"][start:]: self._file(one) for one in found["objects"]}
        return Level(sorted(filter(None, folders)), files)

    def below(self, prefix: str, most: int = MAX_FILES) -> list[StoredFile]:
        """Everything below a prefix, ``most`` and one more at most, by path."""
        with self._told():
            where = f"{self._root}{prefix}"
            found = self._below(self._asked.list(self._store, where or None), most)
        return sorted(found[: most + 1], key=lambda one: one.path)

    def _level(self, prefix: str | None) -> Any:
        if not self._watched:
            return self._obstore.list_with_delimiter(self._store, prefix)
        asked = self._asked.list_with_delimiter_async
        return bounded(partial(asked, self._store, prefix), self._list_s)

    def _below(self, stream: Any, most: int) -> list[StoredFile]:
        found: list[StoredFile] = []

        def enough(some: Any) -> bool:
            found.extend(self._file(one) for one in some if not one["path"].endswith("/"))
            return len(found) > most

        async def all_of_it() -> None:
            async for some in stream:
                if enough(some):
                    break

        if self._watched:
            bounded(all_of_it, self._list_s)
        else:
            any(map(enough, stream))
        return found

    def read(self, file: StoredFile, most: int) -> bytes:
        """A small file as a whole."""
        if file.size > most:
            raise StoreError(f"it has more than {most} bytes")
        return b"".join(self.pieces(file, 0))

    def pieces(self, file: StoredFile, start: int) -> Iterator[bytes]:
        """From ``start`` on. Raises ChangedError where it is another one by now."""
        options: dict[str, Any] = {"if_match": file.etag} if file.etag else {}
        while start < file.size:
            end = min(start + PIECE, file.size)
            with self._told():
                options["range"] = (start, end)
                got = self._asked.get(self._store, self._root + file.path, options=options)
                piece = _exactly(end - start, got.stream())
            yield piece
            start = end

    def put(self, path: str, content: Any, *, new: bool = False) -> None:
        """A file's bytes, or an open file. ``new``: not over another. Raises FileExistsError."""
        mode: dict[str, Any] = {"mode": "create", "use_multipart": False} if new else {}
        with self._told():
            try:
                self._asked.put(self._store, self._root + path, content, **mode)
            except self._obstore.exceptions.AlreadyExistsError:
                raise FileExistsError(path) from None

    def _file(self, meta: Mapping[str, Any]) -> StoredFile:
        modified = int(meta["last_modified"].timestamp() * 1e9)
        path = meta["path"][len(self._root) :]
        return StoredFile(path, int(meta["size"]), meta["e_tag"] or "", modified)

    @contextmanager
    def _told(self) -> Iterator[None]:
        exceptions = self._obstore.exceptions
        try:
            yield
        except FileNotFoundError:
            raise ChangedError("it is not there") from None
        except exceptions.PreconditionError:
            raise ChangedError("it changed meanwhile") from None
        except exceptions.PermissionDeniedError:
            raise DeniedError("access is denied") from None
        except EndlessError as endless:
            raise StoreError(f"its list: {endless}") from None
        except exceptions.UnauthenticatedError:
            raise StoreError("it does not know who asks (credentials)") from None
        except FileExistsError:
            raise
        except NotImplementedError:
            raise StoreError("it cannot write a file only where none is yet") from None
        except (exceptions.BaseError, OSError, ValueError) as error:
            words = _words(error)
            _, odd, which = words.partition(_ODD_NAME)
            if odd:
                raise OddNameError(f"it holds a name that no file can have: {which}") from None
            raise StoreError(words) from None


def _exactly(size: int, pieces: Iterator[Any]) -> bytes:
    """So many bytes. Raises StoreError where they are more or fewer."""
    found = bytearray()
    for piece in pieces:
        found += piece
        if len(found) > size:
            raise StoreError(f"more than {size} bytes came")
    if len(found) != size:
        raise StoreError(f"{len(found)} of {size} bytes came")
    return bytes(found)


# As ``obstore`` says it; it has no error of its own for it.
_ODD_NAME = "object with invalid path: "


def _split(url: str) -> tuple[str, str]:
    """What is opened, and where in it the store begins ("" or with a slash at its end): WebDAV's
    lists have whole paths, whichever folder is opened."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        return url, ""
    path = unquote(parts.path).strip("/")
    return f"{parts.scheme}://{parts.netloc}", f"{path}/" if path else ""


def _options(url: str, timeout_s: float) -> dict[str, Any]:
    if urlsplit(url).scheme == "file":
        return {}
    named = _ENDPOINTS.get(urlsplit(url).scheme, ())
    endpoint = next((os.environ[v] for v in named if os.environ.get(v)), url)
    plain = urlsplit(endpoint).scheme == "http"
    limit = timedelta(seconds=timeout_s)
    return {
        "client_options": {"timeout": limit, "connect_timeout": limit, "allow_http": plain},
        "retry_config": {"max_retries": _RETRIES, "retry_timeout": 2 * limit},
    }


# Where a cloud's own address is not meant.
_ENDPOINTS: Mapping[str, Sequence[str]] = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}


def _words(error: BaseException) -> str:
    """The first line of what it says, as far as it names no address of its own."""
    line = next(iter(str(error).splitlines()), "") or type(error).__name__
    # What stands behind a URL's path may be a signature.
    line = re.sub(r"\?\S+", "?...", line)
    line = "".join(c if c.isprintable() else "?" for c in line)
    return line[:_LONGEST]
