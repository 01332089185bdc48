"""Many models at a glance, bounded however many there are. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from serving.control.console.forms import MOST_VERSIONS
from serving.control.routes import shares
from serving.control.selection import model_states
from serving.models.state import PENDING, State
from serving.models.views import ModelView, VersionView
from serving.observe.curves.ring import Point, plain
from serving.observe.figures import Key
from serving.rollout.canary import Rollout


def counts_json(views: Sequence[ModelView]) -> dict[str, int]:
    found = Counter(str(state) for view in views for state in model_states(view))
    names = ("ready", "loading", "failed", "unloaded")
    return {"total": len(views), **{name: found[name] for name in names}}


def rates_json(figures: Mapping[Key, Point]) -> dict[str, float]:
    return {
        name: round(sum(getattr(one, name) for one in figures.values()), 3)
        for name in ("request_rate", "error_rate")
    }


def model_json(
    view: ModelView, figures: Mapping[Key, Point], rollout: Rollout | None
) -> dict[str, Any]:
    """Without the rollout's own figures; ``rollout``: the one under way."""
    parts = shares(view)
    shadows = dict(view.route.shadows)
    beside = {*shadows, *({rollout.candidate, rollout.base} if rollout is not None else ())}
    ranked = sorted(view.versions, key=lambda one: _rank(view, one, parts, beside, figures))
    return {
        "name": view.name,
        "states": [str(state) for state in model_states(view)],
        "default": view.default,
        "pinned": view.pinned,
        "reason": view.reason,
        "aliases": dict(sorted(view.aliases.items())),
        "versions": [
            {
                **_version_json(one, parts.get(one.number), figures.get((view.name, one.number))),
                "shadow": shadows.get(one.number),
            }
            for one in ranked[:MOST_VERSIONS]
        ],
        "versions_total": len(view.versions) + len(view.unloaded),
    }


def _rank(
    view: ModelView,
    one: VersionView,
    parts: Mapping[int, float],
    beside: set[int],
    figures: Mapping[Key, Point],
) -> tuple[int, int]:
    """What to show first: who answers, then who does something or can't, then the newest."""
    number = one.number
    if number == view.default or number in parts or number in beside:
        place = 0
    elif (view.name, number) in figures or one.state in PENDING or one.state is State.FAILED:
        place = 1
    else:
        place = 2
    return place, -number


def _version_json(one: VersionView, share: float | None, figures: Point | None) -> dict[str, Any]:
    return {
        "version": one.number,
        "state": str(one.state),
        "reason": one.reason,
        "share": share,
        "queue": one.queue.depth()["requests"] if one.queue is not None else None,
        "figures": point_json(figures) if figures is not None else None,
    }


def point_json(point: Point) -> dict[str, float | None]:
    return {name: plain(value) for name, value in point._asdict().items()}
