"""What a model's configuration says of its route, and what any route may say. Data and words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

# Versions that may share a model's requests: each is kept loaded.
MOST_WEIGHTS = 16
LARGEST_WEIGHT = 10_000
# Bytes of the name of a key.
LONGEST_KEY = 255
# Versions that may get copies of a model's requests: each is kept loaded.
MOST_SHADOWS = 4
# Other names for versions.
MOST_ALIASES = 64
_KEY = re.compile(rf"[!-~]{{1,{LONGEST_KEY}}}", re.ASCII)


@dataclass(frozen=True, slots=True)
class RouteConfig:
    """``weights``: version -> its weight, {} nothing is divided, None: it says nothing of them;
    ``sticky``: what names the key by which a client keeps its version, "": nothing does.
    ``aliases``: other names for versions. ``pin``: the version that is to answer, None: it says
    nothing of that. ``shadows``: version -> the share of requests, from 0 to 1, of which it gets a
    copy, {} none does, None: it says nothing of them. What it says no command changes."""

    weights: Mapping[int, int] | None = None
    sticky: str = ""
    aliases: Mapping[str, int] = field(default_factory=dict)
    pin: int | None = None
    shadows: Mapping[int, float] | None = None


NO_ROUTE = RouteConfig()


def why_no_weights(weights: Mapping[int, int], sticky: str) -> str:
    """What is wrong with them, "" where nothing is."""
    if len(weights) > MOST_WEIGHTS:
        return f"weights of {len(weights)} versions: at most {MOST_WEIGHTS} can share the requests"
    for version, weight in weights.items():
        if not 0 <= weight <= LARGEST_WEIGHT:
            return f"the weight of version {version} is {weight}: expected 0 to {LARGEST_WEIGHT}"
    if weights and not any(weights.values()):
        return "all weights are 0: nothing would answer; to end them, clear the weights"
    if sticky and not _KEY.fullmatch(sticky):
        return (
            f"the name of a key is 1 to {LONGEST_KEY} visible ASCII characters, as a header's name:"
            f" {sticky[:64]!r} is none"
        )
    return ""


def why_no_shadows(shadows: Mapping[int, float], weights: Mapping[int, int]) -> str:
    """What is wrong with them beside these weights, "" where nothing is."""
    if len(shadows) > MOST_SHADOWS:
        return f"shadows of {len(shadows)} versions: at most {MOST_SHADOWS} can get copies"
    for version, share in shadows.items():
        if not 0 < share <= 1:
            return f"the share of shadow {version} is {share:g}: expected more than 0, at most 1"
        if weights.get(version):
            return (
                f"version {version} has a weight: it answers requests, and a shadow gets copies of"
                " those that others answer"
            )
    return ""
