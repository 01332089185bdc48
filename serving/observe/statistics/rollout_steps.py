"""What both versions of a rollout were asked and answered since its step began.

Windows go by the clock and close into messages, which don't add up; so these are sketches of their
own, while somebody asks for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serving.delivery.features import Pair, Step
from serving.observe.figures import Key
from serving.observe.statistics.columns import Table
from serving.observe.statistics.window import Bounds, Open
from serving.rollout.features import Apart
from serving.validation import versions
from serving.validation.control import MEASURED


@dataclass(slots=True)
class _Compared:
    pair: Pair
    step: Step
    sides: dict[Key, Open] = field(default_factory=dict)


class RolloutSteps:
    """For whoever holds its owner's lock. ``most``: rollouts at a time; others wait until one of
    them is over."""

    def __init__(self, bounds: Bounds, most: int) -> None:
        self._bounds, self._most = bounds, most
        # A model has one rollout at a time.
        self._compared: dict[str, _Compared] = {}

    @property
    def nbytes(self) -> int:
        """From any thread: of a copy, in one step."""
        compared = list(self._compared.values())
        return sum(side.nbytes for one in compared for side in one.sides.values())

    def is_new(self, pair: Pair, step: Step) -> bool:
        known = self._compared.get(pair[0])
        return known is None or (known.pair, known.step) != (pair, step)

    def follow(self, steps: Mapping[Pair, Step]) -> None:
        models = {model for model, _, _ in steps}
        for model in self._compared.keys() - models:
            del self._compared[model]
        for pair, step in steps.items():
            room = pair[0] in self._compared or len(self._compared) < self._most
            if room and self.is_new(pair, step):
                self._compared[pair[0]] = _Compared(pair, step, self._empty(pair))

    def _empty(self, pair: Pair) -> dict[Key, Open]:
        model, candidate, base = pair
        return {(model, version): Open.new(0.0, self._bounds) for version in (candidate, base)}

    def add(self, key: Key, inputs: Sequence[Table], outputs: Sequence[Table], count: int) -> None:
        """``count``: of the samples that the tables are made of."""
        known = self._compared.get(key[0])
        side = known.sides.get(key) if known is not None else None
        if side is not None:
            side.add(inputs, outputs, count)

    def counted(self, pair: Pair) -> tuple[int, int] | None:
        """Samples of the candidate and of the base; None where there is no room."""
        sides = self._sides(pair)
        return (sides[0].samples, sides[1].samples) if sides else None

    def messages(self, pair: Pair, of_values: Sequence[frozenset[str]]) -> tuple[Any, Any] | None:
        """``DatasetFeatureStatisticsList`` of both. ``of_values``: features of whole numbers that
        count nothing, of each."""
        sides = self._sides(pair)
        if not sides:
            return None
        found = [side.message(names) for side, names in zip(sides, of_values, strict=True)]
        return found[0], found[1]

    def _sides(self, pair: Pair) -> list[Open]:
        known = self._compared.get(pair[0])
        if known is None or known.pair != pair:
            return []
        return [known.sides[pair[0], version] for version in pair[1:]]


def farthest(
    message: Any, base: Any, requests: int, base_requests: int, chance: float
) -> Mapping[str, Apart]:
    """See ``FeatureLook``."""
    found = versions.farthest(message, base, requests, base_requests, chance)
    return {
        kind: Apart(
            one.name,
            MEASURED[one.distance.measure],
            one.distance.value,
            versions.sure(one),
        )
        for kind, one in found.items()
    }
