"""What the directories hold, as the manager's loop last heard."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
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
        # Models that something is being copied into, and those that could not be made out.
        self._settling: set[str] = set()
        self._broken: set[str] = set()

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
        snapshot = self._snapshot
        return snapshot is None or not self.complete or any(one.hides for one in snapshot.errors)

    @property
    def known(self) -> bool:
        """Whether every source has said what there is, or is stuck: nobody waits for those."""
        return self._snapshot is not None and self._sources.heard

    @property
    def wrong(self) -> bool:
        """Whether a directory or a model in it could not be made out."""
        return self.unseen or bool(self._broken)

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

    def is_withdrawn(self, model: str) -> bool:
        """Whether it was taken out of a model config list."""
        return self._snapshot is not None and model in self._snapshot.withdrawn

    @property
    def settling(self) -> Collection[str]:
        """The models that something is being copied into."""
        return self._settling

    def refresh(self) -> Collection[str] | None:
        """Take up what was said since the last time: the models that are other than before, or new,
        or not there any more. None where nothing was said."""
        snapshot = self._sources.snapshot()
        if snapshot is None or snapshot is self._snapshot:
            return None
        self._snapshot = snapshot
        before, self._found = self._found, {found.name: found for found in snapshot.models}
        changed = _differing(before, self._found)
        for name in changed:
            self._sort(name, self._found.get(name))
        self._tell(snapshot)
        return changed

    def _sort(self, model: str, found: FoundModel | None) -> None:
        self._settling.discard(model)
        self._broken.discard(model)
        if found is not None and _is_settling(found):
            self._settling.add(model)
        if found is not None and found.error:
            self._broken.add(model)

    def _tell(self, snapshot: Snapshot) -> None:
        """Each thing that is wrong once, until it is right again."""
        wrong = {
            *(("registry_unreadable", e.root, e.reason) for e in snapshot.errors),
            *(("registry_entry_ignored", i.path, i.reason) for i in snapshot.ignored),
            *(
                ("model_unreadable", m.path, m.error)
                for m in map(self._found.__getitem__, self._broken)
            ),
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


def _is_settling(found: FoundModel) -> bool:
    return not found.config_settled or any(version.settling for version in found.versions)


def _differing(before: Mapping[str, FoundModel], now: Mapping[str, FoundModel]) -> Collection[str]:
    gone = before.keys() - now.keys()
    # A source says the same of what did not change: most need no look into them.
    return gone.union(
        name
        for name, found in now.items()
        if (was := before.get(name)) is not found and was != found
    )
