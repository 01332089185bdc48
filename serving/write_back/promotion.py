"""One model's last promotion, as MLflow's registry is to show it, and what to do for that. Pure.

What stands in the registry is always read first. Only what stood there when the version was
promoted is changed, and only what was changed then is set back: what somebody else moved meanwhile
stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from serving.models.views import ModelView
from serving.rollout.canary import Rollout

# Versions that an alias may name for it to be moved.
MOST_EXPECTED = 16


class Outcome(StrEnum):
    WRITTEN = "written"
    UNCHANGED = "unchanged"
    LEFT_ALONE = "left_alone"
    REFUSED = "refused"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class AliasMark:
    """``expect``: what ``name`` may name for it to be moved, None: nothing. ``ours``: it was moved
    by us, away from ``before``. ``done``: nothing is left to do."""

    name: str
    expect: tuple[int | None, ...] = ()
    before: int | None = None
    ours: bool = False
    done: bool = False


@dataclass(frozen=True, slots=True)
class TagsMark:
    """``before``: what the version had under each key, None: no such tag; empty while that is not
    known. ``done``: nothing is left to do."""

    wanted: Mapping[str, str] = field(default_factory=dict)
    before: Mapping[str, str | None] = field(default_factory=dict)
    done: bool = False


@dataclass(frozen=True, slots=True)
class Promotion:
    """Of ``candidate`` in place of ``base``, at ``at`` (seconds since the epoch). ``seen``: the
    route had it so. ``stands`` False: it was taken back, by a rollback. ``alias`` and ``tags``
    None: none is written. ``said``: what came of it last, in words."""

    model: str
    candidate: int
    base: int
    at: float
    seen: bool = False
    stands: bool = True
    alias: AliasMark | None = None
    tags: TagsMark | None = None
    said: str = ""

    @property
    def waits(self) -> bool:
        return any(mark is not None and not mark.done for mark in (self.alias, self.tags))


def promoted(
    rollout: Rollout,
    alias: str,
    tags: Mapping[str, str],
    named: int | None,
    before: Promotion | None,
) -> Promotion:
    """``named``: what the alias named when it was last looked at; ``before``: the promotion before
    this one, of which that look may not know yet."""
    mark = None
    if alias:
        expected = tuple(dict.fromkeys((named, *_ours(before, alias))))
        mark = AliasMark(alias, expected[:MOST_EXPECTED], named)
    wanted = TagsMark(tags) if tags else None
    model, candidate = rollout.model, rollout.candidate
    return Promotion(model, candidate, rollout.base, rollout.changed, alias=mark, tags=wanted)


def _ours(before: Promotion | None, alias: str) -> tuple[int | None, ...]:
    """What the alias may name by our own doing."""
    if before is None or before.alias is None or before.alias.name != alias:
        return ()
    mark = before.alias
    if mark.done:
        return (before.candidate if before.stands else mark.before,) if mark.ours else ()
    return (before.candidate, mark.before, *mark.expect)


def as_asked(promotion: Promotion, alias: str, *, tags: bool) -> Promotion | None:
    """One of an earlier life, of which nothing is written that the settings ask for no more; None:
    nothing at all is."""
    mark = promotion.alias
    kept = mark if mark is not None and mark.name == alias else None
    kept_tags = promotion.tags if tags else None
    if kept is None and kept_tags is None:
        return None
    return replace(promotion, alias=kept, tags=kept_tags)


def holder(view: ModelView) -> int | None:
    """The version that is to answer all, by command; None: no single one is named."""
    if view.pinned is not None:
        return view.pinned
    named = [version for version, weight in view.split.weights.items() if weight]
    return named[0] if len(named) == 1 else None


def routed(promotion: Promotion, view: ModelView) -> Promotion:
    """After the model's route changed: one to the version from before, or an older one, takes the
    promotion back, and one to the promoted version puts it in force again. As long as the route
    does not show the promotion, its weights may be those from before; a pin never is."""
    held = holder(view)
    if held is None and not _answers_undivided(promotion.candidate, view):
        return promotion
    if held in (None, promotion.candidate):
        return _standing(replace(promotion, seen=True), stands=True)
    went_back = held == promotion.base or held < promotion.candidate
    if went_back and (promotion.seen or view.pinned is not None):
        return _standing(promotion, stands=False)
    return promotion


def _answers_undivided(version: int, view: ModelView) -> bool:
    """As the newest, without a weight: so a promotion leaves a route that was not divided before.
    That another one does says nothing: this one may be about to be loaded."""
    return not any(view.split.weights.values()) and view.default == version


def _standing(promotion: Promotion, *, stands: bool) -> Promotion:
    if promotion.stands is stands:
        return promotion
    alias, tags = promotion.alias, promotion.tags
    return replace(
        promotion,
        stands=stands,
        alias=None if alias is None else replace(alias, done=False),
        tags=None if tags is None else replace(tags, done=False),
    )


# Aliases.


@dataclass(frozen=True, slots=True)
class AliasStep:
    """What is to be done now that is known what the alias names. ``after``: the promotion, once it
    is done; ``begun``: to be kept before it is, since it may be done without our hearing of it.
    ``to``: what it is to name, where ``outcome`` is WRITTEN. ``words``: what came of it, "" where
    there is nothing to tell."""

    after: Promotion
    outcome: Outcome = Outcome.UNCHANGED
    begun: Promotion | None = None
    to: int | None = None
    words: str = ""


def alias_step(promotion: Promotion, mark: AliasMark, found: int | None) -> AliasStep:
    """``mark``: the promotion's; ``found``: the version that its alias names."""
    if promotion.stands:
        return _move(promotion, mark, found)
    return _move_back(promotion, mark, found)


