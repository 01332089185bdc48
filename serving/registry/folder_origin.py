"""A version that lies in a folder of this machine: there is nothing to fetch."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from serving.errors import LoadError
from serving.registry import manifest, tree
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
            return tree.digest(self._rows())
        except (OSError, UnfitError):
            return ""

    def contents(self) -> str:
        """See ``Origin``. A manifest's sums were held against the files by their load."""
        if self.manifest is not None:
            return manifest.digest(self.manifest)
        try:
            rows = self._rows()
        except UnfitError as error:
            raise LoadError(str(error)) from None
        return tree.contents(self.path, tree.file_sizes(rows))

    def _rows(self) -> tree.Rows:
        folder = str(self.path)
        if not self.direct:
            return tree.read_tree(folder)
        published = os.path.lexists(self.path / manifest.MANIFEST_NAME)
        return tree.read_part(folder, partial(is_beside, published=published))
