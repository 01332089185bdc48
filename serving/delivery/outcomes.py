"""How rollouts ended, counted by model."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from serving.counters import Counters
from serving.rollout.canary import UNDER_WAY, Phase, Rollout

_ENDS = tuple(phase for phase in Phase if phase not in UNDER_WAY)


class Outcomes:
    """Safe from any thread. A model's counts begin with its first rollout."""

    def __init__(self) -> None:
        self._ended = Counters()

    def note(self, before: Rollout | None, now: Rollout) -> None:
        """``before``: where this is no new rollout."""
        ended = not now.under_way and (before is None or before.under_way)
        for phase in _ENDS:
            self._ended.add(now.model, _word(phase), by=int(ended and phase is now.phase))

    def forget(self, models: Collection[str]) -> None:
        self._ended.keep_only(lambda key: key[0] not in models)

    def counts(self) -> Mapping[tuple[str, ...], int]:
        """(model, outcome) -> rollouts."""
        return self._ended.snapshot()


def _word(phase: Phase) -> str:
    return phase.value.replace(" ", "_")
