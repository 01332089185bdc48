"""Directories of models as a source.

A scan says what is there and whether it is whole; it decides nothing and reads no file but
new manifests. What it remembers is only how long each tree was quiet.
"""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from serving.registry import tree
from serving.registry.layout import is_model
from serving.registry.look import A_LINK, ModelLook, Place
from serving.registry.names import MODEL_FILE, passed_over, why_no_model
from serving.registry.purpose import (
    Purpose,
    is_loose_foreign,
    is_loose_model,
    is_systems,
    not_onnx,
)
from serving.registry.settling import Clocks, Seen
from serving.registry.snapshot import (
    Closely,
    FoundModel,
    FoundVersion,
    Ignored,
    Snapshot,
    SourceError,
)
from serving.registry.tree import Row

__all__ = [
    "DirectorySource",
    "FoundModel",
    "FoundVersion",
    "Ignored",
    "Snapshot",
    "SourceError",
]

# Scans between two full looks at a model where all has settled.
FULL_LOOK = 10
# Model files beside the models' folders that are told of.
MOST_LOOSE = 20
# More versions than so many a scan make them rarer.
_PER_SCAN = 50


@dataclass(slots=True)
class _Known:
    """A model as the last look found it."""

    place: Place
    found: FoundModel
    ignored: tuple[Ignored, ...]
    directory: Row
    # The look before it had found the directory with the same row: a second change
    # within the file system's clock tick would not show in the row.
    confirmed: bool
    turns: int
    seen: dict[str, Seen]
    links: tuple[tuple[str, str], ...]
    # All its versions.
    whole: bool
    # Why it is no model; "" where it is one.
    passed_over: str = ""

    def may_stand(self, directory: Row) -> bool:
        found = self.found
        if not (self.confirmed and self.turns > 0 and self.directory == directory):
            return False
        if self.passed_over:
            # A file in a numbered folder, which doesn't show in the row, may change that.
            return not found.versions
        return (
            found.config_settled
            and not found.error
            and self.whole
            and all(os.path.realpath(link) == target for link, target in self.links)
        )


class DirectorySource:
    """Models in or below ``roots`` (``layout``). A version with a manifest is whole when its
    files are there with their sizes; any other when nothing changed in it for ``settle_s``
    seconds.

    "Changed" is any name, size, mtime, ctime or inode. Quiet is what we observed
    by the monotonic clock; only at first sight the wall clock's distance to the
    newest ctime counts instead: without a bound in the first scan, so that what lay
    there before the start is whole at once, later back to the scan before (the wall
    clock may have jumped). A ctime in the future counts as just changed.

    A model where all has settled costs one stat a scan: versions that come or go
    change its directory, and then those that were whole cost one stat each. Files changed
    in place are found every ``FULL_LOOK`` scans, or at once in the models that the caller
    wants watched closely.

    ``follow_symlinks``: folders of models and versions may be links. Each is resolved once a
    scan, and what is found lies at the resolved path, so a link that is swapped meanwhile
    never gives half of the one and half of the other.
    """

    def __init__(
        self,
        roots: Sequence[Path],
        settle_s: float,
        wall: Callable[[], float] = time.time,
        mono: Callable[[], float] = time.monotonic,
        *,
        follow_symlinks: bool = False,
    ) -> None:
        self.roots = tuple(dict.fromkeys(Path(root).absolute() for root in roots))
        self.place = self.roots[0] if self.roots else Path()
        self._settle_s = settle_s
        self._wall = wall
        self._mono = mono
        self._follow = follow_symlinks
        self._known: dict[str, _Known] = {}
        self._last = Snapshot()
        self._scanned = float("-inf")

    def scan(self, closely: Closely = (), at_once: Closely = ()) -> Snapshot:
        """What is there now: the same object as last time when nothing changed.

        ``closely``: models, by name, and versions, by name and number, whose every file is
        looked at this time. ``at_once``: those of which somebody says that their files are
        there: what this scan finds of them, and of their models' configurations, has settled.
        """
        now = self._mono()
        clocks = Clocks(now, self._wall(), self._settle_s, now - self._scanned)
        self._scanned = now
        watched = _by_model((*closely, *at_once))
        look = _Look(self._known, watched, _by_model(at_once), clocks, self._follow)
        for root in self.roots:
            self.place = root
            look.root(root)
        self._known = look.known
        snapshot = look.snapshot()
        if snapshot != self._last:
            self._last = snapshot
        return self._last


