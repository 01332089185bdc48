"""A bare model file as a source: version 1 of a model that is named after it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from serving.model_config import ModelConfig
from serving.registry import tree
from serving.registry.configs import fingerprint
from serving.registry.names import why_no_model
from serving.registry.settling import Clocks, Seen, left, observe
from serving.registry.snapshot import (
    NOBODY_WAITS,
    Closely,
    Fetched,
    Fetching,
    FoundModel,
    FoundVersion,
    Ignored,
    KnownConfig,
    Snapshot,
)

LAYOUT = "a bare file: version 1"
# Beside the file, with its name or its stem before them: how exporters call external data.
_DATA = (".data", "_data", ".bin", ".weights")


@dataclass(frozen=True, slots=True)
class FileOrigin:
    """``file`` as the operator wrote it; a link's target has the external data beside it."""

    file: Path
    manifest: None = None

    def fetch(self, fetching: Fetching = NOBODY_WAITS) -> Fetched:
        """The folder that it lies in."""
        folder = self.file.resolve().parent
        return Fetched(folder, folder)

    def rows(self) -> tree.Rows:
        """Of the file, first, and of what may be its external data. Raises OSError."""
        file = self.file.resolve()
        names = [stem + end for stem in (file.name, file.stem) for end in _DATA]
        beside = [path for path in map(file.with_name, names) if path.is_file()]
        return tuple(tree.row(path.name, path.stat()) for path in (file, *beside))

    def fingerprint(self) -> str:
        """See ``Origin``."""
        try:
            return tree.digest(self.rows())
        except OSError:
            return ""

    def contents(self) -> str:
        """See ``Origin``."""
        folder = self.file.resolve().parent
        return tree.contents(folder, [row[0] for row in self.rows()])


class FileSource:
    """The version is whole when nothing of it changed for ``settle_s`` seconds; the clocks are
    in seconds, epoch and monotonic."""

    def __init__(
        self, file: Path, settle_s: float, wall: Callable[[], float], mono: Callable[[], float]
    ) -> None:
        self.place = file.absolute()
        self._origin, self._name = FileOrigin(self.place), file.stem
        config = ModelConfig(model_filename=self.place.resolve().name)
        self._config = KnownConfig("", fingerprint(config), config.version_policy, config)
        self._settle_s, self._wall, self._mono = settle_s, wall, mono
        self._scanned = float("-inf")
        self._seen: Seen | None = None
        self._last: Snapshot | None = None

    def scan(
        self,
        closely: Closely = (),
        at_once: Closely = (),
        *,
        touched: Collection[str] = (),
        whole: bool = True,
    ) -> Snapshot:
        """See ``Source``. All that there is, always: nothing is reported of single files."""
        now = self._mono()
        settle_s = 0.0 if {self._name, (self._name, 1)} & set(at_once) else self._settle_s
        snapshot = self._look(Clocks(now, self._wall(), settle_s, now - self._scanned))
        self._scanned = now
        if self._last is None or snapshot != self._last:
            self._last = snapshot
        return self._last

    def _look(self, clocks: Clocks) -> Snapshot:
        if reason := why_no_model(self._name):
            return Snapshot(ignored=(Ignored(self.place, reason),))
        try:
            rows = self._origin.rows()
        except OSError as error:
            # Of this model nothing is known any more; what others there are, it does not hide.
            return Snapshot((FoundModel(self._name, self.place, error=tree.words(error)),))
        seen = self._seen = observe(self._seen, rows, clocks)
        rest = None if seen.settled else left(seen, clocks)
        return Snapshot((self._found(seen),), settles_in=rest)

    def _found(self, seen: Seen) -> FoundModel:
        why = "" if seen.settled else f"its files changed less than {self._settle_s:g} s ago"
        version = FoundVersion(
            1, self._origin, seen.fingerprint, not why, why, bool(why), size=_size(seen)
        )
        return FoundModel(self._name, self.place, (version,), layout=LAYOUT, config=self._config)


def _size(seen: Seen) -> int:
    return sum(tree.file_sizes(seen.rows).values())
