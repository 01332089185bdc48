"""A version that is kept elsewhere: how it gets here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from serving.registry.manifest import Manifest
from serving.registry.remote.cache import Cache
from serving.registry.remote.listing import Remote
from serving.registry.snapshot import NOBODY_WAITS, Fetched, Fetching


@dataclass(frozen=True, slots=True)
class RemoteOrigin:
    """See ``Origin``. ``key``: the version's fingerprint; ``folder``: with the model's
    configuration, which is kept under ``config`` where that came from elsewhere, too. ``arrived``
    is called where its files came just now."""

    key: str
    folder: Path
    manifest: Manifest | None = field(compare=False, repr=False)
    cache: Cache = field(compare=False, repr=False)
    remote: Callable[[], Remote] = field(compare=False, repr=False)
    arrived: Callable[[], object] = field(compare=False, repr=False)
    config: str = ""

    def fetch(self, fetching: Fetching = NOBODY_WAITS) -> Fetched:
        """See ``Origin``."""
        was_here = self.cache.has(self.key)
        if not was_here:
            fetching.begins()
        folder = self.cache.fetch(self.key, self.remote, fetching.check)
        if not was_here:
            self.arrived()
        return Fetched(folder, self.folder)

    def fingerprint(self) -> str:
        """See ``Origin``. What is kept of it never changes."""
        return self.key

    def contents(self) -> str:
        """See ``Origin``."""
        return self.key
