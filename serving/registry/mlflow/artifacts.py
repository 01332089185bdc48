"""A registered version's files, had from MLflow's server, whatever store they are in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from serving.errors import Retry
from serving.mlflow_rest import MlflowError, RefusedError
from serving.registry.mlflow.answers import RegisteredVersion
from serving.registry.mlflow.api import MlflowRegistry
from serving.registry.remote.listing import Listing, RemoteError, RemoteFile
from serving.registry.tree import MAX_DEPTH, MAX_FILES

_PROXIED = "mlflow-artifacts"
_LOGGED = "models:/m-"
# That are asked for what lies in them.
_MOST_FOLDERS = 1000


@dataclass(frozen=True, slots=True)
class Root:
    """Where a version's files are listed: ``kind`` and ``of`` as ``MlflowRegistry.files`` has
    them; ``folder``: below that. ``whole_paths``: a listing's paths begin there, not at the folder
    that was asked for."""

    kind: str
    of: str
    folder: str
    whole_paths: bool


class MlflowRemote:
    """See ``Remote``."""

    def __init__(self, registry: MlflowRegistry, model: str, version: RegisteredVersion) -> None:
        self._registry, self._model, self._version = registry, model, version
        self._root: Root | None = None
        self._folders = 0
        self._check: Callable[[], None] = _nothing

    def close(self) -> None:
        self._registry.close()

    def listing(self) -> Listing:
        """See ``Remote``."""
        found: dict[str, RemoteFile] = {}
        with _told():
            self._check = self._registry.watch("the list of its files")
            uri = self._registry.download_uri(self._model, self._version.number)
            root = self._root = self._found(uri)
            self._walk(root, "", 1, found)
        return found

    def _found(self, uri: str) -> Root:
        if urlsplit(uri).scheme == _PROXIED:
            return Root("proxy", "", unquote(urlsplit(uri).path).strip("/"), whole_paths=False)
        version = self._version
        if version.source.startswith(_LOGGED):
            return Root("model", version.source.removeprefix("models:/"), "", whole_paths=True)
        if version.run_id:
            top = self._registry.files("run", version.run_id, "").get("root_uri")
            if isinstance(top, str) and (below := _below(top, uri)) is not None:
                return Root("run", version.run_id, below, whole_paths=True)
        raise RemoteError(
            "MLflow's server can't list its files: it belongs to no run and no logged model,"
            " and its store is not the server's own",
            retry=Retry.ON_CHANGE,
        )

    def _walk(self, root: Root, prefix: str, depth: int, found: dict[str, RemoteFile]) -> None:
        if depth > MAX_DEPTH:
            raise RemoteError(
                f"its folders are nested more than {MAX_DEPTH} deep", retry=Retry.ON_CHANGE
            )
        self._folders += 1
        if self._folders > _MOST_FOLDERS:
            words = f"it has more than {_MOST_FOLDERS} folders"
            raise RemoteError(words, retry=Retry.ON_CHANGE)
        folder = "/".join(part for part in (root.folder, prefix) if part)
        self._check()
        answer = self._registry.files(root.kind, root.of, folder)
        for entry in _entries(answer):
            name = _base_name(entry, f"{folder}/" if root.whole_paths and folder else "")
            path = f"{prefix}/{name}" if prefix else name
            if entry.get("is_dir") is True:
                self._walk(root, path, depth + 1, found)
                continue
            found[path] = RemoteFile(_size(entry, name))
            if len(found) > MAX_FILES:
                raise RemoteError(f"it has more than {MAX_FILES} files", retry=Retry.ON_CHANGE)

    def pieces(self, path: str, file: RemoteFile, start: int) -> Iterator[bytes]:
        """See ``Remote``. MLflow gives sums of nothing, so each file is read from its start."""
        assert self._root is not None
        assert not start
        with _told():
            if self._root.kind == "proxy":
                yield from self._registry.proxied(f"{self._root.folder}/{path}", file.size)
            else:
                number = self._version.number
                yield from self._registry.artifact(self._model, number, path, file.size)


@contextmanager
def _told() -> Iterator[None]:
    """MLflow's errors as those of a version's files."""
    try:
        yield
    except RefusedError as refused:
        raise RemoteError(f"MLflow {refused}") from None
    except MlflowError as error:
        raise RemoteError("its files could not be had from MLflow's server", str(error)) from None


def remote_of(
    connect: Callable[[], MlflowRegistry], model: str, version: RegisteredVersion
) -> MlflowRemote:
    return MlflowRemote(connect(), model, version)


def _nothing() -> None:
    pass


def _below(top: str, uri: str) -> str | None:
    """The path from one to the other; None where it does not lie there."""
    top, uri = top.rstrip("/"), uri.rstrip("/")
    if uri == top:
        return ""
    return uri[len(top) + 1 :] if uri.startswith(f"{top}/") else None


def _entries(answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    files = answer.get("files", [])
    if not isinstance(files, list) or not all(isinstance(one, dict) for one in files):
        raise RemoteError("the list of its files is not MLflow's")
    return files


def _base_name(entry: Mapping[str, Any], before: str) -> str:
    """A name in the folder that was listed, and nowhere else."""
    path = entry.get("path")
    name = path.removeprefix(before) if isinstance(path, str) else ""
    if not name or "/" in name or "\\" in name or name in (".", ".."):
        raise RemoteError("the list of its files has a path that leads elsewhere")
    return name


def _size(entry: Mapping[str, Any], name: str) -> int:
    """A number, or a text as some versions write it."""
    size = entry.get("file_size", 0)
    if isinstance(size, str) and size.isascii() and size.isdigit() and len(size) < 20:
        size = int(size)
    if type(size) is not int or size < 0:
        raise RemoteError(f"MLflow does not say how large {name[:64]} is")
    return size
