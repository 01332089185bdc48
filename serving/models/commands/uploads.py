"""Model files that came with a command, in private folders for as long as something needs them."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from serving.registry.directory import DirectorySource
from serving.registry.snapshot import FoundModel, Origin

_LONGEST_NAME = 255
_DEEPEST = 4


class UploadError(ValueError):
    """What was sent is no model's folder, in words for who sent it."""


@dataclass(frozen=True, slots=True)
class Upload:
    """``root``: the folder made for it; ``found``: the model that lies in it."""

    root: Path
    found: FoundModel

    @property
    def origins(self) -> frozenset[Origin]:
        return frozenset(version.origin for version in self.found.versions)


class Uploads:
    """Folders of mode 0700 below ``parent`` (None: the system's temporary directory), named by
    process, so that those of a server that was killed can be told and removed.

    ``write`` may be called from any thread, the rest from the manager's loop.
    """

    def __init__(
        self, parent: Path | None, spawn: Callable[[str, Callable[[], None]], None]
    ) -> None:
        self._parent, self._spawn = parent, spawn
        self._lock = threading.Lock()
        # Those that the loop knows of; one that is being written is nobody's to remove.
        self._known: dict[Path, Upload] = {}
        self._closed = False
        if parent is not None:
            _remove_stale(parent)

    def write(self, model: str, files: Mapping[str, bytes]) -> Upload:
        """``files``: "1/model.onnx" -> its bytes.

        Raises UploadError for names that lead elsewhere or are no model's, OSError.
        """
        names = {name: _parts(name) for name in files}
        if not model or len(model) > _LONGEST_NAME or "/" in model or model.startswith("."):
            raise UploadError("not a model's name")
        root = self._folder()
        try:
            for name, parts in names.items():
                path = (root / model).joinpath(*parts)
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                path.write_bytes(files[name])
            return Upload(root, _found(root, model))
        except BaseException:
            shutil.rmtree(root, ignore_errors=True)
            raise

    def _folder(self) -> Path:
        prefix = f"{os.getpid()}-"
        if self._parent is not None:
            with contextlib.suppress(OSError):
                self._parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                return Path(tempfile.mkdtemp(prefix=prefix, dir=self._parent))
        return Path(tempfile.mkdtemp(prefix=f"serving-upload-{prefix}"))

    @property
    def any(self) -> bool:
        return bool(self._known)

    @property
    def models(self) -> set[str]:
        """The models whose files lie there."""
        with self._lock:
            return {upload.found.name for upload in self._known.values()}

    def hand_over(self, upload: Upload) -> None:
        """From now on ``sweep`` may remove it, so its command has been given before."""
        with self._lock:
            closed = self._closed
            if not closed:
                self._known[upload.root] = upload
        if closed:
            shutil.rmtree(upload.root, ignore_errors=True)

    def sweep(self, used: Callable[[], Collection[Origin]]) -> None:
        """Remove the folders that nothing of ``used`` lies in, which is asked after looking what
        there is: a command that comes in between must not lose its files."""
        with self._lock:
            known = dict(self._known)
        in_use = used()
        unused = [root for root, one in known.items() if one.origins.isdisjoint(in_use)]
        with self._lock:
            for root in unused:
                self._known.pop(root, None)
        for root in unused:
            self._spawn("remove-upload", partial(shutil.rmtree, root, ignore_errors=True))

    def close(self) -> None:
        """Remove all of them, at once, and those that are still handed over."""
        with self._lock:
            known, self._known = self._known, {}
            self._closed = True
        for root in known:
            shutil.rmtree(root, ignore_errors=True)


def _parts(name: str) -> tuple[str, ...]:
    path = PurePosixPath(name)
    parts = path.parts
    wrong = path.is_absolute() or not parts or len(parts) > _DEEPEST or "\0" in name
    if wrong or any(part == ".." or len(part.encode()) > _LONGEST_NAME for part in parts):
        raise UploadError("not the name of a file below the model's folder")
    return parts


def _found(root: Path, model: str) -> FoundModel:
    # A folder of versions right below is a model itself: one named by a number looks like that.
    for place in (root, root / model):
        for found in DirectorySource([place], settle_s=0.0).scan().models:
            if found.name == model and found.versions:
                return found
    raise UploadError("no version among the files: expected '<version>/model.onnx'")


def _remove_stale(parent: Path) -> None:
    with contextlib.suppress(OSError):
        for folder in parent.iterdir():
            owner = folder.name.partition("-")[0]
            if owner.isdecimal() and not _is_alive(int(owner)):
                shutil.rmtree(folder, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    """Another process that got the number since keeps the folder for one start more."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
