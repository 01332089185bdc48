"""The last look at the directories, and when the next one is due."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from serving.events import log
from serving.registry.snapshot import Closely, FoundModel, Ignored, Snapshot

# The share of time that scans may take; beyond it they come less often, but never so
# seldom that a new version misses its five seconds (settle time 3 s).
_SCAN_SHARE = 0.003
_LONGEST_STRETCH_S = 1.5
# Scans hurried because something is about to settle keep this distance.
_SHORTEST_WAIT_S = 0.05
# Hurried scans may take at most this share of a core.
_HURRIED_SHARE = 0.05
# Folders passed over that the log names at once.
_MOST_NAMED = 20


class Source(Protocol):
    def scan(self, closely: Closely = ..., at_once: Closely = ...) -> Snapshot: ...
    def fingerprint(self, version: Path) -> str: ...


@dataclass(frozen=True, slots=True)
class Sight:
    """How well the registry can be read. ``age_s``: seconds since the last scan began, None before
    the first; ``unreadable``: directories that can't be listed; ``ignored``: entries and models
    that could not be made out."""

    age_s: float | None
    unreadable: int
    ignored: int


class Disk:
    """What the last scan of the registry found, and when the next is due.

    ``mono`` and ``cpu`` are clocks in seconds, the second of this thread's CPU time."""

    def __init__(
        self,
        source: Source,
        interval_s: float,
        mono: Callable[[], float],
        cpu: Callable[[], float],
    ) -> None:
        self._source, self._interval_s = source, interval_s
        self._mono, self._cpu = mono, cpu
        self._snapshot: Snapshot | None = None
        self._found: dict[str, FoundModel] = {}
        self._told: set[tuple[str, Path, str]] = set()
        self._passed_over: set[Path] = set()
        self._looked = float("-inf")
        self.next_scan = float("-inf")
        self._soonest_scan = float("-inf")

    @property
    def seen(self) -> bool:
        """Whether there was a look at all."""
        return self._snapshot is not None

    @property
    def unseen(self) -> bool:
        """Whether a model that was not found may be there all the same."""
        return self._snapshot is None or bool(self._snapshot.errors)

    @property
    def wrong(self) -> bool:
        """Whether a directory or a model in it could not be made out."""
        return self.unseen or any(found.error for found in self._found.values())

    @property
    def sight(self) -> Sight:
        """How well the directories can be seen. From any thread."""
        snapshot = self._snapshot
        if snapshot is None:
            return Sight(None, 0, 0)
        ignored = len(snapshot.ignored) + sum(bool(found.error) for found in snapshot.models)
        return Sight(self._mono() - self._looked, len(snapshot.errors), ignored)

    @property
    def ignored(self) -> Sequence[Ignored]:
        """What could not be made out, and roots that can't be read. From any thread."""
        snapshot = self._snapshot or Snapshot()
        roots = (Ignored(error.root, error.reason) for error in snapshot.errors)
        return (*roots, *snapshot.ignored)

    @property
    def passed_over(self) -> Sequence[Ignored]:
        """Folders that are no models. From any thread."""
        return self._snapshot.passed_over if self._snapshot is not None else ()

    @property
    def models(self) -> Collection[FoundModel]:
        return self._found.values()

    def find(self, model: str) -> FoundModel | None:
        return self._found.get(model)

    def settling(self) -> set[str]:
        """The models that something is being copied into."""
        return {
            found.name
            for found in self._found.values()
            if not found.config_settled or any(version.settling for version in found.versions)
        }

    def hurry(self) -> None:
        """Something changed: look as soon as looks may follow one another."""
        self.next_scan = min(self.next_scan, max(self._soonest_scan, self._mono()))

    def scan(self, closely: Closely, at_once: Closely = ()) -> bool:
        """Look; whether anything is other than before. ``closely``: models and versions whose
        every file is looked at; ``at_once``: those whose files need not settle."""
        before, cpu_before = self._mono(), self._cpu()
        snapshot = self._source.scan(closely=closely, at_once=at_once)
        cost = self._cpu() - cpu_before
        self._looked = before
        interval = max(self._interval_s, min(cost / _SCAN_SHARE, _LONGEST_STRETCH_S))
        if snapshot.settles_in is not None:
            interval = min(interval, max(snapshot.settles_in, _SHORTEST_WAIT_S))
        self.next_scan = before + interval
        self._soonest_scan = before + max(_SHORTEST_WAIT_S, cost / _HURRIED_SHARE)
        if snapshot is self._snapshot:
            return False
        self._snapshot = snapshot
        self._found = {found.name: found for found in snapshot.models}
        self._tell(snapshot)
        return True

    def _tell(self, snapshot: Snapshot) -> None:
        """Each thing that is wrong once, until it is right again."""
        wrong = {
            *(("registry_unreadable", e.root, e.reason) for e in snapshot.errors),
            *(("registry_entry_ignored", i.path, i.reason) for i in snapshot.ignored),
            *(("model_unreadable", m.path, m.error) for m in snapshot.models if m.error),
        }
        for event, path, reason in sorted(wrong - self._told):
            log.warning(event, path=str(path), reason=reason)
        self._told = wrong
        self._tell_passed_over(snapshot)

    def _tell_passed_over(self, snapshot: Snapshot) -> None:
        """One line for the folders that are new, however many and whatever becomes of them."""
        folders = {one.path: one.reason for one in snapshot.passed_over}
        new = sorted(folders.keys() - self._passed_over)
        self._passed_over = set(folders)
        if new:
            few = [f"{path.name}: {folders[path]}" for path in new[:_MOST_NAMED]]
            log.info("registry_folders_passed_over", folders=few, more=len(new) - len(few))
