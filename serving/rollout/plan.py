"""Who answers for a model, as one pure function of how far its versions are and what was said.

It is decided here and nowhere else: the plan rides in the model's view, whoever loads versions
keeps what the plan keeps, and whoever publishes routes looks nothing up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from serving.rollout.route import NO_SPLIT, Split

_NONE: frozenset[int] = frozenset()
_NONE_FIXED: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a model's versions are. ``there``: they can be loaded, or are; ``coming``: they are
    on their way to being ready, and have not failed yet; ``ready``: they can answer;
    ``answering``: it does now; ``barred``: they could, but for their gates."""

    there: frozenset[int] = _NONE
    coming: frozenset[int] = _NONE
    ready: frozenset[int] = _NONE
    answering: int | None = None
    barred: frozenset[int] = _NONE


@dataclass(frozen=True, slots=True)
class Aliases:
    """Other names for versions. ``wanted``: alias -> the version that it is to name; ``now``: the
    one that answers to it; ``fixed``: those that no command may move, and ``by`` who says them."""

    wanted: Mapping[str, int] = field(default_factory=dict)
    now: Mapping[str, int] = field(default_factory=dict)
    fixed: frozenset[str] = _NONE_FIXED
    by: str = "the model config list"

    @property
    def versions(self) -> frozenset[int]:
        return frozenset((*self.wanted.values(), *self.now.values()))


NO_ALIASES = Aliases()


@dataclass(frozen=True, slots=True)
class Plan:
    """``default`` answers requests that name no version, None while nothing does; ``aliases``: the
    version that answers to each. To be loaded whatever the version policy says: ``keep``, and
    ``named``, what aliases name, what shares the requests and what gets copies."""

    default: int | None = None
    keep: frozenset[int] = _NONE
    aliases: Mapping[str, int] = field(default_factory=dict)
    named: frozenset[int] = _NONE


def decide(
    standing: Standing,
    held: frozenset[int],
    wanted: frozenset[int],
    pinned: int | None,
    answered: int | None,
    aliases: Aliases = NO_ALIASES,
    split: Split = NO_SPLIT,
) -> Plan:
    """``held``: versions that may take over from no other, for their signature. ``wanted``: by
    the version policy or by command. ``pinned``: it is to answer, by command. ``answered``: it
    answered last. ``split``: how requests are divided among versions."""
    keep = _kept(standing, held, wanted, pinned, answered, split)
    aliases_now = _named(standing, aliases)
    named = split.versions.union(aliases.wanted.values(), aliases_now.values())
    chosen = standing.there & (wanted | keep)
    able = _without_beside(standing, named - (wanted | keep)) if chosen else standing
    order = _by_weight(split, held) if pinned is None else []
    base = _base(standing, held, order, answered)
    if base is None and standing.coming.intersection(order):
        # An answer once given goes on.
        base = standing.answering if standing.answering in standing.ready else None
        return Plan(base, keep, aliases_now, named)
    default = base or _default(able, held, chosen, pinned, answered)
    return Plan(default, keep, aliases_now, named)


def weights_in_force(
    split: Split, held: frozenset[int], pinned: int | None, default: int | None
) -> tuple[tuple[int, int], ...]:
    """(version, weight) as requests are divided, by version. None are where a version is pinned.
    What would be that of a version that is ``held`` is the ``default``'s, in its place: so nobody
    else is moved."""
    if pinned is not None or default is None:
        return ()
    weights = sorted(split.weights.items())
    return tuple((default if version in held else version, w) for version, w in weights)


def shadows_in_force(
    split: Split, held: frozenset[int], default: int | None
) -> tuple[tuple[int, float], ...]:
    """(version, share) of those that get copies, by version: none that is ``held`` and takes other
    requests, and not the ``default``, which would run its own."""
    shadows = sorted(split.shadows.items())
    return tuple((v, share) for v, share in shadows if v not in held and v != default)


def _base(
    standing: Standing, held: frozenset[int], order: Sequence[int], answered: int | None
) -> int | None:
    """While requests are divided, the base, or else the version with most of them, answers for
    those that can't: no newer one takes over meanwhile. Until it is ready who answered before does;
    else nobody while it is on its way, so that at a restart none gets more than its part; and the
    next of them that is ready where it can't come. ``order``: see ``_by_weight``."""
    able = (standing.ready & standing.there) - held
    if order and order[0] not in able and answered in able:
        return answered
    first = next((version for version in order if version in able | standing.coming), None)
    return first if first in able else None


def first_to_load(split: Split, held: frozenset[int], pinned: int | None) -> int | None:
    """Whom the model's requests wait for, None: for nobody in particular."""
    return next(iter(_by_weight(split, held)), None) if pinned is None else pinned


def _by_weight(split: Split, held: frozenset[int]) -> list[int]:
    """The versions that have a part of the requests, the base first and then most; of several the
    lowest."""
    weights, base = split.weights, split.base
    some = [v for v, weight in weights.items() if (weight or v == base) and v not in held]
    return sorted(some, key=lambda version: (version != base, -weights[version], version))


def _without_beside(standing: Standing, beside: frozenset[int]) -> Standing:
    """What is there for its alias only takes over from nobody, also where it is ready first; it
    goes on if it answers."""
    ready = standing.ready - (beside - {standing.answering})
    return standing if ready == standing.ready else replace(standing, ready=ready)


def _named(standing: Standing, aliases: Aliases) -> Mapping[str, int]:
    """An alias moves in one step, once its new version is ready; until then who has it keeps it,
    as long as that one can answer."""
    ready, now = standing.ready, aliases.now
    return {
        alias: now[alias] if version not in ready and now.get(alias) in ready else version
        for alias, version in aliases.wanted.items()
    }


def _kept(
    standing: Standing,
    held: frozenset[int],
    wanted: frozenset[int],
    pinned: int | None,
    answered: int | None,
    split: Split,
) -> frozenset[int]:
    """Who answered goes on until another may: while one that is wanted is held back, and until the
    pinned one can answer, or the one with most of the requests, for else the newest would."""
    first = [pinned] if pinned is not None else _by_weight(split, held)[:1]
    waits = bool(wanted & (held | standing.barred)) or any(
        version not in standing.ready for version in first
    )
    return _NONE if answered is None or not waits else frozenset({answered})


def _default(
    standing: Standing,
    held: frozenset[int],
    chosen: frozenset[int],
    pinned: int | None,
    answered: int | None,
) -> int | None:
    """The pinned version, else the newest of those ``chosen``, of all that are ready.

    A pin that can't answer yet leaves the answer with who had it before, and so does a model of
    which nothing that is chosen is ready. One that is held back answers where nothing else is
    ready or coming, and goes on while something comes later; so it is None only while something
    is not ready yet.
    """
    ready = standing.ready
    if pinned in ready:
        return pinned
    if pinned is not None and answered in ready:
        return answered
    fit = ready - held
    if not fit and not standing.coming & chosen <= held:
        return standing.answering if standing.answering in ready else None
    able = fit or ready
    newest = _highest(able & chosen)
    if newest is not None:
        return newest
    return answered if answered in able else _highest(able)


def _highest(versions: Iterable[int]) -> int | None:
    return max(versions, default=None)
