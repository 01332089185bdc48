"""How much is said of single versions while many change: a line each as long as they are few, and
a sum of the rest. Pure: times are arguments, in seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

# Lines in a moment that a person reads; more scroll away what matters.
FEW = 20
MOMENT_S = 10.0


class Kind(Enum):
    """What a line tells; the value is how many of them are summed up."""

    READY = "versions ready: {}"
    UNLOADED = "versions unloaded: {}"
    ANSWERS = "models that answer with another version: {}"
    REMARK = "models with a reason to look at: {}"
    FAILED = "failed: {}"


class Line(NamedTuple):
    text: str
    style: str
    kind: Kind


class Bursts:
    """Lets lines through, ``FEW`` a moment and every failure; the rest is counted."""

    def __init__(self) -> None:
        self._moment, self._said = float("-inf"), 0
        self._held: Counter[Kind] = Counter()

    @property
    def due(self) -> float | None:
        """When ``rest`` is to be asked; None: nothing is held back."""
        return self._moment + MOMENT_S if self._held else None

    def take(self, lines: Iterable[Line], now: float, *, starting: bool = False) -> list[Line]:
        """Those to be said now. ``starting``: many are loaded, of which progress and a summary
        tell: nothing is said, or counted, of one that merely became ready."""
        if now >= self._moment + MOMENT_S and not self._held:
            self._moment, self._said = now, 0
        found = []
        for line in lines:
            if line.kind is Kind.FAILED:
                found.append(line)
            elif starting and line.kind is not Kind.REMARK:
                continue
            elif self._said < FEW:
                self._said += 1
                found.append(line)
            else:
                self._held[line.kind] += 1
        return found

    def rest(self, now: float) -> str:
        """What was held back, "" where nothing was; a new moment begins."""
        held, self._held = self._held, Counter()
        self._moment, self._said = now, 0
        told = ", ".join(kind.value.format(f"{held[kind]:,}") for kind in Kind if held[kind])
        return told and f"and more ({told}); 'serving models' lists them"
