"""One scan of model directories in progress."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from serving.registry import tree
from serving.registry.known import Known, first_turns, unreadable
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
from serving.registry.settling import Clocks
from serving.registry.snapshot import IN_TWO, FoundModel, Ignored, Snapshot, SourceError
from serving.registry.tree import Row

# Model files beside the models' folders that are told of.
MOST_LOOSE = 20


@dataclass(frozen=True, slots=True)
class Terms:
    """What is to be looked at beyond what looks changed. ``closely``, ``at_once``: by model the
    numbers, 0 for all; ``touched``: models' folders in which something changed that need not
    show in their rows."""

    closely: Mapping[str, Collection[int]]
    at_once: Mapping[str, Collection[int]]
    touched: Collection[str]
    clocks: Clocks
    follow: bool


@dataclass(slots=True)
class Roots:
    """What a scan of everything found that is no single folder's."""

    # In place of what their folders say, or where there is none.
    models: dict[str, FoundModel] = field(default_factory=dict)
    ignored: list[Ignored] = field(default_factory=list)
    errors: list[SourceError] = field(default_factory=list)
    passed_over: list[Ignored] = field(default_factory=list)
    # Folders, by their keys, that could not be read when they were seen first, and their names.
    unread: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Scan:
    """Of everything by ``root``, of single folders by ``some``. ``known`` is what it looked at:
    by the folder's path, as text, for it is hashed for every model in every scan. ``looked``: what
    it need not look at a second time."""

    before: Mapping[str, Known]
    terms: Terms
    looked: Mapping[str, Known] = field(default_factory=dict)
    known: dict[str, Known] = field(default_factory=dict)
    roots: Roots = field(default_factory=Roots)
    # Of everything: the models so far.
    models: dict[str, FoundModel] = field(default_factory=dict)

    def some(self, keys: Iterable[str]) -> None:
        """Those that were known before."""
        for key in keys:
            self._model(key, self.before[key].place, self.before[key])

    def named(self, name: str, path: str) -> None:
        """The model ``name``, which is the directory at ``path``, by whatever links."""
        # Two names may have the same one.
        key, real = f"{name}\0{path}", os.path.realpath(path)
        known = self.before.get(key)
        if known is not None and known.place.real == real:
            self._model(key, known.place, known)
            return
        terms = self.terms
        self.terms = replace(terms, clocks=replace(terms.clocks, since_last=float("inf")))
        self._model(key, Place(name, Path(path), real, True, terms.follow), None)
        self.terms = terms

    def root(self, root: Path) -> None:
        real = os.path.realpath(root) if self.terms.follow else str(root)
        try:
            entries = tree.list_entries(real)
        except OSError as error:
            self.roots.errors.append(SourceError(root, tree.words(error)))
            return
        if is_model(entries, self.terms.follow):
            self._found(str(root), Place(root.name, root, real, True, self.terms.follow))
            return
        for entry in entries:
            if entry.is_symlink():
                self._link(root, entry)
            elif tree.is_directory(entry) and not passed_over(entry.name, self.terms.follow):
                self._subfolder(root, entry)
        self._loose_files(root, entries)

    def _subfolder(self, root: Path, entry: os.DirEntry[str]) -> None:
        if is_systems(entry.name):
            words = "a folder of the system's own"
            self.roots.passed_over.append(Ignored(root / entry.name, words))
        else:
            self._folder(root, entry, entry.path)

    def _loose_files(self, root: Path, entries: Collection[os.DirEntry[str]]) -> None:
        """Model files that lie where models' folders do: each a model that can't be served,
        under the name that it would have."""
        files = [e for e in entries if not tree.is_directory(e)]
        foreign = [e.name for e in files if is_loose_foreign(e.name)]
        for file in foreign[:MOST_LOOSE]:
            self._ignore(root / file, not_onnx(file, f"NAME/1/{MODEL_FILE}"))
        loose = [e for e in files if is_loose_model(e.name)]
        for entry in loose[:MOST_LOOSE]:
            name = entry.name.rpartition(".")[0]
            if name in self.models:
                reason = f"to serve it, move it into a folder of a new version of '{name}'"
                self._ignore(root / entry.name, reason)
            elif reason := why_no_model(name):
                self._ignore(root / entry.name, reason)
            else:
                words = f"'{entry.name}' lies beside the models: move it to {name}/1/{MODEL_FILE}"
                self._put(FoundModel(name, root / name, error=words))

    def _ignore(self, path: Path, reason: str) -> None:
        self.roots.ignored.append(Ignored(path, reason))

    def _put(self, found: FoundModel) -> None:
        self.models[found.name] = self.roots.models[found.name] = found

    def _link(self, root: Path, entry: os.DirEntry[str]) -> None:
        if not tree.is_directory(entry) or passed_over(entry.name, self.terms.follow):
            return
        if self.terms.follow:
            self._folder(root, entry, os.path.realpath(entry.path))
        else:
            self._ignore(root / entry.name, A_LINK)

    def _folder(self, root: Path, entry: os.DirEntry[str], real: str) -> None:
        """Every scan of everything comes here for every model: what is known is made only once."""
        known = self.before.get(entry.path)
        if known and known.place.real == real and entry.name not in self.models:
            self._model(entry.path, known.place, known)
        else:
            place = Place(entry.name, root / entry.name, real, False, self.terms.follow)
            self._found(entry.path, place)

    def _found(self, key: str, place: Place) -> None:
        known = self.before.get(key)
        if reason := why_no_model(place.name):
            self._ignore(place.path, reason)
        elif place.name in self.models:
            self._put(FoundModel(place.name, self.models[place.name].path, error=IN_TWO))
        else:
            self._model(key, place, known if known and known.place == place else None)

    def _model(self, key: str, place: Place, known: Known | None) -> None:
        """What is known of it, looked at again where that may be out of date."""
        done = self.looked.get(key)
        if done is not None and done.place == place:
            self._keep(key, done)
            return
        try:
            directory = tree.row("", os.lstat(place.real))
            if known and not self._is_asked(key, place) and known.may_stand(directory):
                known.turns -= 1
                if known.settles_in is not None:
                    # Another object: what was said of it before is compared with this.
                    known = replace(known, settles_in=None)
            else:
                known = self._look_at(key, place, directory, known)
        except OSError as error:
            known = self._unreadable(key, place, known, tree.words(error))
        if known is not None:
            self._keep(key, known)

    def _keep(self, key: str, known: Known) -> None:
        self.known[key] = known
        if not known.passed_over:
            self.models[known.place.name] = known.found

    def _is_asked(self, key: str, place: Place) -> bool:
        return place.name in self.terms.closely or key in self.terms.touched

    def _unreadable(self, key: str, place: Place, known: Known | None, why: str) -> Known | None:
        if known is not None:
            return known.unreadable(why)
        self.roots.unread[key] = place.name
        if place.itself:
            self._put(unreadable(place, why))
        else:
            self.roots.passed_over.append(Ignored(place.path, f"it {why}"))
        return None

    def _look_at(self, key: str, place: Place, directory: Row, known: Known | None) -> Known:
        terms = self.terms
        closely, at_once = terms.closely.get(place.name, ()), terms.at_once.get(place.name, ())
        deep = known is None or known.turns <= 0 or 0 in closely
        before = known.seen if known else {}
        look = ModelLook(place, deep, closely, at_once, before, terms.clocks)
        found = look.found()
        standing = None if key in terms.touched else _standing(known, directory, look)
        meant = standing or look.purpose()
        if meant.error and not found.error:
            found = FoundModel(place.name, place.path, error=meant.error)
        after = Known(
            place=place,
            # The old object where it is equal, so that equal snapshots compare fast.
            found=known.found if known and known.found == found else found,
            ignored=tuple(look.ignored),
            directory=directory,
            confirmed=known is not None and known.directory == directory,
            turns=known.next_turns(deep=deep) if known else first_turns(place.name),
            seen=look.seen,
            links=tuple(look.links),
            linked=not place.itself and key != place.real,
            passed_over="" if found.error else meant.passed_over,
        )
        if not after.passed_over and not after.rests:
            after.settles_in = look.settles_in
        return after


def _standing(known: Known | None, directory: Row, look: ModelLook) -> Purpose | None:
    """What the folder was for, as long as nothing moved where this look would see it."""
    if known is None or not known.passed_over or look.deep or known.directory != directory:
        return None
    seen, before = look.seen, known.seen
    moved = seen.keys() != before.keys() or any(seen[key] is not before[key] for key in seen)
    return None if moved else Purpose(passed_over=known.passed_over)


def snapshot(known: Collection[Known], roots: Roots) -> Snapshot:
    """All of it together, sorted."""
    models = {one.place.name: one.found for one in known if not one.passed_over}
    models.update(roots.models)
    ignored = [i for one in known if not one.passed_over for i in one.ignored]
    passed = [Ignored(one.place.path, one.passed_over) for one in known if one.passed_over]
    waits = [one.settles_in for one in known if one.settles_in is not None]
    return Snapshot(
        models=tuple(models[name] for name in sorted(models)),
        ignored=tuple(sorted([*roots.ignored, *ignored], key=lambda i: i.path)),
        errors=tuple(roots.errors),
        passed_over=tuple(sorted([*roots.passed_over, *passed], key=lambda i: i.path)),
        settles_in=min(waits, default=None),
    )
