"""Rollouts in the state directory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from serving.events import log
from serving.rollout.canary import Rollout
from serving.rollout.documents import document, from_document
from serving.state_dir import StateDir

# The document.
ROLLOUTS = "rollouts"
_NEVER = float("inf")


class Keeping:
    """When rollouts are to be written, and the writing. ``mono``: monotonic seconds."""

    def __init__(self, state: StateDir, mono: Callable[[], float]) -> None:
        self._state, self._mono = state, mono
        self._at = _NEVER
        # One writes at a time, what it finds then: so the last that is written is the newest.
        self._writing = threading.Lock()

    def read(self) -> dict[str, Rollout]:
        rollouts, wrong = from_document(self._state.read(ROLLOUTS))
        for words in wrong:
            log.warning("state_ignored", name=ROLLOUTS, reason=words)
        return rollouts

    def move(self, state: StateDir) -> dict[str, Rollout]:
        """Keep all in another place from now on, with what is there, which is returned. In the
        thread that saves."""
        self._state = state
        self.note(0.0)
        return self.read()

    def note(self, within: float) -> None:
        """Something has changed, and is to be written within so many seconds."""
        self._at = min(self._at, self._mono() + within)

    def save(self, found: Callable[[], Mapping[str, Rollout]], *, at_once: bool = False) -> None:
        """Write what there is to write, where it is due, or ``at_once``. ``found``: a copy of all;
        nobody who asks for it waits for the disk."""
        with self._writing:
            if self._at == _NEVER or (self._mono() < self._at and not at_once):
                return
            # What changes from here on is noted anew.
            self._at = _NEVER
            self._state.write(ROLLOUTS, document(found()))