@dataclass(slots=True)
class _Look:
    """One scan in progress."""

    # By the model directory's path, as text: it is hashed for every model in every scan.
    before: dict[str, _Known]
    # Model -> numbers to look at closely; 0 stands for all.
    closely: Mapping[str, Collection[int]]
    at_once: Mapping[str, Collection[int]]
    clocks: Clocks
    follow: bool
    known: dict[str, _Known] = field(default_factory=dict)
    models: dict[str, FoundModel] = field(default_factory=dict)
    ignored: list[Ignored] = field(default_factory=list)
    errors: list[SourceError] = field(default_factory=list)
    passed_over: list[Ignored] = field(default_factory=list)
    settles_in: float | None = None

    def snapshot(self) -> Snapshot:
        return Snapshot(
            models=tuple(self.models[name] for name in sorted(self.models)),
            ignored=tuple(sorted(self.ignored, key=lambda i: i.path)),
            errors=tuple(self.errors),
            passed_over=tuple(sorted(self.passed_over, key=lambda i: i.path)),
            settles_in=self.settles_in,
        )

    def root(self, root: Path) -> None:
        real = os.path.realpath(root) if self.follow else str(root)
        try:
            entries = tree.list_entries(real)
        except OSError as error:
            self.errors.append(SourceError(root, tree.words(error)))
            return
        if is_model(entries, self.follow):
            self._found(str(root), Place(root.name, root, real, True, self.follow))
            return
        for entry in entries:
            if entry.is_symlink():
                self._link(root, entry)
            elif tree.is_directory(entry) and not passed_over(entry.name, self.follow):
                self._subfolder(root, entry)
        self._loose_files(root, entries)

    def _subfolder(self, root: Path, entry: os.DirEntry[str]) -> None:
        if is_systems(entry.name):
            self.passed_over.append(Ignored(root / entry.name, "a folder of the system's own"))
        else:
            self._folder(root, entry, entry.path)

    def _loose_files(self, root: Path, entries: Sequence[os.DirEntry[str]]) -> None:
        """Model files that lie where models' folders do: each a model that can't be served,
        under the name that it would have."""
        files = [e for e in entries if not tree.is_directory(e)]
        foreign = [e.name for e in files if is_loose_foreign(e.name)]
        for file in foreign[:MOST_LOOSE]:
            self.ignored.append(Ignored(root / file, not_onnx(file, f"NAME/1/{MODEL_FILE}")))
        loose = [e for e in files if is_loose_model(e.name)]
        for entry in loose[:MOST_LOOSE]:
            name = entry.name.rpartition(".")[0]
            if name in self.models:
                reason = f"to serve it, move it into a folder of a new version of '{name}'"
                self.ignored.append(Ignored(root / entry.name, reason))
            elif reason := why_no_model(name):
                self.ignored.append(Ignored(root / entry.name, reason))
            else:
                words = f"'{entry.name}' lies beside the models: move it to {name}/1/{MODEL_FILE}"
                self.models[name] = FoundModel(name, root / name, error=words)

    def _link(self, root: Path, entry: os.DirEntry[str]) -> None:
        if not tree.is_directory(entry) or passed_over(entry.name, self.follow):
            return
        if self.follow:
            self._folder(root, entry, os.path.realpath(entry.path))
        else:
            self.ignored.append(Ignored(root / entry.name, A_LINK))

    def _folder(self, root: Path, entry: os.DirEntry[str], real: str) -> None:
        """Every scan comes here for every model: what is known is made only once."""
        known = self.before.get(entry.path)
        if known and known.place.real == real and entry.name not in self.models:
            self._model(entry.path, known.place, known)
        else:
            place = Place(entry.name, root / entry.name, real, False, self.follow)
            self._found(entry.path, place)

    def _found(self, key: str, place: Place) -> None:
        known = self.before.get(key)
        if reason := why_no_model(place.name):
            self.ignored.append(Ignored(place.path, reason))
        elif place.name in self.models:
            path = self.models[place.name].path
            words = "it is in more than one model directory"
            self.models[place.name] = FoundModel(place.name, path, error=words)
        else:
            self._model(key, place, known if known and known.place == place else None)

    def _model(self, key: str, place: Place, known: _Known | None) -> None:
        """What is known of it, looked at again where that may be out of date."""
        try:
            directory = tree.row("", os.lstat(place.real))
            if known and known.may_stand(directory) and place.name not in self.closely:
                known.turns -= 1
            else:
                known = self._look_at(place, directory, known)
        except OSError as error:
            self._unreadable(key, place, known, tree.words(error))
            return
        self.known[key] = known
        if known.passed_over:
            self.passed_over.append(Ignored(place.path, known.passed_over))
            return
        self.ignored += known.ignored
        self.models[place.name] = known.found

    def _unreadable(self, key: str, place: Place, known: _Known | None, why: str) -> None:
        """A model as long as it was one before: what is there is unknown, not absent."""
        if place.itself or (known is not None and not known.passed_over):
            error = FoundModel(place.name, place.path, error=f"its directory {why}")
            self.models[place.name] = error
        else:
            self.passed_over.append(Ignored(place.path, f"it {why}"))
        if known is not None:
            self.known[key] = known

    def _look_at(self, place: Place, directory: Row, known: _Known | None) -> _Known:
        closely, at_once = self.closely.get(place.name, ()), self.at_once.get(place.name, ())
        deep = known is None or known.turns <= 0 or 0 in closely
        before = known.seen if known else {}
        look = ModelLook(place, deep, closely, at_once, before, self.clocks)
        found = look.found()
        meant = _standing(known, directory, look) or look.purpose()
        if meant.error and not found.error:
            found = FoundModel(place.name, place.path, error=meant.error)
        if look.settles_in is not None and not meant.passed_over:
            self.settles_in = min(look.settles_in, self.settles_in or look.settles_in)
        return _Known(
            place=place,
            # The old object where it is equal, so that equal snapshots compare fast.
            found=known.found if known and known.found == found else found,
            ignored=tuple(look.ignored),
            directory=directory,
            confirmed=known is not None and known.directory == directory,
            turns=_turns(place.name, known, deep),
            seen=look.seen,
            links=tuple(look.links),
            whole=all(version.whole for version in found.versions),
            passed_over="" if found.error else meant.passed_over,
        )


def _standing(known: _Known | None, directory: Row, look: ModelLook) -> Purpose | None:
    """What the folder was for, as long as nothing moved where this look would see it."""
    if known is None or not known.passed_over or look.deep or known.directory != directory:
        return None
    seen, before = look.seen, known.seen
    moved = seen.keys() != before.keys() or any(seen[key] is not before[key] for key in seen)
    return None if moved else Purpose(passed_over=known.passed_over)


def _by_model(closely: Closely) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for one in closely:
        name, number = (one, 0) if isinstance(one, str) else one
        found.setdefault(name, set()).add(number)
    return found


def _turns(name: str, known: _Known | None, deep: bool) -> int:
    """Scans until the next deep look. The first wait differs from model to model, so that
    deep looks spread over the scans."""
    if known is None:
        return zlib.crc32(name.encode(errors="replace")) % FULL_LOOK
    return max(FULL_LOOK, len(known.found.versions) // _PER_SCAN) if deep else known.turns - 1
