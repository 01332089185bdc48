"""What the directories hold, as the manager's loop last heard."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from serving.events import log
from serving.registry.snapshot import FoundModel, Ignored, Snapshot
from serving.registry.sources import Sources

# Folders passed over that the log names at once.
_MOST_NAMED = 20


@dataclass(frozen=True, slots=True)
class Sight:
    """How well the registry can be read. ``age_s``: seconds since the last scan began, None before
    the first; ``unreadable``: directories that can't be listed; ``ignored``: entries and models
    that could not be made out."""

    age_s: float | None
    unreadable: int
    ignored: int


class Disk:
    """What the registry's sources last said. ``mono``: a clock in seconds."""

    def __init__(self, sources: Sources, mono: Callable[[], float]) -> None:
        self._sources, self._mono = sources, mono
        self._snapshot: Snapshot | None = None
        self._found: dict[str, FoundModel] = {}
        self._told: set[tuple[str, Path, str]] = set()
        self._passed_over: set[Path] = set()

    @property
    def seen(self) -> bool:
        """Whether anything was said at all."""
        return self._snapshot is not None

    @property
    def complete(self) -> bool:
        """Whether every source has said something."""
        return self._sources.complete

    @property
    def unseen(self) -> bool:
        """Whether a model that was not found may be there all the same."""
        return self._snapshot is None or not self.complete or bool(self._snapshot.errors)

    @property
    def known(self) -> bool:
        """Whether every source has said what there is, or is stuck: nobody waits for those."""
        return self._snapshot is not None and self._sources.heard

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
        looked = self._sources.looked()
        age_s = None if looked is None else self._mono() - looked
        return Sight(age_s, len(snapshot.errors), ignored)

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

    def refresh(self) -> bool:
        """Take up what was said since the last time; whether anything is other than before."""
        snapshot = self._sources.snapshot()
        if snapshot is None or snapshot is self._snapshot:
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
