"""Which versions of a model should be loaded, and which of them answers. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from serving.models.desired.candidates import Candidate, ModelTarget
from serving.models.state import PENDING, Passage, Slot, State
from serving.rollout.plan import Plan, Standing, decide, first_to_load

# Held back versions, beyond those that stay loaded, below which one that fits is looked for: each
# of them is loaded once, to know.
_MOST_PASSED_OVER = 8

# A model's slots that something is to be decided about.
ByVersion = dict[int, list[Slot]]


@dataclass(frozen=True, slots=True)
class Choice:
    """``plan``: who answers, and what stays loaded for that. ``desired``: the versions that should
    be loaded, in this order; ``beside``: those of them that are there for their aliases only, or to
    share requests, and so do nobody else's work; ``coming``: the others that are on their way to
    READY, and have not failed yet."""

    plan: Plan
    desired: tuple[Candidate, ...]
    coming: frozenset[int]
    beside: frozenset[int] = frozenset()

    @property
    def versions(self) -> frozenset[int]:
        return frozenset(candidate.version for candidate in self.desired)

    @property
    def for_all(self) -> tuple[Candidate, ...]:
        """``desired`` without ``beside``."""
        return tuple(one for one in self.desired if one.version not in self.beside)


def desired(target: ModelTarget, slots: Sequence[Slot]) -> tuple[Candidate, ...]:
    """The versions that should be loaded: the pinned one, or else the one with most of the
    requests where they are divided, then the newest first.

    ``latest n`` counts good versions: a failed one stays in the answer (it may be
    tried again) and the next lower one is desired beside it. So with one that is held back, but
    of those no more than n stay. A pinned version, and one that was asked for by number, are
    desired whatever the policy says; so is what the plan keeps, and before the others where one
    of them is held back; and, after the others, what an alias names, shares requests or gets
    copies.
    """
    return choose(target, by_version(slots)).desired


def desired_for_all(target: ModelTarget, slots: Sequence[Slot]) -> tuple[Candidate, ...]:
    """Of these the ones that are not there for their aliases only."""
    return choose(target, by_version(slots)).for_all


def desired_if_whole(target: ModelTarget, *, beside: bool = True) -> tuple[Candidate, ...]:
    """What would be desired if all on disk were whole and nothing had failed; ``beside``: what
    would be there for its aliases only, too."""
    notes = {candidate.version: candidate for candidate in target.versions}
    whole = tuple(replace(candidate, whole=not candidate.gone) for candidate in target.versions)
    choice = choose(replace(target, versions=whole), {})
    chosen = choice.desired if beside else choice.for_all
    return tuple(notes[candidate.version] for candidate in chosen)


def choose(target: ModelTarget, slots: ByVersion, answering: int | None = None) -> Choice:
    """``slots``: the model's; ``answering``: the version that answers now."""
    candidates, wanted = _wanted(target, slots)
    # No other can be chosen.
    likely = wanted | target.aliases.versions | target.split.versions | {target.answered}
    there = {one.version: one for one in candidates if one.version in likely}
    standing = _standing(there, slots, answering)
    plan = decide(
        *(standing, target.held, wanted, target.pinned, target.answered),
        *(target.aliases, target.split),
    )
    versions = wanted | plan.keep
    beside = plan.named - versions
    waits = wanted & (target.held | standing.barred)
    first = {first_to_load(target.split, target.held, target.pinned)}
    first |= plan.keep if waits else frozenset()
    chosen = [one for one in candidates if one.version in versions | beside]
    chosen.sort(key=lambda one: (one.version not in first, one.version in beside))
    return Choice(plan, tuple(chosen), standing.coming & versions, beside)


def _standing(
    candidates: Mapping[int, Candidate], slots: ByVersion, answering: int | None
) -> Standing:
    return Standing(
        there=frozenset(candidates),
        coming=frozenset([v for v, candidate in candidates.items() if _comes(candidate, slots)]),
        ready=frozenset([v for v, same in slots.items() if any(map(_takes_traffic, same))]),
        barred=frozenset([v for v, same in slots.items() if _passage(same) is not Passage.OPEN]),
        answering=answering,
    )


