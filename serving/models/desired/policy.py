"""What to do next, as a pure function of what is on disk, what was said and what is loaded.

No clock, thread or socket here: time is an argument, and the actions that come
back are done by the reconciler, which then asks again until there are none. It is asked about
one model at a time; what models share, the places in the loader, is in ``places`` and ``waiting``.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from serving.backoff import wait_s
from serving.errors import Retry
from serving.models.desired import places
from serving.models.desired.candidates import Candidate, ModelTarget
from serving.models.desired.choosing import (
    ByVersion,
    Choice,
    by_version,
    choose,
    find_in,
    serves,
)
from serving.models.desired.places import GiveWay, Load, MoveOver
from serving.models.desired.waiting import Turn
from serving.models.state import PENDING, Passage, Slot, State


@dataclass(frozen=True, slots=True)
class Limits:
    """``loads``: how many slots may be in the loader, and as many slow ones beside them, which
    is what a trial is after ``slow_after_s``; a retry waits ``retry_first_s`` after the first
    failure and twice as long after each further one."""

    loads: int = 1
    slow_after_s: float = 1.0
    retry_first_s: float = 2.0
    retry_max_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Add:
    """A new slot, to be loaded when its turn comes; ``words`` say what for."""

    candidate: Candidate
    words: str = ""


@dataclass(frozen=True, slots=True)
class Cancel:
    """No longer wanted before it was READY."""

    slot: int


@dataclass(frozen=True, slots=True)
class Unload:
    """READY, and its work is done by another, or a command ended it; ``words`` say which."""

    slot: int
    words: str = ""


@dataclass(frozen=True, slots=True)
class Discard:
    """FAILED, and no longer of interest."""

    slot: int


@dataclass(frozen=True, slots=True)
class Annotate:
    """Words for a READY slot that stays though it would not be chosen again ("": none)."""

    slot: int
    words: str


Action = Add | Load | MoveOver | GiveWay | Cancel | Unload | Discard | Annotate


@dataclass(frozen=True, slots=True)
class Steps:
    """What comes next for one model: ``actions`` to be done now, and the slots that may be loaded
    as soon as there are places for them, by their ``turns``."""

    actions: Sequence[Action] = ()
    turns: Mapping[Turn, Slot] = field(default_factory=dict)


NOTHING = Steps()


GONE_FROM_DISK = "no longer on disk; stays until a version that is on disk can answer"
ALL_GONE = "no longer on disk, nor is any other version of the model; stays as loaded"
OUT_OF_POLICY = "not under the version policy; stays until a version that is can answer"
UNREADABLE = "its model directory cannot be read now; stays as loaded"
FILES_CHANGED = "its files changed on disk after it was loaded; what was loaded answers"
RECONFIGURING = "answers with its former configuration until it is loaded with the new one"
RELOADING = "answers with its former files until the new ones are loaded"
KEPT = "answered before; stays loaded for a while, ready for a rollback"
REPLACED = "its work is done by what was loaded in its stead"
BY_COMMAND = "unloaded by command"
WITHDRAWN = "taken out of the model config list"
ASKED_FOR = "asked for by command"
PINNED = "it is pinned"
NAMED = "an alias names it"
DIVIDED = "it shares the requests"
NEW_FILES = "its files changed on disk"
NEW_CONFIG = "its configuration changed"
UNDER_POLICY = "on disk, and the version policy wants it"


def next_actions(target: ModelTarget, slots: Sequence[Slot], now: float, limits: Limits) -> Steps:
    """The next steps of one model towards what is desired; ``slots`` are its own."""
    mine = by_version(slots)
    choice = choose(target, mine)
    if target.unknown:
        actions = list(_hold(target, slots))
    else:
        actions = [*_additions(target, choice, mine), *_removals(target, choice, mine)]
    return Steps(actions, dict(_turns(choice.desired, mine, now, limits)))


def times(slots: Iterable[Slot], limits: Limits) -> Iterator[float]:
    """When something is to be decided again: retries, and trials that then take long."""
    for slot in slots:
        both = retry_at(slot, limits), places.overdue_at(slot, limits.slow_after_s)
        yield from (at for at in both if at is not None)


def retry_at(slot: Slot, limits: Limits) -> float | None:
    """When a FAILED slot may be tried again; None: not before its files change."""
    if slot.state is not State.FAILED or slot.retry is not Retry.LATER or slot.cancelled:
        return None
    return slot.since + wait_s(slot.attempts, limits.retry_first_s, limits.retry_max_s)


def _additions(target: ModelTarget, choice: Choice, slots: ByVersion) -> Iterator[Action]:
    for candidate in choice.desired:
        if candidate.whole and find_in(slots, candidate) is None:
            former = slots.get(candidate.version, ())
            is_beside = candidate.version in choice.beside
            yield Add(candidate, _why_added(target, candidate, former, is_beside=is_beside))


def _why_added(
    target: ModelTarget, candidate: Candidate, former: Sequence[Slot], *, is_beside: bool
) -> str:
    """``former``: slots of the same version, of other files or another configuration."""
    version = candidate.version
    if candidate.exact:
        return ASKED_FOR
    if former:
        return NEW_CONFIG if former[-1].key.files == candidate.key.files else NEW_FILES
    if is_beside:
        return DIVIDED if version in target.split.versions else NAMED
    if target.wanted and version != target.pinned:
        return UNDER_POLICY
    return PINNED if version == target.pinned else ASKED_FOR


def _removals(target: ModelTarget, choice: Choice, slots: ByVersion) -> Iterator[Action]:
    """Load new before dropping old: a READY slot leaves when another does its work."""
    wanted = {candidate.version: candidate for candidate in choice.desired}
    chosen = choice.for_all
    best = {v: _best(same, wanted.get(v)) for v, same in slots.items()}
    serving = {
        v
        for v, slot in best.items()
        if slot
        and slot.takes_traffic
        and v in wanted
        and v not in choice.beside
        and serves(slot, wanted[v])
    }
    coming = "" if serving else _coming(chosen, slots)
    for slot in itertools.chain.from_iterable(slots.values()):
        candidate = wanted.get(slot.version)
        if target.dismissed(slot.version):
            yield from _dismissal(slot, _why_dismissed(target, slot.version), coming)
        elif _is_replaced(slot, best[slot.version], candidate):
            yield Unload(slot.id, REPLACED)
        elif slot.state is State.NEW and candidate is not None and candidate.gone:
            yield Cancel(slot.id)
        elif candidate is not None and serves(slot, candidate):
            yield from _remark(slot, _changed(slot, candidate))
        elif slot.state is not State.READY:
            yield from _unready(slot, target, serving)
        elif _is_kept(slot, target, candidate):
            yield from _remark(slot, KEPT)
        elif candidate is not None:
            # Only that version's own new slot will do its work.
            yield from _remark(slot, _why_former(slot, candidate, find_in(slots, candidate)))
        elif _has_successor(slot, serving, target.held):
            yield Unload(slot.id, _why_left(slot, target))
        else:
            yield from _remark(slot, _why_kept(slot, target, chosen))


def _is_replaced(slot: Slot, best: Slot | None, candidate: Candidate | None) -> bool:
    """Whether another READY slot of its version does its work. One that its gates keep from
    traffic stays beside the one that it is to replace."""
    if slot.state is not State.READY or slot is best:
        return False
    return slot.takes_traffic or candidate is None or not serves(slot, candidate)


def _unready(slot: Slot, target: ModelTarget, serving: Collection[int]) -> Iterator[Action]:
    """What becomes of a slot that never served and is not asked for."""
    if slot.state in PENDING:
        yield Cancel(slot.id)
    elif serving or not _on_disk(slot, target):
        yield Discard(slot.id)


def _why_dismissed(target: ModelTarget, version: int) -> str:
    delisted = target.delisted and version not in target.out
    return WITHDRAWN if target.withdrawn or delisted else BY_COMMAND


def _dismissal(slot: Slot, why: str, coming: str = "") -> Iterator[Action]:
    """Ended by command; a version that answers does so until what is ``coming`` can."""
    if slot.state in PENDING:
        yield Cancel(slot.id)
    elif slot.state is State.FAILED:
        yield Discard(slot.id)
    elif coming:
        yield from _remark(slot, f"{why} as soon as {coming} is ready")
    else:
        yield Unload(slot.id, why)


def _coming(chosen: Sequence[Candidate], slots: ByVersion) -> str:
    """The first desired version that is on its way to READY."""
    for candidate in chosen:
        slot = find_in(slots, candidate)
        if candidate.whole if slot is None else slot.state in PENDING or slot.is_judged:
            return f"version {candidate.version}"
    return ""


def _best(slots: Sequence[Slot], candidate: Candidate | None) -> Slot | None:
    """Of a version's READY slots the one that answers: the newest that the candidate asks for, of
    those that may.

    There are two when a new slot became READY while the source could not say what it wants.
    """
    ready = [slot for slot in slots if slot.state is State.READY]
    return max(
        ready,
        key=lambda slot: (
            slot.passage is Passage.OPEN,
            candidate is not None and serves(slot, candidate),
            slot.id,
        ),
        default=None,
    )


def _is_kept(slot: Slot, target: ModelTarget, candidate: Candidate | None) -> bool:
    """Whether it stays for a rollback: only as it is, and as long as it is on disk."""
    return candidate is None and slot.version == target.kept and target.of(slot.version) is not None


def _has_successor(slot: Slot, serving: Collection[int], held: Collection[int]) -> bool:
    """Whether what is READY and desired does the work of a slot of another version: any that may
    answer in its place."""
    return any(version not in held for version in serving) or bool(serving and slot.version in held)


def _hold(target: ModelTarget, slots: Sequence[Slot]) -> Iterator[Action]:
    """The source can't say: only what a command ended goes."""
    for slot in slots:
        if slot.leaving:
            continue
        if target.dismissed(slot.version):
            yield from _dismissal(slot, _why_dismissed(target, slot.version))
        else:
            yield from _remark(slot, UNREADABLE)