def _move(promotion: Promotion, mark: AliasMark, found: int | None) -> AliasStep:
    candidate = promotion.candidate
    if found == candidate:
        words = f"alias '{mark.name}' names version {candidate}"
        return AliasStep(_marked(promotion, mark, words), words=words)
    if found in mark.expect or (mark.ours and found == mark.before):
        begun = replace(mark, before=found, ours=True)
        words = f"alias '{mark.name}' was moved from {_version(found)} to version {candidate}"
        after = _marked(promotion, begun, words)
        return AliasStep(after, Outcome.WRITTEN, replace(promotion, alias=begun), candidate, words)
    return _left(promotion, replace(mark, ours=False), found)


def _move_back(promotion: Promotion, mark: AliasMark, found: int | None) -> AliasStep:
    if not mark.ours:
        return AliasStep(_marked(promotion, mark, promotion.said))
    if found == mark.before:
        words = f"alias '{mark.name}' names {_version(found)} again"
        return AliasStep(_marked(promotion, mark, words), words=words)
    if found != promotion.candidate:
        return _left(promotion, mark, found)
    words = f"alias '{mark.name}' was set back from {_version(found)} to {_version(mark.before)}"
    after = _marked(promotion, mark, words)
    return AliasStep(after, Outcome.WRITTEN, promotion, mark.before, words)


def _left(promotion: Promotion, mark: AliasMark, found: int | None) -> AliasStep:
    words = f"alias '{mark.name}' names {_version(found)} by now: somebody moved it, and it stays"
    return AliasStep(_marked(promotion, mark, words), Outcome.LEFT_ALONE, words=words)


def _marked(promotion: Promotion, mark: AliasMark, said: str) -> Promotion:
    return replace(promotion, alias=replace(mark, done=True), said=said)


def _version(number: int | None) -> str:
    return "no version" if number is None else f"version {number}"


# Tags.


@dataclass(frozen=True, slots=True)
class TagsStep:
    """As ``AliasStep``. ``changes``: by key the value it is to have, None: it is taken away."""

    after: Promotion
    outcome: Outcome
    begun: Promotion
    changes: Mapping[str, str | None]
    words: str


def tags_step(promotion: Promotion, mark: TagsMark, found: Mapping[str, str]) -> TagsStep:
    """``mark``: the promotion's; ``found``: the tags that the version has."""
    # After a try that was cut off some are set already.
    known = mark.before or {key: found.get(key) for key in mark.wanted}
    begun = replace(mark, before=known) if promotion.stands else mark
    left = [key for key, was in known.items() if found.get(key) not in (was, mark.wanted.get(key))]
    changes: dict[str, str | None] = {
        key: mark.wanted.get(key) if promotion.stands else was
        for key, was in known.items()
        if key not in left
    }
    changes = {key: value for key, value in changes.items() if found.get(key) != value}
    words = _tag_words(promotion, changes, left)
    after = replace(promotion, tags=replace(begun, done=True))
    outcome = Outcome.WRITTEN if changes else Outcome.UNCHANGED
    if left:
        outcome = Outcome.LEFT_ALONE
    return TagsStep(after, outcome, replace(promotion, tags=begun), changes, words)


def _tag_words(promotion: Promotion, changes: Mapping[str, str | None], left: list[str]) -> str:
    parts = []
    if changes:
        done = "set" if promotion.stands else "set back"
        parts.append(f"tags of version {promotion.candidate} were {done}: {', '.join(changes)}")
    if left:
        parts.append(f"somebody else set {', '.join(left)}, which stays")
    return "; ".join(parts)
