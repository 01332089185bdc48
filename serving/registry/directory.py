"""Directories of models as a source.

A scan says what is there and whether it is whole; it decides nothing and reads no file but
new manifests. What it remembers is only how long each tree was quiet.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from serving.registry import tree
from serving.registry.known import FULL_LOOK, Known
from serving.registry.scan import (
    MOST_LOOSE,
    Roots,
    Scan,
    Terms,
    snapshot,
)
from serving.registry.settling import Clocks
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
    "FULL_LOOK",
    "MOST_LOOSE",
    "DirectorySource",
    "FoundModel",
    "FoundVersion",
    "Ignored",
    "Snapshot",
    "SourceError",
]


class DirectorySource:
    """Models in or below ``roots`` (``layout``). A version with a manifest is whole when its
    files are there with their sizes; any other when nothing changed in it for ``settle_s``
    seconds.

    "Changed" is any name, size, mtime, ctime or inode. Quiet is what we observed
    by the monotonic clock; only at first sight the wall clock's distance to the
    newest ctime counts instead: without a bound in the first scan, so that what lay
    there before the start is whole at once, later back to the scan before (the wall
    clock may have jumped). A ctime in the future counts as just changed.

    A model where all has settled costs one stat a scan of everything: versions that come or
    go change its directory, and then those that were whole cost one stat each. Files changed
    in place are found every ``FULL_LOOK`` scans of everything, or at once in the models that
    the caller wants watched closely. Other scans cost one stat for each of ``roots``, and go
    through the models where something has not settled or was reported.

    ``named``: directories that are models of these names, whatever lies in them; may be other
    ones for the next scan. One that is new to a scan counts as seen by the first.

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
        named: Mapping[str, str] | None = None,
    ) -> None:
        self.roots = tuple(dict.fromkeys(Path(root).absolute() for root in roots))
        self.place = self.roots[0] if self.roots else Path()
        self._settle_s = settle_s
        self._wall = wall
        self._mono = mono
        self._follow = follow_symlinks
        self.named = named or {}
        self._known: dict[str, Known] = {}
        # As the last scan of everything found them.
        self._beside = Roots()
        # Of ``roots``, before a scan of everything; and whether another one began with the same
        # ones: a second change within the file system's clock tick would not show in them.
        self._rows: list[_RootRow] = []
        self._confirmed = False
        self._last = Snapshot()
        self._scanned = float("-inf")
        # Of ``_known``: by name, and those where something may change that nothing reports.
        self._keys: dict[str, list[str]] = {}
        self._restless: set[str] = set()

    def scan(
        self,
        closely: Closely = (),
        at_once: Closely = (),
        *,
        touched: Collection[str] = (),
        whole: bool = True,
    ) -> Snapshot:
        """What is there now: the same object as last time when nothing changed.

        ``closely``: models, by name, and versions, by name and number, whose every file is
        looked at this time. ``at_once``: those of which somebody says that their files are
        there: what this scan finds of them, and of their models' configurations, has settled.
        ``touched``: models' folders, as paths, that something was reported of. Not ``whole``:
        beside these only what has not settled, where that will do.
        """
        now = self._mono()
        clocks = Clocks(now, self._wall(), self._settle_s, now - self._scanned)
        self._scanned = now
        watched = _by_model((*closely, *at_once))
        terms = Terms(watched, _by_model(at_once), self._keys_of(touched), clocks, self._follow)
        keys = None if whole else self._some(terms)
        found = self._scan_all(terms) if keys is None else self._scan_some(terms, keys)
        if found != self._last:
            self._last = found
        return self._last

    def _keys_of(self, touched: Collection[str]) -> frozenset[str]:
        """A directory that was named is known by that name, and reported of by where it lies."""
        if not (touched and self._follow):
            return frozenset(touched)
        named = {os.path.realpath(root): str(root) for root in self.roots}
        return frozenset(touched).union(named[path] for path in touched if path in named)

    def _scan_all(self, terms: Terms, looked: Mapping[str, Known] | None = None) -> Snapshot:
        """``looked``: what of it this very scan has looked at."""
        look = Scan(self._known, terms, looked or {})
        for root in self.roots:
            self.place = root
            look.root(root)
        for name, path in self.named.items():
            look.named(name, path)
        self._known, self._beside = look.known, look.roots
        self._keys = {}
        for key, known in self._known.items():
            self._keys.setdefault(known.place.name, []).append(key)
        self._restless = {key for key, known in self._known.items() if not known.rests}
        return snapshot(self._known.values(), self._beside)

    def _some(self, terms: Terms) -> Collection[str] | None:
        """The folders that a scan must look at; None where it must look at everything."""
        if not self._stand() or self._is_unread(terms):
            return None
        # A name that is not there now was not there then.
        keys = self._restless.union(*(self._keys.get(name, ()) for name in terms.closely))
        keys.update(key for key in terms.touched if key in self._known)
        return keys if all(map(self._is_where_it_was, keys)) else None

    def _is_unread(self, terms: Terms) -> bool:
        """Whether it is about a folder of which nothing is known: that it may be read now shows in
        no row of its directory."""
        unread = self._beside.unread
        return not unread.keys().isdisjoint(terms.touched) or any(
            name in terms.closely for name in unread.values()
        )

    def _stand(self) -> bool:
        """Whether no folder of a model has come or gone since a scan of everything."""
        rows = [self._root_row(root) for root in self.roots]
        stood, self._confirmed = self._confirmed, rows == self._rows
        self._rows = rows
        return stood and self._confirmed

    def _root_row(self, root: Path) -> _RootRow:
        real = os.path.realpath(root) if self._follow else str(root)
        try:
            return real, tree.row("", Path(real).stat())
        except OSError:
            return real, None

    def _is_where_it_was(self, key: str) -> bool:
        """One that was named, and is known not to be there, is where it was."""
        known = self._known[key]
        if known.place.itself and (path := self.named.get(known.place.name)) is not None:
            is_missing = bool(known.found.error)
            return os.path.realpath(path) == known.place.real and (
                is_missing or os.path.lexists(known.place.real)
            )
        real = os.path.realpath(key) if known.linked else known.place.real
        return real == known.place.real and os.path.lexists(real)

    def _scan_some(self, terms: Terms, keys: Collection[str]) -> Snapshot:
        look = Scan(self._known, terms)
        look.some(sorted(keys))
        before = {key: self._known[key] for key in keys}
        if any(bool(before[key].passed_over) != bool(look.known[key].passed_over) for key in keys):
            # Which names there are is another thing now, for files that lie beside it.
            return self._scan_all(terms, look.known)
        self._known.update(look.known)
        self._restless = {key for key, known in look.known.items() if not known.rests}
        if all(before[key].says_as(look.known[key]) for key in keys):
            return self._last
        return snapshot(self._known.values(), self._beside)


# Where a root lies, and its own row where it has one.
_RootRow = tuple[str, Row | None]


def _by_model(closely: Closely) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for one in closely:
        name, number = (one, 0) if isinstance(one, str) else one
        found.setdefault(name, set()).add(number)
    return found
