"""The policy for all models at once, as the reconciler asks it for those that changed."""

from __future__ import annotations

from collections.abc import Sequence

from serving.models.desired import places, policy
from serving.models.desired.candidates import ModelTarget
from serving.models.desired.policy import Limits
from serving.models.desired.waiting import Waiting
from serving.models.state import IN_LOADER, Slot


def next_actions(
    models: Sequence[ModelTarget], slots: Sequence[Slot], now: float, limits: Limits
) -> list[policy.Action]:
    """``models`` names every model that is on disk or has a slot."""
    actions: list[policy.Action] = []
    waiting = Waiting()
    for target in models:
        mine = [slot for slot in slots if slot.model == target.model]
        steps = policy.next_actions(target, mine, now, limits)
        actions += steps.actions
        waiting.put(target.model, steps.turns)
    loading = [slot for slot in slots if slot.state in IN_LOADER]
    line = waiting.first(len(slots))
    return actions + places.next_steps(line, loading, now, limits.loads, limits.slow_after_s)
