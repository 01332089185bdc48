"""What is counted of gates, by model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from serving.counters import Counters
from serving.gates.verdict import WORDS, Verdict


class Waiting(Protocol):
    """Who judges: for how long the oldest version of each model has waited, in seconds, and how
    many are being judged. Safe from any thread."""

    def waiting(self) -> Mapping[str, float]: ...

    @property
    def running(self) -> int: ...


class GateFigures:
    """Written by the manager's loop, read from any thread. A model's go with it."""

    def __init__(self, waiting: Waiting) -> None:
        self._waiting = waiting
        self._verdicts = Counters()
        self._milliseconds = Counters()

    def note(self, model: str, verdict: Verdict) -> None:
        """A new one. A person's took no time."""
        for word in WORDS:
            self._verdicts.add(model, word, by=int(word == verdict.word))
        by = 0 if verdict.by_person else round(verdict.seconds * 1000)
        self._milliseconds.add(model, by=by)

    def forget(self, model: str) -> None:
        self._verdicts.drop((model, word) for word in WORDS)
        self._milliseconds.drop([(model,)])

    def verdicts(self) -> Mapping[tuple[str, ...], int]:
        """(model, verdict) -> how many."""
        return self._verdicts.snapshot()

    def seconds(self) -> Mapping[str, float]:
        """Model -> how long its verdicts took together."""
        return {key[0]: n / 1000 for key, n in self._milliseconds.snapshot().items()}

    def waiting(self) -> Mapping[str, float]:
        """Model -> for how long its oldest version without a verdict has waited (seconds)."""
        return self._waiting.waiting()

    @property
    def running(self) -> int:
        """Versions that are being judged now."""
        return self._waiting.running
