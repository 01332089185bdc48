"""The one directory that the gateway writes to: private, bounded, optional.

Where it cannot be written (a read-only disk, a full one, no home), memory serves instead and
the log says so once; what serves goes on (fault 16).
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import threading
from pathlib import Path
from typing import Any

from serving.events import log
from serving.user_files import read_file

# Of one file; what we keep is small, and a file that isn't ours is not worth reading.
MAX_BYTES = 4 * 1024 * 1024
_WRITING = ".writing-"
_ABSENT = object()
# What else than documents lies in the directory itself.
_OURS = frozenset({"lock", "registries", "trials", "copies", "tracking", "versions", "statistics"})


class _TooLargeError(OSError):
    """It would not fit another time either."""


class StateDir:
    """JSON documents by name, each replaced as a whole. Safe from any thread.

    ``path`` None: nothing outlives the process. The directory is made, with mode 0700, by the
    first write. ``is_ours`` False: another gateway writes there, we read.
    """

    def __init__(self, path: Path | None, *, is_ours: bool = True) -> None:
        self.path = path
        self._root = path
        self._is_ours = is_ours
        self._lock = threading.Lock()
        self._unwritten: dict[str, Any] = {}
        # Whether the disk may take them another time.
        self._may_heal: dict[str, bool] = {}
        # Shared with the parts.
        self._said = threading.Event()

    def below(self, part: str) -> StateDir:
        """Documents of their own in the folder ``part`` (folders with ``/`` between them)."""
        other = StateDir(self.path, is_ours=self._is_ours)
        other._root = self.path / part if self.path is not None else None
        other._said = self._said
        return other

    @property
    def is_ours(self) -> bool:
        return self._is_ours

    def become_ours(self) -> None:
        """Write from now on, too: the gateway that did has ended, and we hold its lock."""
        with self._lock:
            self._is_ours = True
            self._catch_up()

    def take_over(self, place: Path) -> None:
        """Move a document or a folder from elsewhere in the directory here."""
        if self.path is not None and self._root is not None and self._is_ours:
            with contextlib.suppress(OSError):  # then it stays where nobody reads it
                _make_all_private(self.path, self._root)
                place.rename(self._root / place.name)

    def read(self, name: str) -> Any:
        """The document last written under ``name`` (letters, digits, ``-``, ``_``, ``/``
        between folders); None where there is none, or it can't be read or parsed."""
        # Without the lock: files are replaced as a whole, and a document leaves memory only when
        # it is on the disk. So who reads does not wait for a disk that writes.
        unwritten = self._unwritten.get(name, _ABSENT)
        if unwritten is not _ABSENT:
            return unwritten
        if self._root is None:
            return None
        file = self._file(self._root, name)
        try:
            return json.loads(read_file(file, MAX_BYTES))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, RecursionError) as error:
            log.warning("state_unreadable", name=name, reason=_words(error))
            return None

    def holds(self, name: str) -> bool:
        """Whether there is such a document, readable or not."""
        with self._lock:
            return name in self._unwritten or (
                self._root is not None and self._file(self._root, name).exists()
            )

    def write(self, name: str, document: Any, *, hold: bool = True) -> bool:
        """Replace the document (anything JSON can carry); whether it will outlive the process.

        What is too large is refused like a disk that is full. What is refused is held in memory,
        unless ``hold`` is False: then what was written before is as it was, and others write
        meanwhile; two that write one such document at once don't know whose is the last.
        """
        if not hold:
            return self._write_through(name, document)
        with self._lock:
            try:
                self._put(name, document)
            except OSError as error:
                self._unwritten[name] = document
                self._may_heal[name] = not isinstance(error, _TooLargeError)
                self._say(error)
                return False
            self._catch_up()
            return True

    def _write_through(self, name: str, document: Any) -> bool:
        try:
            self._put(name, document)
        except OSError as error:
            self._say(error)
            return False
        with self._lock:
            self._catch_up()
        return True

    def _put(self, name: str, document: Any) -> None:
        if self.path is None or self._root is None:
            raise OSError("there is no directory for it")
        if not self._is_ours:
            raise OSError("it is another gateway's")
        # Half of a pair, which no UTF-8 is, stays an escape of JSON's.
        text = json.dumps(document, ensure_ascii=False).encode(errors="backslashreplace")
        if len(text) > MAX_BYTES:
            raise _TooLargeError(f"it has more than {MAX_BYTES} bytes")
        _replace(self.path, self._file(self._root, name), text)
        self._forget(name)

    def _forget(self, name: str) -> None:
        self._unwritten.pop(name, None)
        self._may_heal.pop(name, None)

    def _catch_up(self) -> None:
        """Write what the disk did not take before."""
        with contextlib.suppress(OSError):  # it was told of once
            for name in [name for name in self._unwritten if self._may_heal[name]]:
                self._put(name, self._unwritten[name])

    def remove(self, name: str) -> None:
        """Forget the document, if there is one."""
        with self._lock:
            self._forget(name)
            if self._root is not None and self._is_ours:
                with contextlib.suppress(OSError):
                    self._file(self._root, name).unlink()

    def names(self, folder: str) -> list[str]:
        """The names of the documents in a folder, without it, oldest first."""
        # First, and without the lock, as ``read``: list() of a dict is one step.
        unwritten = [name for name in list(self._unwritten) if name.startswith(f"{folder}/")]
        found: dict[str, int] = {}
        if self._root is not None:
            with contextlib.suppress(OSError):
                for file in (self._root / folder).glob("*.json"):
                    with contextlib.suppress(OSError):
                        found[file.stem] = file.stat().st_mtime_ns
        for name in unwritten:
            found.setdefault(name.removeprefix(f"{folder}/"), 2**63)
        return sorted(found, key=lambda name: (found[name], name))

    def written_at(self, name: str) -> float | None:
        """When the document was written, in seconds since the epoch; None where it is not on the
        disk."""
        if self._root is None:
            return None
        with contextlib.suppress(OSError):
            return self._file(self._root, name).stat().st_mtime
        return None

    def mark(self, folder: str) -> int | None:
        """Changes with the documents in a folder, at a look; None where the system doesn't tell."""
        if self._root is None:
            return None
        with contextlib.suppress(OSError):
            return (self._root / folder).stat().st_mtime_ns
        return None

    @staticmethod
    def _file(root: Path, name: str) -> Path:
        parts = name.split("/")
        if not all(p and p.replace("-", "").replace("_", "").isalnum() for p in parts):
            raise AssertionError(f"not a document's name: {name!r}")
        return root.joinpath(*parts[:-1], f"{parts[-1]}.json")

    def _say(self, error: OSError) -> None:
        # Who reads another's directory was told so at the start.
        if self._is_ours and not self._said.is_set():
            self._said.set()
            log.warning(
                "state_not_written",
                path=str(self.path) if self.path else None,
                reason=_words(error),
                effect="what is decided now is forgotten at the next start",
            )


