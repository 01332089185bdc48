"""The state directory of another gateway, taken once that one has ended."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from serving.events import log
from serving.registry_state import of_registry
from serving.state_dir import StateDir
from serving.state_lock import HeldError, StateLock

# Between two tries: each opens a file and asks for a lock.
_EVERY_S = 2.0


class StateTakeover:
    """A thread that waits for the lock. The one that has it may be on another machine, where no
    event comes from.

    ``shared`` is the directory, which others' gateway wrote to until then and we write to from
    then on; ``take`` gets the part of it that is of the registry in ``roots``.
    """

    def __init__(
        self, shared: StateDir, roots: Sequence[Path | str], take: Callable[[StateDir], None]
    ) -> None:
        self._shared, self._roots, self._take = shared, roots, take
        self._stopping = threading.Event()
        self._lock: StateLock | None = None
        self._thread = threading.Thread(target=self._run, name="state lock", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Wait no longer, and let another gateway have what was taken."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._lock is not None:
            self._lock.release()

    def _run(self) -> None:
        while self._lock is None and not self._stopping.wait(_EVERY_S):
            self._lock = self._try()
            if self._lock is not None:
                self._begin()

    def _try(self) -> StateLock | None:
        try:
            return StateLock(self._shared.path) if self._shared.path is not None else None
        except (HeldError, OSError):
            return None  # gone, or of no use now: it was told of at the start

    def _begin(self) -> None:
        self._shared.become_ours()
        log.info(
            "state_taken",
            path=str(self._shared.path),
            effect="what was decided there is applied, but to models that commands were given for"
            " since the start; what is decided from now on is kept",
        )
        self._take(of_registry(self._shared, self._roots))
