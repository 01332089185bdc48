"""What a rollout asks of its model's route. Pure."""

from __future__ import annotations

from typing import TypeGuard

from serving.errors import ErrorCode
from serving.models.commands.command import (
    SUPERSEDED,
    Command,
    Outcome,
    SetDefault,
    SetRoute,
)
from serving.models.views import ModelView
from serving.rollout.canary import Rollout

_REFUSALS = frozenset({ErrorCode.BAD_REQUEST, ErrorCode.NOT_FOUND, ErrorCode.FAILED_PRECONDITION})


def commands_of(rollout: Rollout, view: ModelView | None) -> list[Command]:
    """In this order: a pin goes only once there are weights, else the newest version took over
    between."""
    weights = rollout.weights
    if weights is None:
        return []
    # Over, the version that stays is the base: no accepted signature takes it out.
    sticky, base = (
        (rollout.sticky, rollout.base)
        if rollout.under_way
        else ("", max(weights, key=weights.__getitem__, default=None))
    )
    # Without weights there is no key either.
    route = SetRoute(rollout.model, weights, sticky if weights else None, base=base)
    commands: list[Command] = [route]
    if rollout.under_way and view is not None and view.pinned is not None:
        commands.append(SetDefault(rollout.model))
    return commands


def stands(rollout: Rollout, view: ModelView) -> bool:
    """Whether the route is as the rollout wants it."""
    return dict(view.split.weights) == rollout.weights and view.pinned is None


def is_as_it_was(rollout: Rollout, view: ModelView) -> bool:
    """Whether the route is as a rollout that is over had it while it was under way: only its own
    weights name its base beside the candidate."""
    split = view.split
    return split.base == rollout.base and split.weights.keys() == {rollout.base, rollout.candidate}


def is_refused(outcome: Outcome | None) -> TypeGuard[Outcome]:
    """A version that can't be loaded is the rollout's own matter, and no refusal."""
    if outcome is None or outcome.ok:
        return False
    return outcome.code in _REFUSALS or outcome.message == SUPERSEDED
