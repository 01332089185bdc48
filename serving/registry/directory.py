"""A directory of models as a source: ``<root>/<model>/<version>/``.

A scan says what is there and whether it is whole; it decides nothing and reads
no file's contents. What it remembers is only how long each tree was quiet.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import time
import zlib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

MAX_DEPTH = 4
MAX_FILES = 10_000
MAX_NAME = 255
# Scans between two full looks at a model where all has settled.
FULL_LOOK = 10
_VERSION = re.compile(r"[1-9][0-9]*", re.ASCII)
_MAX_VERSION = 2**63 - 1
# Folders beside the versions that have their own meaning (Triton's layout).
_SIDE_FOLDERS = frozenset({"warmup", "initial_state", "configs"})

# Relative path, mode, size, mtime, ctime (both ns), inode.
Row = tuple[str, int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class FoundVersion:
    """A version directory. ``fingerprint`` is "" where its files could not be listed."""

    number: int
    path: Path
    fingerprint: str
    whole: bool
    why_not: str = ""
    # Not whole only because it changed a moment ago.
    settling: bool = False


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model directory; ``versions`` ascend.

    ``config_stamp`` changes whenever a file beside the versions (or under
    ``warmup/``) does. With an ``error`` nothing is known of the versions.
    """

    name: str
    path: Path
    versions: tuple[FoundVersion, ...] = ()
    config_stamp: str = ""
    config_settled: bool = True
    error: str = ""


@dataclass(frozen=True, slots=True)
class Ignored:
    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class SourceError:
    """A root that could not be listed: what it holds is unknown, not absent."""

    root: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that is there, sorted by name."""

    models: tuple[FoundModel, ...] = ()
    ignored: tuple[Ignored, ...] = ()
    errors: tuple[SourceError, ...] = ()
    # Seconds until the next tree may count as whole; None when all have settled.
    settles_in: float | None = None


@dataclass(slots=True)
class _Seen:
    rows: tuple[Row, ...]
    fingerprint: str
    since: float
    settled: bool


@dataclass(slots=True)
class _Known:
    """A model as the last full look found it."""

    found: FoundModel
    ignored: tuple[Ignored, ...]
    directory: Row
    # The look before it had found the directory with the same row: a second change
    # within the file system's clock tick would not show in the row.
    confirmed: bool
    turns: int
    seen: dict[str, _Seen]

    def may_stand(self, directory: Row) -> bool:
        found = self.found
        return (
            self.confirmed
            and self.turns > 0
            and self.directory == directory
            and found.config_settled
            and not found.error
            and all(version.whole for version in found.versions)
        )


@dataclass(frozen=True, slots=True)
class _Clocks:
    """One scan's moment, and how long ago the scan before it was."""

    mono: float
    wall: float
    settle_s: float
    since_last: float

    def age(self, rows: tuple[Row, ...]) -> float:
        """Seconds of quiet to believe at first sight."""
        newest = max((row[4] for row in rows), default=0) / 1e9
        return min(max(self.wall - newest, 0.0), self.settle_s, self.since_last)


class _UnfitError(Exception):
    """A tree that will not do, and why."""


class DirectorySource:
    """Models below ``roots``; whole is what nothing changed in for ``settle_s`` seconds.

    "Changed" is any name, size, mtime, ctime or inode. Quiet is what we observed
    by the monotonic clock; only at first sight the wall clock's distance to the
    newest ctime counts instead: without a bound in the first scan, so that what lay
    there before the start is whole at once, later back to the scan before (the wall
    clock may have jumped). A ctime in the future counts as just changed.

    A model where all has settled costs one stat a scan: versions that come or go
    change its directory. Files changed in place are found every ``FULL_LOOK``
    scans, or at once in the models that the caller wants watched closely.
    """

    def __init__(
        self,
        roots: Sequence[Path],
        settle_s: float,
        wall: Callable[[], float] = time.time,
        mono: Callable[[], float] = time.monotonic,
    ) -> None:
        self.roots = tuple(dict.fromkeys(Path(root).absolute() for root in roots))
        self._settle_s = settle_s
        self._wall = wall
        self._mono = mono
        self._known: dict[str, _Known] = {}
        self._last = Snapshot()
        self._scanned = float("-inf")

    def scan(self, closely: Collection[str] = ()) -> Snapshot:
        """What is there now: the same object as last time when nothing changed.

        ``closely``: names of models whose every file is looked at this time.
        """
        now = self._mono()
        clocks = _Clocks(now, self._wall(), self._settle_s, now - self._scanned)
        self._scanned = now
        look = _Look(self._known, closely, clocks)
        for root in self.roots:
            look.root(root)
        self._known = look.known
        snapshot = look.snapshot()
        if snapshot != self._last:
            self._last = snapshot
        return self._last

    def fingerprint(self, version: Path) -> str:
        """The version's fingerprint at this moment, "" when it cannot be listed.

        Safe from any thread: it remembers nothing.
        """
        try:
            return _digest(_tree(str(version)))
        except (OSError, _UnfitError):
            return ""


