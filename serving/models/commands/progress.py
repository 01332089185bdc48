"""How far a command has come: pure functions of what is on disk, loaded and routed."""

from __future__ import annotations

from collections.abc import Sequence

from serving.errors import ErrorCode, Retry
from serving.models import advice
from serving.models.commands import routing
from serving.models.commands.command import (
    AcceptVersion,
    BlessVersion,
    Command,
    FollowList,
    LoadModel,
    Outcome,
    Rollback,
    SetAlias,
    SetDefault,
    SetRoute,
    UnloadModel,
)
from serving.models.commands.facts import Facts, missing, not_found
from serving.models.desired import choosing
from serving.models.desired.candidates import Candidate
from serving.models.state import Slot, State


def resolved(command: Command, facts: Facts) -> Command | None:
    """The command in terms of versions: a rollback is a default; None: nothing to go back to."""
    if not isinstance(command, Rollback):
        return command
    if facts.previous is None:
        return None
    return SetDefault(command.model, facts.previous)


def refusal(command: Command, facts: Facts, sent: frozenset[int] | None = None) -> Outcome | None:
    """Why the command can't be carried out at all; None: it can. Nothing is changed by one
    that can't. ``sent``: the versions among the files that came with a load."""
    match command:
        case LoadModel():
            return _refused_load(command, facts, sent)
        case UnloadModel(version=version):
            known = facts.found or facts.slots or facts.overridden
            if not known or (version is not None and not _ever(version, facts)):
                return not_found(facts, version)
        case SetDefault(version=version):
            return _refused_default(version, facts)
        case AcceptVersion(version=version) | BlessVersion(version=version):
            refused = _refused_accept if isinstance(command, AcceptVersion) else _refused_bless
            return refused(version, facts)
        case SetAlias() | SetRoute():
            return routing.refusal(command, facts)
        case FollowList():
            return missing(facts, None)
        case Rollback():
            if facts.previous is None:
                words = f"no version of model '{facts.model}' answered before"
                return Outcome(ErrorCode.BAD_REQUEST, words, facts.default)
    return None


def _refused_load(command: LoadModel, facts: Facts, sent: frozenset[int] | None) -> Outcome | None:
    if sent is None:
        return missing(facts, command.version)
    if command.version is not None and command.version not in sent:
        return not_found(facts, command.version)
    return None


def _refused_default(version: int | None, facts: Facts) -> Outcome | None:
    if "pin" in facts.target.fixed:
        words = f"model.yaml pins model '{facts.model}' to version {facts.target.pinned}"
        return Outcome(ErrorCode.FAILED_PRECONDITION, words, facts.default)
    if version is None:
        known = facts.found or facts.slots or facts.overridden
        return None if known else not_found(facts, None)
    if (shut := facts.shut_by_gates(version)) is not None:
        return shut
    return None if facts.is_loaded(version) else missing(facts, version)


def _refused_bless(version: int, facts: Facts) -> Outcome | None:
    """Nothing but a gate keeps a version from traffic that a blessing lets through."""
    if facts.gated(version) is not None:
        return None
    if not _ever(version, facts):
        return not_found(facts, version)
    what = f"version {version} of model '{facts.model}'"
    if facts.is_loaded(version):
        words = f"no gate keeps {what} from traffic: there is nothing to bless"
    else:
        words = f"{what} is not loaded; to load it: {advice.load(facts.model, version)}"
    return Outcome(ErrorCode.BAD_REQUEST, words, facts.default)


def _refused_accept(version: int, facts: Facts) -> Outcome | None:
    """Nobody knows the signature of what was never loaded; and a pin is no signature's matter."""
    mine = [s for s in facts.slots if s.version == version and s.signature is not None]
    if mine:
        serve = all(slot.state is State.READY for slot in mine)
        return _only_pinned(version, facts) if serve else None
    if not _ever(version, facts):
        return not_found(facts, version)
    words = f"version {version} of model '{facts.model}' is not loaded, its signature is not known"
    return Outcome(ErrorCode.BAD_REQUEST, words, facts.default)


def _only_pinned(version: int, facts: Facts) -> Outcome | None:
    """Where nothing but a pin keeps a version that is ready from answering."""
    pinned = facts.target.pinned
    if pinned in (None, version) or facts.default != pinned or version in facts.target.held:
        return None
    words = (
        f"version {version} of model '{facts.model}' is not held back for its signature, so there"
        f" is nothing to accept: the model is pinned to version {pinned} (to let go of the pin:"
        f" {advice.unpin(facts.model)})"
    )
    return Outcome(ErrorCode.BAD_REQUEST, words, facts.default)


def _ever(version: int, facts: Facts) -> bool:
    return (
        facts.has(version)
        or version in facts.target.out
        or version in facts.target.extra
        or any(slot.version == version for slot in facts.slots)
    )


def outcome(command: Command, facts: Facts) -> Outcome | None:
    """What came of a command that was taken up; None while it goes on."""
    match command:
        case LoadModel():
            return _of_load(command, facts)
        case UnloadModel(version=version):
            return _of_unload(version, facts)
        case SetDefault(version=version):
            return _of_default(version, facts)
        case AcceptVersion(version=version):
            # It may be one that nobody wants loaded: then there is nothing to wait for.
            now = choosing.desired(facts.target, facts.slots)
            return _of_candidates(
                [candidate for candidate in now if candidate.version == version], facts
            )
        case BlessVersion():
            return Outcome(version=facts.default)
        case SetAlias():
            return routing.alias_outcome(command, facts)
        case SetRoute():
            return _of_route(command, facts)
        case FollowList(model=model):
            return _of_list(model, facts)
        case Rollback():
            return _of_default(facts.target.pinned, facts)


