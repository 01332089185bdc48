"""The models of a model config list as a source. The list is replaced as a whole: by a call, or
when its file changes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from serving.errors import ConfigError
from serving.events import log
from serving.registry import tree
from serving.registry.directory import DirectorySource
from serving.registry.model_list.entries import NO_MODELS, ModelList, changed_platform
from serving.registry.model_list.reading import read_list_file
from serving.registry.snapshot import Closely, FoundModel, Ignored, Snapshot
from serving.registry.tree import Row
from serving.settings.registry import RegistrySettings

# Names taken out of lists that are remembered: until what they served has gone.
_MOST_WITHDRAWN = 20_000
# That the log names at once.
_MOST_NAMED = 20


@dataclass(frozen=True, slots=True)
class ListTerms:
    """``poll_s``: between two looks at the list's file, 0: never; the clocks are in seconds."""

    settings: RegistrySettings
    poll_s: float
    wall: Callable[[], float]
    mono: Callable[[], float]


class ModelListFile:
    """The file that the list is read from, and whether it changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._row = self._look()

    def read(self) -> ModelList:
        """Raises ConfigError."""
        self._row = self._look()
        return read_list_file(self.path)

    def has_changed(self) -> bool:
        return self._look() != self._row

    def _look(self) -> Row | None:
        try:
            return tree.row("", self.path.stat())
        except OSError:
            return None


class ModelListSource:
    """See ``Source``. Safe from any thread: the source's own scans, others ``replace``.

    ``file`` None: the list comes by call only. Raises ConfigError for a file that can't be
    followed to begin with; later such a one leaves the list as it was, and is told of.
    """

    def __init__(self, file: ModelListFile | None, terms: ListTerms) -> None:
        self._file, self._terms = file, terms
        self.place = file.path if file is not None else Path()
        self._lock = threading.Lock()
        self._list = NO_MODELS
        self._withdrawn: dict[str, None] = {}
        self._gone: frozenset[str] = frozenset()
        self._wrong = ""
        self._reread = False
        self._read_at = terms.mono()
        # The scans' own: what lies in the base paths, and what was said of it last.
        self._folders = DirectorySource(
            (),
            terms.settings.settle_s,
            wall=terms.wall,
            mono=terms.mono,
            follow_symlinks=terms.settings.follow_symlinks,
        )
        # What they were found to be, by the list that was followed then, and what is told of each.
        self._followed = NO_MODELS
        self._told: dict[str, tuple[FoundModel, FoundModel]] = {}
        self._everything_at = float("-inf")
        self._last = Snapshot()
        if file is not None:
            self.replace(file.read(), str(file.path))

    # From any thread.

    @property
    def current(self) -> ModelList:
        return self._list

    def replace(self, models: ModelList, by: str) -> None:
        """Follow this list from the next scan on; ``by``: whose it is. Raises ConfigError where a
        model changes its platform: then nothing changes."""
        with self._lock:
            before = self._take(models)
        _tell(before, models, by)

    def reread(self) -> None:
        """Read the file with the next scan, whatever it looks like."""
        with self._lock:
            self._reread = True

    def _take(self, models: ModelList) -> ModelList:
        """The list before."""
        before = self._list
        if why := changed_platform(before, models):
            raise ConfigError(why)
        self._list, self._wrong = models, ""
        removed = before.entries.keys() - models.entries.keys()
        self._withdrawn |= dict.fromkeys(sorted(removed))
        for name in (*models.entries, *list(self._withdrawn)[:-_MOST_WITHDRAWN]):
            self._withdrawn.pop(name, None)
        self._gone = frozenset(self._withdrawn)
        return before

    def _follow_file(self) -> None:
        """In the source's own thread: its disk may hang."""
        file, now = self._file, self._terms.mono()
        poll_s = self._terms.poll_s
        with self._lock:
            asked, self._reread = self._reread, False
        if file is None or not (asked or (poll_s and now >= self._read_at + poll_s)):
            return
        self._read_at = now
        if not (asked or file.has_changed()):
            return
        try:
            models = file.read()
            self.replace(models, str(file.path))
        except ConfigError as error:
            self._wrong = f"the model config list stays as it was: {error}"

    # The source's thread.

    def scan(
        self,
        closely: Closely = (),
        at_once: Closely = (),
        *,
        touched: Collection[str] = (),
        whole: bool = True,
    ) -> Snapshot:
        """See ``Source``. Nothing is reported of base paths: all of them are gone through once in
        an interval, whatever is said of the rest."""
        self._follow_file()
        with self._lock:
            models, withdrawn = self._list, self._gone
        now = self._terms.mono()
        if models is not self._followed:
            self._follow(models)
        elif not whole and now < self._everything_at:
            return self._snapshot(self._folders.scan(closely, at_once, whole=False), withdrawn)
        # A look that is due may come a moment early, and is one at all of them.
        self._everything_at = now + self._terms.settings.scan_interval_s / 2
        return self._snapshot(self._folders.scan(closely, at_once), withdrawn)

    def _follow(self, models: ModelList) -> None:
        self._followed = models
        entries = models.entries
        self._folders.named = {name: entry.base_path for name, entry in entries.items()}
        self._told = {name: told for name, told in self._told.items() if name in entries}

    def _snapshot(self, seen: Snapshot, withdrawn: frozenset[str]) -> Snapshot:
        """The one before where nothing changed."""
        told = (Ignored(self.place, self._wrong),) if self._wrong else ()
        snapshot = replace(
            seen,
            models=tuple(map(self._as_listed, seen.models)),
            ignored=(*told, *seen.ignored),
            withdrawn=withdrawn,
        )
        if snapshot != self._last:
            self._last = snapshot
        return self._last

    def _as_listed(self, found: FoundModel) -> FoundModel:
        """The same object as before where nothing changed of it: who compares it is done."""
        listed = self._followed.entries[found.name].listed
        before = self._told.get(found.name)
        # Equal, but not the same, is one that is not there: it is made anew with each scan.
        if before and before[1].listed == listed and (before[0] is found or before[0] == found):
            return before[1]
        told = replace(found, listed=listed)
        self._told[found.name] = (found, told)
        return told


def _tell(before: ModelList, after: ModelList, by: str) -> None:
    added = after.entries.keys() - before.entries.keys()
    removed = before.entries.keys() - after.entries.keys()
    changed = [n for n, e in after.entries.items() if n not in added and before.entries[n] != e]
    known = set(before.notes)
    _warn([note for note in after.notes if note not in known])
    log.info(
        "model_config_list",
        source=by,
        models=len(after.entries),
        added=sorted(added)[:_MOST_NAMED],
        changed=sorted(changed)[:_MOST_NAMED],
        removed=sorted(removed)[:_MOST_NAMED],
    )


def _warn(notes: Sequence[str]) -> None:
    """Of what has no effect, where the list before did not say so already."""
    for note in notes[:_MOST_NAMED]:
        log.warning("model_config_list_without_effect", reason=note)
    more = len(notes) - _MOST_NAMED
    if more > 0:
        log.warning("model_config_list_without_effect", reason=f"and {more} more such", more=more)