@dataclass(slots=True)
class _Look:
    """One scan in progress."""

    # By the model directory's path, as text: it is hashed for every model in every scan.
    before: dict[str, _Known]
    closely: Collection[str]
    clocks: _Clocks
    known: dict[str, _Known] = field(default_factory=dict)
    models: dict[str, FoundModel] = field(default_factory=dict)
    ignored: list[Ignored] = field(default_factory=list)
    errors: list[SourceError] = field(default_factory=list)
    settles_in: float | None = None

    def snapshot(self) -> Snapshot:
        return Snapshot(
            models=tuple(self.models[name] for name in sorted(self.models)),
            ignored=tuple(sorted(self.ignored, key=lambda i: i.path)),
            errors=tuple(self.errors),
            settles_in=self.settles_in,
        )

    def root(self, root: Path) -> None:
        try:
            entries = _list(str(root))
        except OSError as error:
            self.errors.append(SourceError(root, _words(error)))
            return
        for entry in entries:
            if not _is_directory(entry):
                continue
            if reason := _bad_model_name(entry.name) or _linked(entry):
                self.ignored.append(Ignored(root / entry.name, reason))
            elif entry.name in self.models:
                self._twice(entry.name)
            else:
                self.models[entry.name] = self._model(root, entry)

    def _twice(self, name: str) -> None:
        path = self.models[name].path
        self.models[name] = FoundModel(name, path, error="it is in more than one model directory")

    def _model(self, root: Path, entry: os.DirEntry[str]) -> FoundModel:
        """What is known of it, looked at again where that may be out of date."""
        try:
            directory = _row("", entry.stat(follow_symlinks=False))
            known = self.before.get(entry.path)
            if known is None or entry.name in self.closely or not known.may_stand(directory):
                known = self._look_at(root / entry.name, directory, known)
            else:
                known.turns -= 1
        except OSError as error:
            path = root / entry.name
            return FoundModel(entry.name, path, error=f"its directory {_words(error)}")
        self.known[entry.path] = known
        self.ignored += known.ignored
        return known.found

    def _look_at(self, path: Path, directory: Row, known: _Known | None) -> _Known:
        look = _ModelLook(path, known.seen if known else {}, self.clocks)
        found = look.found()
        if look.settles_in is not None:
            self.settles_in = min(look.settles_in, self.settles_in or look.settles_in)
        return _Known(
            # The old object where it is equal, so that equal snapshots compare fast.
            found=known.found if known and known.found == found else found,
            ignored=tuple(look.ignored),
            directory=directory,
            confirmed=known is not None and known.directory == directory,
            turns=FULL_LOOK if known else _first_turn(path.name),
            seen=look.seen,
        )


@dataclass(slots=True)
class _ModelLook:
    """One full look at one model."""

    path: Path
    before: dict[str, _Seen]
    clocks: _Clocks
    seen: dict[str, _Seen] = field(default_factory=dict)
    ignored: list[Ignored] = field(default_factory=list)
    settles_in: float | None = None

    def found(self) -> FoundModel:
        """Raises OSError where the directory cannot be listed."""
        path = self.path
        entries = _list(str(path))
        numbers = [(self._version_number(path, entry), entry.name) for entry in entries]
        versions = [self._version(number, path / name) for number, name in numbers if number]
        stamp, settled, error = self._config(entries)
        return FoundModel(
            name=path.name,
            path=path,
            versions=tuple(sorted((v for v in versions if v), key=lambda v: v.number)),
            config_stamp=stamp,
            config_settled=settled,
            error=error,
        )

    def _version_number(self, model: Path, entry: os.DirEntry[str]) -> int:
        """0 where the entry is no version."""
        looks_like_one = _VERSION.fullmatch(entry.name) is not None
        if not _is_directory(entry):
            if looks_like_one:
                self.ignored.append(Ignored(model / entry.name, "not a directory"))
            return 0
        if entry.name in _SIDE_FOLDERS:
            return 0
        if not looks_like_one:
            reason = "a version is a positive integer without leading zeros"
        elif len(entry.name) > 19 or int(entry.name) > _MAX_VERSION:
            reason = "a version fits into 63 bits"
        else:
            reason = _linked(entry)
        if reason:
            self.ignored.append(Ignored(model / entry.name, reason))
            return 0
        return int(entry.name)

    def _version(self, number: int, path: Path) -> FoundVersion | None:
        """None where it vanished between two looks."""
        try:
            rows = _tree(str(path))
        except FileNotFoundError:
            return None
        except OSError as error:
            return FoundVersion(number, path, "", False, f"its directory {_words(error)}")
        except _UnfitError as unfit:
            return FoundVersion(number, path, "", False, str(unfit))
        seen = self._observe(str(path), rows)
        if not any(_is_content(row) for row in rows):
            return FoundVersion(number, path, "", False, "its directory is empty")
        if not seen.settled:
            words = f"its files changed less than {self.clocks.settle_s:g} s ago"
            return FoundVersion(number, path, seen.fingerprint, False, words, settling=True)
        return FoundVersion(number, path, seen.fingerprint, True)

    def _config(self, entries: Iterable[os.DirEntry[str]]) -> tuple[str, bool, str]:
        """Stamp, whether it settled, and an error."""
        rows: list[Row] = []
        try:
            for entry in entries:
                if not _is_directory(entry):
                    _add(rows, entry.name, entry)
                elif entry.name == "warmup":
                    _walk(entry.path, "warmup/", 1, rows)
        except OSError as error:
            return "", False, f"a file beside its versions {_words(error)}"
        except _UnfitError as unfit:
            return "", False, str(unfit)
        seen = self._observe("", tuple(sorted(rows)))
        return seen.fingerprint, seen.settled, ""

    def _observe(self, key: str, rows: tuple[Row, ...]) -> _Seen:
        clocks, seen = self.clocks, self.before.get(key)
        if seen is None:
            seen = _Seen(rows, _digest(rows), clocks.mono - clocks.age(rows), False)
        elif seen.rows != rows:
            # Not the wall clock here: it may have jumped since the last look.
            seen = _Seen(rows, _digest(rows), clocks.mono, not rows)
        if not seen.settled:
            left = seen.since + clocks.settle_s - clocks.mono
            seen.settled = left <= 0
            if not seen.settled:
                self.settles_in = left if self.settles_in is None else min(left, self.settles_in)
        self.seen[key] = seen
        return seen