def _of_load(command: LoadModel, facts: Facts, *, beside: bool = False) -> Outcome | None:
    """``beside``: what is there for its aliases only is waited for, too."""
    target = facts.target
    if target.unknown:
        return missing(facts, command.version)
    targets = _aimed_at(command, facts, beside=beside)
    if not targets:
        return _nothing_to_load(facts)
    return _of_candidates(targets, facts)


def _of_candidates(targets: Sequence[Candidate], facts: Facts) -> Outcome | None:
    failures = []
    for candidate in targets:
        slot = _slot_of(candidate, facts.slots)
        if not candidate.whole and slot is None:
            failures.append((candidate.version, candidate.note, Retry.NEVER))
        elif slot is not None and slot.state is State.FAILED:
            failures.append((candidate.version, slot.reason, slot.retry))
        elif slot is None or slot.state is not State.READY:
            return None
    return _load_ended(facts, failures)


def _aimed_at(command: LoadModel, facts: Facts, *, beside: bool) -> Sequence[Candidate]:
    """The versions that are to be loaded, and those that would be if all their files were there
    (a folder that holds none is no version yet)."""
    target = facts.target
    if command.version is not None:
        return [candidate for candidate in target.versions if candidate.version == command.version]
    whole = choosing.desired_if_whole(target, beside=beside)
    wanting = [one for one in whole if not one.whole and one.key.files]
    desired = choosing.desired if beside else choosing.desired_for_all
    now = desired(target, facts.slots)
    return [*wanting, *(candidate for candidate in now if candidate not in wanting)]


def _slot_of(candidate: Candidate, slots: Sequence[Slot]) -> Slot | None:
    """The slot that tells how the version fares. While its files change again, that is the last
    one, which was made of what the command found."""
    if candidate.whole:
        return choosing.find(slots, candidate)
    mine = [slot for slot in slots if slot.version == candidate.version and not slot.leaving]
    return max(mine, key=lambda slot: slot.id, default=None)


def _nothing_to_load(facts: Facts) -> Outcome:
    words = (
        f"at least one version must be available under the version policy of model '{facts.model}'"
    )
    notes = [candidate for candidate in facts.target.versions if candidate.note]
    if notes:
        words += f" (version {notes[-1].version}: {notes[-1].note})"
    return Outcome(ErrorCode.BAD_REQUEST, words, facts.default)


def _load_ended(facts: Facts, failures: Sequence[tuple[int, str, Retry]]) -> Outcome:
    if not failures:
        return Outcome(version=facts.default)
    # Triton's words; its clients look for them.
    states = "; ".join(f"version {v} is at UNAVAILABLE state: {why}" for v, why, _ in failures)
    heals = all(retry is Retry.LATER for _, _, retry in failures)
    return Outcome(
        ErrorCode.UNAVAILABLE if heals else ErrorCode.BAD_REQUEST,
        f"load failed for model '{facts.model}': {states}",
        facts.default,
    )


def _of_unload(version: int | None, facts: Facts) -> Outcome | None:
    """Slots that were asked for again meanwhile are none of the unload's business."""
    left = [
        slot
        for slot in facts.slots
        if (version is None or slot.version == version)
        and (slot.leaving or facts.target.dismissed(slot.version))
    ]
    return None if left else Outcome(version=facts.default)


def _of_default(version: int | None, facts: Facts) -> Outcome | None:
    if version is None or facts.default == version:
        return Outcome(version=facts.default)
    candidate = facts.target.of(version)
    if candidate is None:
        return not_found(facts, version)
    slot = choosing.find(facts.slots, candidate)
    if slot is not None and slot.state is State.FAILED:
        return _load_ended(facts, [(version, slot.reason, slot.retry)])
    if (shut := facts.shut_by_gates(version)) is not None:
        return shut
    if slot is None and not candidate.whole and not candidate.settling:
        return _load_ended(facts, [(version, candidate.note, Retry.NEVER)])
    return None


def _of_route(command: SetRoute, facts: Facts) -> Outcome | None:
    split = facts.target.split
    named = [one for one in facts.target.versions if one.version in split.versions]
    lost = split.versions - {one.version for one in named}
    for version in sorted(lost):
        if not facts.is_loaded(version):
            return not_found(facts, version)
    others = [one for one in named if not facts.is_loaded(one.version)]
    outcome = _of_candidates(others, facts)
    if outcome is None or not outcome.ok:
        return outcome
    if (unfit := routing.unfit_shadow(command.shadows or {}, facts)) is not None:
        return unfit
    # What is ready but for its gates gets nothing of its weight; copies it gets.
    weighed = [one for one in others if one.version not in split.shadows]
    gated = [(one.version, facts.gated(one.version)) for one in weighed]
    if any(slot is not None and slot.is_judged for _, slot in gated):
        return None
    shut = [facts.shut_by_gates(version) for version, slot in gated if slot is not None]
    return next(filter(None, shut), outcome)


def _of_list(model: str, facts: Facts) -> Outcome | None:
    outcome = _of_load(LoadModel(model), facts, beside=True)
    if outcome is None or not outcome.ok:
        return outcome
    labels = {alias: facts.target.aliases.wanted[alias] for alias in facts.target.aliases.fixed}
    for version in sorted(labels.values()):
        gated = facts.gated(version)
        if gated is not None and gated.is_judged:
            return None
        if not facts.is_loaded(version):
            return routing.not_available(version, facts)
    return outcome
