"""A version that lies in a folder of this machine: there is nothing to fetch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from serving.registry import tree
from serving.registry.manifest import Manifest
from serving.registry.names import is_beside
from serving.registry.snapshot import NOBODY_WAITS, Fetched, Fetching
from serving.registry.tree import UnfitError


@dataclass(frozen=True, slots=True)
class FolderOrigin:
    """``path``: the folder with its model file, links already followed; ``model``: the model's,
    with its configuration. ``direct``: they are one folder (``layout.DIRECT``)."""

    path: Path
    model: Path = field(default=Path())
    direct: bool = False
    manifest: Manifest | None = field(default=None, compare=False, repr=False)

    def fetch(self, fetching: Fetching = NOBODY_WAITS) -> Fetched:
        """See ``Origin``."""
        return Fetched(self.path, self.model)

    def fingerprint(self) -> str:
        """See ``Origin``."""
        try:
            folder = str(self.path)
            rows = tree.read_part(folder, is_beside) if self.direct else tree.read_tree(folder)
            return tree.digest(rows)
        except (OSError, UnfitError):
            return ""
