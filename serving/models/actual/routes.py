"""A model's place in the core's route table, out of its versions' views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from serving.models.state import State
from serving.models.views import Route, UnloadedVersion, VersionView
from serving.rollout.route import NO_SPLIT, Split

_WORDS = {
    State.NEW: "waiting to be loaded",
    State.LOADING: "loading",
    State.WARMING: "warming up",
    State.DRAINING: "being unloaded",
    State.FAILED: "could not be loaded",
}

# Figures are for operators.
_GATED = {
    State.WARMING: "waiting for the verdict of its gates",
    State.FAILED: "kept from traffic by its gates",
}


def route_of(
    versions: Sequence[VersionView],
    default: int | None,
    reason: str,
    unloaded: Sequence[UnloadedVersion] = (),
    aliases: Mapping[str, int] | None = None,
    split: Split = NO_SPLIT,
    weights: Sequence[tuple[int, int]] = (),
    shadows: Sequence[tuple[int, float]] = (),
) -> Route:
    """``default``: as it was decided; ``reason``: why nothing answers, if nothing does;
    ``weights`` and ``shadows``: those of ``split`` that are in force.

    A version that is known but not READY is unavailable, not unknown; one that is GONE is in no
    view.
    """
    queues = {v.number: v.queue for v in versions if v.state is State.READY and v.queue is not None}
    default = default if default in queues else None
    return Route(
        default=default,
        queues=queues,
        unavailable={
            v.number: _why_not(v)
            for v in versions
            if v.number not in queues and v.state is not State.GONE
        },
        reason=None if default is not None else reason or "no version of it is ready",
        unloaded=_by_reason(unloaded),
        aliases=aliases or {},
        weights=weights,
        sticky=split.sticky if weights else "",
        shadows=shadows,
        beside={
            v.number: v.queue
            for v in versions
            if v.gated and v.queue is not None and v.number in dict(shadows)
        },
    )


def _by_reason(versions: Sequence[UnloadedVersion]) -> Sequence[tuple[str, Sequence[int]]]:
    """Few reasons hold back many versions."""
    found: dict[str, list[int]] = {}
    for version in versions:
        found.setdefault(version.reason, []).append(version.number)
    return tuple(found.items())


def _why_not(version: VersionView) -> str:
    if version.gated:
        return _GATED[version.state]
    words = _WORDS.get(version.state, "not ready")
    return f"{words}: {version.reason}" if version.reason else words