def _replace(root: Path, file: Path, text: bytes) -> None:
    """Whole or not at all, also when the power fails."""
    _make_all_private(root, file.parent)
    handle, temporary = tempfile.mkstemp(prefix=_WRITING, dir=file.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(file)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise


def _make_all_private(root: Path, folder: Path) -> None:
    """``root`` and the folders from it down to ``folder``. Raises OSError."""
    if folder == root:
        make_root(root)
    else:
        _make_all_private(root, folder.parent)
        make_private(folder)


def make_root(folder: Path) -> None:
    """Make the directory itself, private unless others' things lie in it: those who share a
    home or ``/tmp`` would be locked out. What we lay there is private all the same. Raises
    OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if _is_open(folder) and _holds_only_ours(folder):
        folder.chmod(0o700)


def make_private(folder: Path) -> None:
    """Make a folder of ours, and see that nobody else may look into it. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if _is_open(folder):
        folder.chmod(0o700)


def _is_open(folder: Path) -> bool:
    """To others, and ours to close: a volume that we may write to by its group is not; what we
    lay there is private."""
    found = folder.stat()
    return bool(found.st_mode & 0o077) and os.geteuid() in (found.st_uid, 0)


def _holds_only_ours(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return all(_is_ours(entry.name) for entry in entries)


def _is_ours(name: str) -> bool:
    return name in _OURS or name.endswith(".json") or name.startswith(_WRITING)


def _words(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error).lower()
