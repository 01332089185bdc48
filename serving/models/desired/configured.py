"""A model's route as its configuration, a model config list and commands say it together. Pure.

What the first two say goes before what commands said, for they say it again at the next start; and
no command changes it meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from serving.model_config.route import NO_ROUTE, RouteConfig
from serving.models.desired.overrides import Overrides
from serving.registry.snapshot import MODEL_LIST, Listed
from serving.rollout.plan import Aliases
from serving.rollout.route import (
    LONGEST_CHANGE,
    RouteChange,
    Split,
    beside,
    shadows_words,
    split_words,
)

Part = Literal["pin", "weights", "shadows"]
# Who changed a route, in its history.
YAML = "yaml"
MODEL_YAML = "model.yaml"
_SILENT = "model.yaml says nothing of it any more"


@dataclass(frozen=True, slots=True)
class RouteSaid:
    """``fixed``: what no command may change, beside the aliases that are."""

    pinned: int | None
    aliases: Aliases
    split: Split
    fixed: frozenset[Part]


def route_said(current: Overrides, config: RouteConfig, listed: Listed | None) -> RouteSaid:
    labels = listed.labels if listed is not None else {}
    names = {**config.aliases, **labels}
    by = [listed.by] if listed is not None and labels else []
    by += [MODEL_YAML] if config.aliases else []
    split = current.split
    if config.weights is not None:
        split = Split(config.weights, config.sticky, beside(split.shadows, config.weights))
    if config.shadows is not None:
        split = replace(split, shadows=beside(config.shadows, split.weights))
    fixed: list[Part] = []
    fixed += ["pin"] if config.pin is not None else []
    fixed += ["weights"] if config.weights is not None else []
    fixed += ["shadows"] if config.shadows is not None else []
    return RouteSaid(
        config.pin or current.pin,
        Aliases(
            {**current.aliases, **names},
            fixed=frozenset(names),
            by=" or ".join(by) or MODEL_LIST,
        ),
        split,
        frozenset(fixed),
    )


def yielded(current: Overrides, config: RouteConfig, listed: Listed | None) -> Overrides:
    """Without what others say from now on, also when they no longer do: nothing moves back to where
    nobody said so lately. The same object where nothing of it was said by command."""
    names = {*config.aliases, *(listed.labels if listed is not None else ())}
    aliases = {alias: one for alias, one in current.aliases.items() if alias not in names}
    split = current.split
    if config.weights is not None and split.weights:
        split = Split(shadows=split.shadows)
    if config.shadows is not None and split.shadows:
        split = replace(split, shadows={})
    pin, before = current.pin, current.pin_before
    if config.pin is not None:
        pin, before = None, None
    stays = current.stays & route_said(current, config, listed).split.weighted
    rest = replace(current, aliases=aliases, split=split, stays=stays)
    rest = replace(rest, pin=pin, pin_before=before)
    return current if rest == current else rest


def change_of(current: Overrides, config: RouteConfig, now: float) -> RouteChange | None:
    """What the configuration says, where it said something else before; also in an earlier life.
    ``now``: seconds since the epoch."""
    before = next((one.what for one in reversed(current.changes) if one.by == YAML), _SILENT)
    what = _words(config)[:LONGEST_CHANGE] or _SILENT
    return RouteChange(now, YAML, what) if what != before else None


def _words(config: RouteConfig) -> str:
    if config == NO_ROUTE:
        return ""
    words = []
    if config.pin is not None:
        words.append(f"pinned to version {config.pin}")
    if config.weights is not None:
        words.append(split_words(Split(config.weights, config.sticky)))
    if config.shadows is not None:
        shadows = shadows_words(config.shadows)
        words.append(f"shadows {shadows}" if shadows else "no shadows")
    words += [f"alias '{alias}' names version {one}" for alias, one in config.aliases.items()]
    return ", ".join(words)
