"""Verdicts that outlive the process, by what they are of: a version's files and configuration,
and what its gates ask."""

from __future__ import annotations

import hashlib

from serving.gates.verdict import Verdict, document, from_document
from serving.state_dir import StateDir

FOLDER = "verdicts"
# Kept at once; the oldest go first, and their versions are judged anew.
MOST = 2048
_COUNTED_EVERY = 64


class Verdicts:
    """Safe from any thread: each document is read and replaced as a whole."""

    def __init__(self, state: StateDir) -> None:
        self._state = state
        self._until_counted = 0

    def read(self, key: str) -> Verdict | None:
        return from_document(self._state.read(f"{FOLDER}/{key}"))

    def write(self, key: str, verdict: Verdict) -> None:
        self._state.write(f"{FOLDER}/{key}", document(verdict))
        self._until_counted -= 1
        if self._until_counted < 0:
            self._until_counted = _COUNTED_EVERY
            names = self._state.names(FOLDER)
            for name in names[: max(0, len(names) - MOST)]:
                self._state.remove(f"{FOLDER}/{name}")


def key_of(model: str, version: int, files: str, config: str, terms: str) -> str:
    """The document's name. ``files`` and ``config``: the slot's fingerprints, ``terms``: the
    digest of what its gates ask."""
    text = "\0".join((model, str(version), files, config, terms))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:40]
