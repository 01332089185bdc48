"""One look at one model: its versions, whether they are whole, and its configuration's stamp."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from serving.registry import tree
from serving.registry.folder_origin import FolderOrigin
from serving.registry.layout import BELOW, DIRECT, ITSELF
from serving.registry.manifest import MANIFEST_NAME, Manifest, ManifestError, read_manifest
from serving.registry.names import (
    MODEL_FILE,
    SIDE_FOLDERS,
    UNFINISHED,
    is_beside,
    is_config,
    is_digits,
    passed_over,
    version_number,
)
from serving.registry.purpose import DEPTH, MOST, Purpose, purpose
from serving.registry.settling import Clocks, Seen, left, observe
from serving.registry.snapshot import FoundModel, FoundVersion, Ignored
from serving.registry.tree import Row, Rows, UnfitError

A_LINK = "a symbolic link, and the setting registry.follow_symlinks is off"

_EMPTY = "its directory is empty"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model lies. ``path`` as the operator wrote it, ``real`` as it was resolved in
    this scan; ``itself``: it is a directory that was named, not a folder below one."""

    name: str
    path: Path
    real: str
    itself: bool
    follow: bool


@dataclass(slots=True)
class ModelLook:
    """``deep``: every file is looked at; else versions that were whole get a glance at their
    folder only, but for the numbers in ``closely``. ``at_once``: the versions that need not
    settle, 0 for all; nor does the configuration where there is any."""

    place: Place
    deep: bool
    closely: Collection[int]
    at_once: Collection[int]
    before: dict[str, Seen]
    clocks: Clocks
    seen: dict[str, Seen] = field(default_factory=dict)
    ignored: list[Ignored] = field(default_factory=list)
    # Links to versions, and where they led.
    links: list[tuple[str, str]] = field(default_factory=list)
    settles_in: float | None = None
    # Whether its configuration, a file or a manifest leaves no doubt that it is a model.
    evident: bool = False

    def found(self) -> FoundModel:
        """Raises OSError where the directory cannot be listed."""
        entries = tree.list_entries(self.place.real)
        versions = dict(self._versions(entries))
        direct = any(e.name == MODEL_FILE for e in entries)
        beside = partial(is_beside, published=any(e.name == MANIFEST_NAME for e in entries))
        if direct and 1 in versions:
            self._ignore(MODEL_FILE, "there is a folder of version 1 beside it")
            direct = False
        if direct and (version := self._direct(beside)):
            versions[1] = version
        self.evident = self._is_evident(entries, list(versions.values()))
        stamp, settled, error = self._config(entries, None if not direct else beside)
        if not error and not self.seen[""].rows:
            # A publisher brings no configuration: there is nothing to wait for.
            settled = settled or any(v.whole and v.manifest for v in versions.values())
        return FoundModel(
            name=self.place.name,
            path=self.place.path,
            versions=tuple(v for _, v in sorted(versions.items())),
            config_stamp=stamp,
            config_settled=settled,
            error=error,
            layout=DIRECT if direct else ITSELF if self.place.itself else BELOW,
        )

    def _is_evident(
        self, entries: Sequence[os.DirEntry[str]], versions: Collection[FoundVersion]
    ) -> bool:
        return (
            self.place.itself
            or any(is_config(entry.name) for entry in entries)
            or any(v.manifest for v in versions)
            or any(v.why_not not in ("", _EMPTY) and not v.settling for v in versions)
            or any(_is_model_file(row) for seen in self.seen.values() for row in seen.rows)
        )

    def purpose(self) -> Purpose:
        """What the folder is for. Raises OSError where it can't be listed."""
        if self.evident:
            return Purpose()
        return purpose(self.place.name, tree.outline(self.place.real, DEPTH, MOST))

    def _ignore(self, name: str, reason: str) -> None:
        self.ignored.append(Ignored(self.place.path / name, reason))

    def _versions(self, entries: Sequence[os.DirEntry[str]]) -> list[tuple[int, FoundVersion]]:
        numbers: dict[int, str] = {}
        found = []
        # Of names for the same number the one without zeros.
        for entry in sorted(entries, key=lambda e: len(e.name)):
            number = self._number(entry)
            if number and number in numbers:
                self._ignore(entry.name, f"the same version as {numbers[number]}")
            elif number:
                numbers[number] = entry.name
                if version := self._version(number, entry):
                    found.append((number, version))
        return found

    def _number(self, entry: os.DirEntry[str]) -> int:
        """0 where the entry is no version."""
        name = entry.name
        if not tree.is_directory(entry):
            if is_digits(name):
                self._ignore(name, "not a directory")
            return 0
        if name in SIDE_FOLDERS or name == MODEL_FILE or passed_over(name, self.place.follow):
            return 0
        try:
            number = version_number(name, zeros=self.place.itself)
        except ValueError as why:
            self._ignore(name, str(why))
            return 0
        if entry.is_symlink() and not self.place.follow:
            self._ignore(name, A_LINK)
            return 0
        return number

    def _version(self, number: int, entry: os.DirEntry[str]) -> FoundVersion | None:
        """None where it vanished between two looks."""
        path = entry.path
        if entry.is_symlink():
            path = os.path.realpath(path)
            self.links.append((entry.path, path))
        seen = self.before.get(path)
        try:
            glance = seen if not self.deep and number not in self.closely else None
            if glance and glance.stands(tree.row("", Path(path).lstat())):
                self.seen[path] = glance
                return glance.found and _numbered(number, glance.found)
            return self._judge(number, path, tree.read_tree(path))
        except FileNotFoundError:
            return None
        except OSError as error:
            return self._unfit(number, path, f"its directory {tree.words(error)}")
        except UnfitError as unfit:
            return self._unfit(number, path, str(unfit))

    def _unfit(self, number: int, path: str, why: str) -> FoundVersion:
        return FoundVersion(number, self._origin(path), "", False, why)

    def _origin(self, path: str, manifest: Manifest | None = None) -> FolderOrigin:
        return FolderOrigin(Path(path), self.place.path, path == self.place.real, manifest)

    def _direct(self, beside: Callable[[str], bool]) -> FoundVersion | None:
        """Version 1, whose files lie in the model's own folder."""
        real = self.place.real
        try:
            return self._judge(1, real, tree.read_part(real, beside))
        except FileNotFoundError:
            return None
        except UnfitError as unfit:
            return self._unfit(1, real, str(unfit))

    def _judge(self, number: int, path: str, rows: Rows) -> FoundVersion:
        before = self.before.get(path)
        at_once = 0 in self.at_once or number in self.at_once
        seen = self.seen[path] = observe(before, rows, self._clocks(at_once))
        if seen is before and seen.whole and seen.found:
            return _numbered(number, seen.found)
        seen.found = self._verdict(number, path, seen)
        if not seen.whole:
            self._await(seen)
        return seen.found

    def _verdict(self, number: int, path: str, seen: Seen) -> FoundVersion:
        """Whole: as its manifest says, or without one, when nothing changed for a while."""
        settling = not seen.settled
        why, listed = "", any(_is_manifest(row) for row in seen.rows)
        manifest = None
        if not tree.has_content(seen.rows):
            why, settling = _EMPTY, False
        elif listed:
            why, manifest = self._by_manifest(path, seen)
        elif settling:
            why = f"its files changed less than {self.clocks.settle_s:g} s ago"
        fingerprint = "" if not tree.has_content(seen.rows) else seen.fingerprint
        origin = self._origin(path, manifest)
        size = sum(tree.file_sizes(seen.rows).values())
        return FoundVersion(
            number, origin, fingerprint, not why, why, bool(why) and settling, listed, size
        )

    def _by_manifest(self, path: str, seen: Seen) -> tuple[str, Manifest | None]:
        """In which way the files are not those of the manifest, "" where they are; and that.

        Files that it doesn't list don't count: nothing reads them.
        """
        if seen.found is not None and seen.settled and not self.deep:
            # Nothing changed since it was read.
            return seen.found.why_not, seen.found.origin.manifest
        try:
            manifest = read_manifest(Path(path))
        except ManifestError as error:
            return error.reason, None
        if manifest is None:
            return "its manifest vanished", None
        return manifest.differs(tree.file_sizes(seen.rows)), manifest

    def _config(
        self, entries: Sequence[os.DirEntry[str]], beside: Callable[[str], bool] | None
    ) -> tuple[str, bool, str]:
        """Stamp, whether it settled, and an error. ``beside``: which entries are meant; None: all
        that are no versions."""
        rows: list[Row] = []
        try:
            for entry in entries:
                if entry.name.startswith(UNFINISHED) or (beside and not beside(entry.name)):
                    continue
                if not tree.is_directory(entry):
                    tree.add(rows, entry.name, entry)
                elif entry.name == "warmup":
                    tree.walk(entry.path, "warmup/", 1, rows)
        except OSError as error:
            return "", False, f"a file beside its versions {tree.words(error)}"
        except UnfitError as unfit:
            return "", False, str(unfit)
        clocks = self._clocks(bool(self.at_once))
        seen = self.seen[""] = observe(self.before.get(""), tuple(sorted(rows)), clocks)
        if not seen.settled:
            self._await(seen)
        return seen.fingerprint, seen.settled, ""

    def _clocks(self, at_once: bool) -> Clocks:
        return replace(self.clocks, settle_s=0.0) if at_once else self.clocks

    def _await(self, seen: Seen) -> None:
        if not seen.settled:
            rest = left(seen, self.clocks)
            self.settles_in = rest if self.settles_in is None else min(rest, self.settles_in)


def _is_model_file(row: Row) -> bool:
    return row[0].rpartition("/")[2] == MODEL_FILE


def _is_manifest(row: Row) -> bool:
    return row[0] == MANIFEST_NAME or (row[0] == f"{MANIFEST_NAME}@" and stat.S_ISREG(row[1]))


def _numbered(number: int, found: FoundVersion) -> FoundVersion:
    """What was found of a folder that several versions link to, for one of them."""
    return found if found.number == number else replace(found, number=number)
