"""A model's route as one value: which version answers whom. Data, its bounds, and words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from serving.model_config.route import why_no_shadows, why_no_weights

# Characters of what a change is said to be: no more is read back.
LONGEST_CHANGE = 4000


@dataclass(frozen=True, slots=True)
class Split:
    """How a model's requests that name no version are divided.

    ``weights``: version -> its weight, of the sum of all; 0: it is kept loaded and gets none; {}:
    nothing is divided, the default version has them all. ``sticky``: the name of a header, a key
    of gRPC's metadata or a request's parameter; who sends the same value again gets the same
    version. "": everybody draws anew. ``shadows``: version -> the share of requests, from 0 to 1,
    of which it is to get a copy: it answers nobody. All these versions stay loaded, whatever the
    version policy says. ``base``: the one of ``weights`` that answers by default, for
    those that can't; None: the one with the largest weight.
    """

    weights: Mapping[int, int] = field(default_factory=dict)
    sticky: str = ""
    shadows: Mapping[int, float] = field(default_factory=dict)
    base: int | None = None

    @property
    def versions(self) -> frozenset[int]:
        """Those that have to be loaded for it."""
        return frozenset((*self.weights, *self.shadows))

    @property
    def weighted(self) -> frozenset[int]:
        """Those that have a part of the requests."""
        return frozenset(version for version, weight in self.weights.items() if weight)

    def changed(
        self,
        weights: Mapping[int, int] | None,
        sticky: str | None,
        shadows: Mapping[int, float] | None,
        base: int | None = None,
    ) -> Split:
        """With these parts in place of its own; None: as it is. Without weights nobody keeps a
        version: there is no key then. ``base`` goes with ``weights``. A shadow that gets a
        weight is none any more."""
        new = replace(
            self,
            weights=self.weights if weights is None else dict(sorted(weights.items())),
            sticky=self.sticky if sticky is None else sticky.lower(),
            shadows=beside(self.shadows, weights or {})
            if shadows is None
            else dict(sorted(shadows.items())),
            base=self.base if weights is None else base,
        )
        return new if new.weights else replace(new, sticky="")


def beside(shadows: Mapping[int, float], weights: Mapping[int, int]) -> dict[int, float]:
    """Those shadows that have no weight."""
    return {version: share for version, share in shadows.items() if not weights.get(version)}


NO_SPLIT = Split()


@dataclass(frozen=True, slots=True)
class Route:
    """Which version of a model answers whom. ``default``: who names none and is not divided among
    ``split``'s, None while nothing answers; ``pin``: the version that is to, by command, whatever
    ``split`` says; ``aliases``: other names for versions."""

    default: int | None = None
    pin: int | None = None
    aliases: Mapping[str, int] = field(default_factory=dict)
    split: Split = NO_SPLIT


@dataclass(frozen=True, slots=True)
class RouteChange:
    """What was changed about a model's route, in words; ``at``: seconds since the epoch; ``by``:
    who or what did, an address or ``rollout``; ``reason``: why, as they say, "" where they
    don't."""

    at: float
    by: str
    what: str
    reason: str = ""


def why_no_split(split: Split) -> str:
    """What is wrong with it, "" where nothing is."""
    if why := why_no_shadows(split.shadows, split.weights):
        return why
    if split.base is not None and split.base not in split.weights:
        return f"version {split.base}, which is to answer by default, has no weight"
    return why_no_weights(split.weights, split.sticky)


def weights_words(weights: Mapping[int, int]) -> str:
    """``3=95 4=5``."""
    return " ".join(f"{version}={weight}" for version, weight in sorted(weights.items()))


def shadows_words(shadows: Mapping[int, float]) -> str:
    """``4=10%``."""
    return " ".join(f"{version}={100 * share:g}%" for version, share in sorted(shadows.items()))


def split_words(split: Split) -> str:
    """As a history tells it."""
    words = [f"weights {weights_words(split.weights)}" if split.weights else "no weights"]
    if split.sticky:
        words.append(f"sticky by {split.sticky}")
    if split.shadows:
        words.append(f"shadows {shadows_words(split.shadows)}")
    return ", ".join(words)
