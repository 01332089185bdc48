"""What people and the standing policy ask of rollouts, held against the model as it is. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from serving.errors import ErrorCode, ServingError
from serving.models.state import LEAVING, State
from serving.models.views import ModelView
from serving.rollout import canary
from serving.rollout.canary import Phase, Rollout
from serving.rollout.rules import Steps
from serving.settings.canary import CanarySettings

Verb = Literal["pause", "resume", "promote", "abort"]
VERBS: Mapping[Verb, Callable[[Rollout, str, float], Rollout]] = MappingProxyType(
    {
        "pause": canary.pause,
        "resume": canary.resume,
        "promote": canary.promote,
        "abort": canary.abort,
    }
)


@dataclass(frozen=True, slots=True)
class Start:
    """``shares``, ``every_s``, ``min_requests``, ``sticky``: None for what the settings say.
    ``base``: the version that stays until the promotion, None for the one that answers now.
    ``sticky``: whose value keeps a client on its version; "" for nothing."""

    model: str
    candidate: int
    base: int | None = None
    shares: tuple[int, ...] | None = None
    every_s: float | None = None
    min_requests: int | None = None
    sticky: str | None = None
    by: str = ""


def begun(
    asked: Start, view: ModelView | None, before: Rollout | None, usual: CanarySettings, now: float
) -> Rollout:
    """The rollout that is asked for; ``usual``: for what is not said. Raises ServingError, in
    words, where there can be none."""
    if view is None:
        raise ServingError(ErrorCode.NOT_FOUND, f"there is no model '{asked.model}'")
    if before is not None and before.under_way:
        raise _not_now(
            f"a rollout of version {before.candidate} is under way ({before.phase.value}): abort it"
            " first, or promote it"
        )
    base = _base(asked, view)
    return Rollout(
        model=asked.model,
        candidate=asked.candidate,
        base=base,
        steps=Steps(
            usual.steps if asked.shares is None else asked.shares,
            usual.every_s if asked.every_s is None else asked.every_s,
            usual.min_requests if asked.min_requests is None else asked.min_requests,
        ),
        sticky=usual.sticky if asked.sticky is None else asked.sticky,
        by=asked.by,
        holds=_holds(asked.candidate, view),
        reason=f"started by {asked.by}" if asked.by else "started",
        started=now,
        changed=now,
    )


def _holds(candidate: int, view: ModelView) -> bool:
    """Whether a promotion leaves a weight: where something kept newer versions from taking over by
    themselves it does so on, and where another than the candidate would answer without."""
    loaded = {one.number for one in view.versions if one.state not in LEAVING}
    chosen = candidate in loaded - set(view.aliases.values())
    divided = bool(view.split.weights) or view.pinned is not None
    return divided or not chosen or not is_newest(candidate, view)


def is_newest(version: int, view: ModelView) -> bool:
    """Of all that are loaded, on their way, or on disk."""
    others = [one.number for one in view.versions] + [one.number for one in view.unloaded]
    return max(others, default=version) <= version


def _base(asked: Start, view: ModelView) -> int:
    base = view.default if asked.base is None else asked.base
    loaded, on_disk = view.versions, view.unloaded
    known = {one.number for one in loaded} | {one.number for one in on_disk}
    for version in (asked.candidate, *([] if base is None else [base])):
        if version not in known:
            words = f"model '{asked.model}' has no version {version}"
            raise ServingError(ErrorCode.NOT_FOUND, words)
    if base is None:
        raise _not_now("no version answers that it could be compared with")
    if base == asked.candidate:
        raise _not_now(
            f"version {base} answers already: name the version that it is to take over from"
            " (--base)"
        )
    if base not in {one.number for one in loaded if one.state is State.READY}:
        raise _not_now(f"version {base}, which it is to take over from, is not ready")
    return base


def _not_now(words: str) -> ServingError:
    return ServingError(ErrorCode.FAILED_PRECONDITION, words)


def told(rollout: Rollout) -> str:
    """Why the route is as the rollout wants it, for the route's history."""
    version, place = rollout.candidate, rollout.phase.value
    if rollout.phase in (Phase.RUNNING, Phase.PAUSED):
        place = f"step {rollout.step + 1} of {len(rollout.steps.shares)}: {rollout.share} %"
    return f"rollout of version {version}: {place}: {rollout.reason}"[:500]


# The standing policy.


def to_hold(view: ModelView) -> int | None:
    """The version that answers, where nothing keeps newer ones from taking over by themselves."""
    if view.pinned is not None or view.split.weights:
        return None
    return view.default


def newer(view: ModelView, before: Rollout | None, *, replaces: bool) -> int | None:
    """The version that a rollout of its own is to begin for: the newest that has had none, and is
    newer than what answers."""
    if view.pinned is not None or view.default is None or (before and before.phase is Phase.PAUSED):
        return None
    newest = max(
        (
            one.number
            for one in view.versions
            if one.state not in LEAVING and one.state is not State.FAILED
        ),
        default=0,
    )
    if newest <= view.default or (before is not None and newest <= before.candidate):
        return None
    if before is not None and before.under_way:
        return newest if replaces else None
    # Weights of several versions are somebody else's.
    return newest if list(view.split.weights) == [view.default] else None