def _comes(candidate: Candidate, slots: ByVersion) -> bool:
    """Whether it is on its way to READY, and has not failed yet."""
    slot = find_in(slots, candidate)
    if slot is None:
        return candidate.whole
    return (slot.state in PENDING and slot.attempts == 0) or slot.is_judged


def _takes_traffic(slot: Slot) -> bool:
    return slot.takes_traffic


def _passage(slots: Sequence[Slot]) -> Passage:
    """Of a version that is ready, by its slots: one that takes traffic goes before others, then
    the newest. Of any other it is open."""
    ready = [slot for slot in slots if slot.state is State.READY]
    if not ready or any(map(_takes_traffic, ready)):
        return Passage.OPEN
    return max(ready, key=lambda slot: slot.id).passage


def _wanted(target: ModelTarget, slots: ByVersion) -> tuple[Sequence[Candidate], frozenset[int]]:
    """What may be loaded, the newest first; and what of it, or beside it, is asked for."""
    candidates = [
        candidate
        for candidate in sorted(target.versions, key=lambda candidate: -candidate.version)
        if (candidate.whole or _has_slot(candidate, slots))
        and not target.dismissed(candidate.version)
    ]
    by_policy = {candidate.version for candidate in _by_policy(target, candidates, slots)}
    pinned = () if target.pinned is None else (target.pinned,)
    return candidates, target.extra.union(by_policy, pinned)


def _has_slot(candidate: Candidate, slots: ByVersion) -> bool:
    """Whether a version that can't be loaded now has a slot that counts all the same."""
    same = slots.get(candidate.version, ())
    return any(slot.state is State.READY or not candidate.gone for slot in same)


def _by_policy(
    target: ModelTarget, candidates: Sequence[Candidate], slots: ByVersion
) -> Iterator[Candidate] | Sequence[Candidate]:
    policy = target.policy
    if not target.wanted:
        return ()
    if policy.kind == "all":
        return candidates
    if policy.kind == "specific":
        return [candidate for candidate in candidates if candidate.version in policy.specific]
    shut = {v for v, same in slots.items() if _passage(same) is Passage.SHUT}
    return _latest(candidates, policy.latest, slots, target.held | shut)


def find(slots: Sequence[Slot], candidate: Candidate) -> Slot | None:
    """The slot that is what the candidate asks for."""
    return find_in(by_version(slots), candidate)


def by_version(slots: Sequence[Slot]) -> ByVersion:
    """Without those on their way out, which nothing is decided about any more."""
    grouped: ByVersion = {}
    for slot in slots:
        if not slot.leaving:
            grouped.setdefault(slot.version, []).append(slot)
    return grouped


def _latest(
    candidates: Sequence[Candidate], count: int, slots: ByVersion, held: Collection[int]
) -> Iterator[Candidate]:
    good = waiting = 0
    for candidate in candidates:
        if candidate.version in held:
            waiting += 1
            if waiting <= count:
                yield candidate
            elif waiting == count + _MOST_PASSED_OVER:
                return
            continue
        yield candidate
        good += not _failed(candidate, slots)
        if good >= count:
            return


def _failed(candidate: Candidate, slots: ByVersion) -> bool:
    """Whether another version must stand in for it; a retry in progress still counts."""
    same = slots.get(candidate.version, [])
    if any(slot.state is State.READY for slot in same):
        return False
    return any(serves(slot, candidate) and slot.attempts > 0 for slot in same)


def serves(slot: Slot, candidate: Candidate) -> bool:
    """Whether the slot is what the candidate asks for.

    Changed files don't matter to a READY slot that takes traffic unless a command asked for them,
    and nothing matters while the version's files are in motion.
    """
    if slot.version != candidate.version:
        return False
    if not candidate.whole:
        return True
    stays = slot.takes_traffic and not candidate.exact
    same_files = slot.key.files == candidate.key.files or stays
    return same_files and slot.key.config == candidate.key.config


def find_in(slots: ByVersion, candidate: Candidate) -> Slot | None:
    return next(
        (slot for slot in slots.get(candidate.version, ()) if serves(slot, candidate)), None
    )