def _remark(slot: Slot, words: str) -> Iterator[Action]:
    if slot.state is State.READY and slot.remark != words:
        yield Annotate(slot.id, words)


def _changed(slot: Slot, candidate: Candidate) -> str:
    return FILES_CHANGED if slot.key.files != candidate.key.files else ""


def _on_disk(slot: Slot, target: ModelTarget) -> bool:
    return any(serves(slot, candidate) and not candidate.gone for candidate in target.versions)


def _any_on_disk(target: ModelTarget) -> bool:
    return any(not candidate.gone for candidate in target.versions)


def _why_left(slot: Slot, target: ModelTarget) -> str:
    if target.of(slot.version) is None:
        return "no longer on disk"
    return "no longer under the version policy"


def _why_kept(slot: Slot, target: ModelTarget, chosen: Sequence[Candidate]) -> str:
    if target.of(slot.version) is None:
        return GONE_FROM_DISK if _any_on_disk(target) else ALL_GONE
    if chosen and chosen[0].version in target.held:
        return f"answers while version {chosen[0].version} is held back"
    if chosen:
        return f"answers until version {chosen[0].version} is ready"
    return OUT_OF_POLICY


def _why_former(slot: Slot, candidate: Candidate, successor: Slot | None) -> str:
    files = slot.key.config == candidate.key.config
    if successor is None or successor.state is not State.FAILED:
        return RELOADING if files else RECONFIGURING
    if files:
        return f"answers with its former files; the new ones: {successor.reason}"
    return f"answers with its former configuration; the new one: {successor.reason}"


def _turns(
    chosen: Sequence[Candidate], slots: ByVersion, now: float, limits: Limits
) -> Iterator[tuple[Turn, Slot]]:
    """Who may be loaded now, with its place in the line: first attempts before retries, those
    that gave way to others less often, models without an answer before others, the small
    before the huge, newest versions first."""
    has_answer = any(s.state is State.READY for same in slots.values() for s in same)
    for rank, candidate in enumerate(chosen):
        slot = find_in(slots, candidate) if candidate.whole else None
        if slot is None:
            continue
        at = retry_at(slot, limits)
        if slot.state is State.NEW or (at is not None and at <= now):
            again = slot.attempts > 0
            order = (rank, candidate.weight, -slot.version, slot.model)
            yield (again, slot.gave_way, has_answer, *order), slot