def _first_turn(name: str) -> int:
    """Differs from model to model, so that full looks spread over the scans."""
    return zlib.crc32(name.encode(errors="replace")) % FULL_LOOK


def _list(directory: str) -> list[os.DirEntry[str]]:
    with os.scandir(directory) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _tree(directory: str) -> tuple[Row, ...]:
    """The directory itself and everything below it.

    Raises OSError, and _UnfitError when it is too deep or too many.
    """
    rows = [_row("", Path(directory).lstat())]
    _walk(directory, "", 1, rows)
    rows.sort()
    return tuple(rows)


def _walk(directory: str, prefix: str, depth: int, rows: list[Row]) -> None:
    with os.scandir(directory) as entries:
        for entry in entries:
            name = prefix + entry.name
            _add(rows, name, entry)
            if len(rows) > MAX_FILES:
                raise _UnfitError(f"it holds more than {MAX_FILES} files")
            if entry.is_dir(follow_symlinks=False):
                if depth == MAX_DEPTH:
                    raise _UnfitError(f"its folders are nested more than {MAX_DEPTH} deep")
                _walk(entry.path, f"{name}/", depth + 1, rows)


def _add(rows: list[Row], name: str, entry: os.DirEntry[str]) -> None:
    """The entry's own row; for a symbolic link also its target's, which may change alone."""
    try:
        rows.append(_row(name, entry.stat(follow_symlinks=False)))
        if entry.is_symlink():
            rows.append(_row(f"{name}@", entry.stat()))
    except FileNotFoundError:
        # Deleted while we looked (or a dangling link): its absence shows in the rows.
        return


def _row(name: str, found: os.stat_result) -> Row:
    return (
        name,
        found.st_mode,
        found.st_size,
        found.st_mtime_ns,
        found.st_ctime_ns,
        found.st_ino,
    )


def _digest(rows: tuple[Row, ...]) -> str:
    return hashlib.blake2b(repr(rows).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _is_content(row: Row) -> bool:
    """A file that is not hidden: hidden ones are temporary files of copying tools."""
    name = row[0].rpartition("/")[2]
    return bool(name) and not name.startswith(".") and not stat.S_ISDIR(row[1])


def _is_directory(entry: os.DirEntry[str]) -> bool:
    """Whether it is a directory or a link to one."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _linked(entry: os.DirEntry[str]) -> str:
    return "a symbolic link" if entry.is_symlink() else ""


def _bad_model_name(name: str) -> str:
    if name.startswith("."):
        return "a model's name does not begin with a dot"
    if not name.isprintable():
        return "a model's name has printable characters only"
    if len(name) > MAX_NAME:
        return f"a model's name has at most {MAX_NAME} characters"
    return ""


def _words(error: OSError) -> str:
    """Without the path that the error's own text has."""
    if isinstance(error, FileNotFoundError):
        return "does not exist"
    if isinstance(error, NotADirectoryError):
        return "is not a directory"
    if isinstance(error, PermissionError):
        return "may not be read (permission denied)"
    return f"cannot be read ({os.strerror(error.errno) if error.errno else 'I/O error'})"
