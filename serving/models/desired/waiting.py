"""The line of those who wait to be loaded, over all models."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Mapping, Sequence

from serving.models.state import Slot

# A place in the line: whether it was tried before, how often it gave way, whether its model
# answers already, its rank among what is desired of the model, how large its files are, its version
# (negative), its model.
Turn = tuple[bool, int, bool, int, int, int, str]


class Waiting:
    """In order, those that never gave way to others apart from those that did. One model's turns
    are replaced without a look at the others'."""

    def __init__(self) -> None:
        self._by_model: dict[str, Mapping[Turn, Slot]] = {}
        self._quick: list[Turn] = []
        self._slow: list[Turn] = []

    def put(self, model: str, turns: Mapping[Turn, Slot]) -> None:
        """These, and no others, are the model's."""
        for turn in self._by_model.pop(model, {}):
            line = self._line(turn)
            del line[bisect.bisect_left(line, turn)]
        for turn in turns:
            bisect.insort(self._line(turn), turn)
        if turns:
            self._by_model[model] = turns

    def take(self, model: str, slot: Slot) -> None:
        """It has its place now."""
        rest = {turn: other for turn, other in self._by_model[model].items() if other is not slot}
        self.put(model, rest)

    def first(self, count: int) -> Sequence[Slot]:
        """At most so many from the head of each line."""
        heads = itertools.chain(self._quick[:count], self._slow[:count])
        return [self._by_model[turn[-1]][turn] for turn in sorted(heads)]

    def _line(self, turn: Turn) -> list[Turn]:
        return self._slow if turn[1] else self._quick
