"""Which of a model's versions are followed, and which one each alias names. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from serving.registry.mlflow.answers import READY, RegisteredModel, RegisteredVersion
from serving.registry.mlflow.asked import AskedModel, TagRule


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a model: what the registry last said as far as it is followed, and for each
    alias the last version that it named and that was ready here (``good``)."""

    versions: tuple[RegisteredVersion, ...] = ()
    aliases: Mapping[str, int] = field(default_factory=dict)
    good: Mapping[str, int] = field(default_factory=dict)

    @property
    def numbers(self) -> frozenset[int]:
        return frozenset(one.number for one in self.versions)


@dataclass(frozen=True, slots=True)
class Followed:
    """``answering``: versions one of which is to answer requests that name none, None: the newest
    is. ``error``: why nothing can be said of its versions; ``notes``: what is not followed."""

    known: Known
    aliases: Mapping[str, int] = field(default_factory=dict)
    answering: tuple[int, ...] | None = None
    error: str = ""
    notes: tuple[str, ...] = ()


def follow(
    asked: AskedModel,
    model: RegisteredModel,
    versions: Sequence[RegisteredVersion],
    rules: Sequence[TagRule],
    before: Known,
    is_good: Callable[[RegisteredVersion], bool],
) -> Followed:
    """``before``: as it was known; ``is_good``: whether a version is ready here."""
    fit = tuple(one for one in versions if not refusal(one, rules))
    unfit = {one.number: why for one in versions if (why := refusal(one, rules))}
    by_number = {one.number: one for one in fit}
    aliases, notes = {}, []
    for alias, number in sorted(model.aliases.items()):
        if number in by_number:
            aliases[alias] = number
            continue
        stays = before.aliases.get(alias)
        why = unfit.get(number, "it is not there")
        notes.append(
            f"alias '{alias}' names version {number}, which is not taken ({why})"
            + (f"; it stays at version {stays}" if stays in by_number else "")
        )
        if stays is not None and stays in by_number:
            aliases[alias] = stays
    notes += _newest(unfit, fit)
    good = {
        alias: number if is_good(by_number[number]) else before.good.get(alias, 0)
        for alias, number in aliases.items()
    }
    good = {alias: number for alias, number in good.items() if number in by_number}
    known = Known(fit, aliases, good)
    return _answered(asked, Followed(known, aliases, None, "", tuple(notes)), good)


def offline(
    asked: AskedModel, known: Known, is_here: Callable[[RegisteredVersion], bool]
) -> Followed:
    """By what was last known, of what is on this machine."""
    here = tuple(one for one in known.versions if is_here(one))
    numbers = {one.number for one in here}
    good = {alias: number for alias, number in known.good.items() if number in numbers}
    aliases = {**good, **{a: n for a, n in known.aliases.items() if n in numbers}}
    return _answered(asked, Followed(Known(here, aliases, good), aliases), good)


def refusal(version: RegisteredVersion, rules: Sequence[TagRule]) -> str:
    """Why a version is not taken, in words; "" where it is."""
    if version.status != READY:
        return f"its status is {version.status[:32]}"
    return next((why for rule in rules if (why := rule.refusal(version.tags))), "")


def _newest(unfit: Mapping[int, str], fit: Sequence[RegisteredVersion]) -> list[str]:
    """Somebody may wait for it."""
    newest = max(unfit, default=0)
    if newest <= max((one.number for one in fit), default=0):
        return []
    return [f"version {newest} is not taken: {unfit[newest]}"]


def _answered(asked: AskedModel, followed: Followed, good: Mapping[str, int]) -> Followed:
    """Until what the alias names has been ready once, what it named before is loaded, too: also by
    a start, which has it only from here."""
    wanted = asked.version
    if asked.alias:
        wanted = followed.aliases.get(asked.alias)
        if wanted is None:
            words = f"MLflow's registry has no version by its alias '{asked.alias}' to be served"
            return Followed(followed.known, followed.aliases, None, words, followed.notes)
    if wanted is None:
        return followed
    last = good.get(asked.alias, wanted)
    answering = (wanted,) if last == wanted else (wanted, last)
    return Followed(followed.known, followed.aliases, answering, "", followed.notes)
