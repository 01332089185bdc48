"""How far a command has come: pure functions of what is on disk, loaded and routed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from serving.errors import ErrorCode, Retry
from serving.models import advice
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
    UnloadModel,
)
from serving.models.desired import choosing
from serving.models.desired.candidates import Candidate, ModelTarget
from serving.models.desired.on_disk import numbers
from serving.models.desired.overrides import MOST_ALIASES
from serving.models.state import Slot, State

# Aliases that an error names.
_MOST_NAMED = 4


@dataclass(frozen=True, slots=True)
class Facts:
    """One model as it stands. ``found``: its directory is there, or its files were sent;
    ``overridden``: by a command before. ``error``: why nothing is known of its versions;
    ``disk``: those that are there, also where the model was taken before they came."""

    target: ModelTarget
    slots: Sequence[Slot] = ()
    default: int | None = None
    previous: int | None = None
    found: bool = True
    overridden: bool = False
    error: str = ""
    disk: frozenset[int] = frozenset()

    @property
    def model(self) -> str:
        return self.target.model

    def has(self, version: int) -> bool:
        candidate = self.target.of(version)
        return version in self.disk or (candidate is not None and not candidate.gone)

    def is_loaded(self, version: int) -> bool:
        return any(s.version == version and s.takes_traffic for s in self.slots)

    def gated(self, version: int) -> Slot | None:
        """The version's newest READY slot, where its gates keep it from traffic."""
        mine = [s for s in self.slots if s.version == version and s.state is State.READY]
        newest = max(mine, key=lambda slot: slot.id, default=None)
        return None if newest is None or newest.takes_traffic else newest


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
                return _not_found(facts, version)
        case SetDefault(version=version):
            return _refused_default(version, facts)
        case AcceptVersion(version=version) | BlessVersion(version=version):
            refused = _refused_accept if isinstance(command, AcceptVersion) else _refused_bless
            return refused(version, facts)
        case SetAlias():
            return _refused_alias(command, facts)
        case FollowList():
            return _missing(facts, None)
        case Rollback():
            if facts.previous is None:
                words = f"no version of model '{facts.model}' answered before"
                return Outcome(ErrorCode.BAD_REQUEST, words, facts.default)
    return None


def _refused_load(command: LoadModel, facts: Facts, sent: frozenset[int] | None) -> Outcome | None:
    if sent is None:
        return _missing(facts, command.version)
    if command.version is not None and command.version not in sent:
        return _not_found(facts, command.version)
    return None


def _refused_default(version: int | None, facts: Facts) -> Outcome | None:
    if version is None:
        known = facts.found or facts.slots or facts.overridden
        return None if known else _not_found(facts, None)
    if (gated := facts.gated(version)) is not None and not gated.is_judged:
        return _gated(gated, facts)
    return None if facts.is_loaded(version) else _missing(facts, version)


def _gated(slot: Slot, facts: Facts) -> Outcome:
    words = f"version {slot.version} of model '{facts.model}' is {slot.gate_words}"
    return Outcome(ErrorCode.FAILED_PRECONDITION, words, facts.default)


def _refused_bless(version: int, facts: Facts) -> Outcome | None:
    """Nothing but a gate keeps a version from traffic that a blessing lets through."""
    if facts.gated(version) is not None:
        return None
    if not _ever(version, facts):
        return _not_found(facts, version)
    what = f"version {version} of model '{facts.model}'"
    if facts.is_loaded(version):
        words = f"no gate keeps {what} from traffic: there is nothing to bless"
    else:
        words = f"{what} is not loaded; to load it: {advice.load(facts.model, version)}"
    return Outcome(ErrorCode.BAD_REQUEST, words, facts.default)


def _refused_alias(command: SetAlias, facts: Facts) -> Outcome | None:
    """An alias names only what answers: whoever asks by it is answered at once."""
    aliases, shown = facts.target.aliases.wanted, command.alias
    if shown in facts.target.aliases.fixed:
        words = f"the model config list says what '{shown}' of model '{facts.model}' names"
        return Outcome(ErrorCode.FAILED_PRECONDITION, words, facts.default)
    if command.version is None and shown in aliases:
        return None
    if not (facts.found or facts.slots or facts.overridden):
        return _not_found(facts, None)
    if command.version is None:
        known = f"; its aliases: {_few(sorted(aliases))}" if aliases else ""
        words = f"model '{facts.model}' has no alias '{shown}'{known}"
        return Outcome(ErrorCode.NOT_FOUND, words, facts.default)
    if not facts.is_loaded(command.version):
        return _not_available(command.version, facts)
    if shown not in aliases and len(aliases) >= MOST_ALIASES:
        words = f"model '{facts.model}' has {MOST_ALIASES} aliases, the most that it can have"
        return Outcome(ErrorCode.BAD_REQUEST, words, facts.default)
    return None


def _few(aliases: Sequence[str]) -> str:
    more = len(aliases) - _MOST_NAMED
    return ", ".join(aliases[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _not_available(version: int, facts: Facts) -> Outcome:
    """TensorFlow Serving's words; its clients look for them."""
    words = (
        f"Request to assign label to version {version} of model {facts.model}, which is not"
        f" currently available for inference ({_why_not_available(version, facts)})"
    )
    return Outcome(ErrorCode.FAILED_PRECONDITION, words, facts.default)


def _why_not_available(version: int, facts: Facts) -> str:
    """The state that it is in, with its reason; how to load it only where it isn't."""
    mine = [slot for slot in facts.slots if slot.version == version and not slot.leaving]
    if mine:
        newest = max(mine, key=lambda slot: slot.id)
        if newest.gate_words:
            return f"it {'is ' if not newest.is_judged else ''}{newest.gate_words}"
        return f"it is {newest.state.lower()}{f': {newest.reason}' if newest.reason else ''}"
    if not facts.has(version):
        return "in no model directory"
    return f"to load it: {advice.load(facts.model, version)}"


def _refused_accept(version: int, facts: Facts) -> Outcome | None:
    """Nobody knows the signature of what was never loaded; and a pin is no signature's matter."""
    mine = [s for s in facts.slots if s.version == version and s.signature is not None]
    if mine:
        serve = all(slot.state is State.READY for slot in mine)
        return _only_pinned(version, facts) if serve else None
    if not _ever(version, facts):
        return _not_found(facts, version)
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


def _missing(facts: Facts, version: int | None) -> Outcome | None:
    """What is to be loaded has to be on disk."""
    if facts.target.unknown:
        words = facts.error or "its model directory cannot be read now"
        return Outcome(
            ErrorCode.UNAVAILABLE, f"failed to load '{facts.model}': {words}", facts.default
        )
    if not facts.found or (version is not None and not facts.has(version)):
        return _not_found(facts, version)
    return None


def _ever(version: int, facts: Facts) -> bool:
    return (
        facts.has(version)
        or version in facts.target.out
        or version in facts.target.extra
        or any(slot.version == version for slot in facts.slots)
    )


def _not_found(facts: Facts, version: int | None) -> Outcome:
    model, known = facts.model, sorted(facts.disk)
    if version is None or not facts.found:
        what = f"version {version} of model" if version is not None else "model"
        return Outcome(ErrorCode.NOT_FOUND, f"{what} '{model}' is in no model directory")
    there = f"; on disk: {numbers(known)}" if known else ""
    return Outcome(
        ErrorCode.NOT_FOUND, f"version {version} of model '{model}' is in no model directory{there}"
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
            return _of_alias(command, facts)
        case FollowList(model=model):
            return _of_list(model, facts)
        case Rollback():
            return _of_default(facts.target.pinned, facts)


def _of_load(command: LoadModel, facts: Facts, *, beside: bool = False) -> Outcome | None:
    """``beside``: what is there for its aliases only is waited for, too."""
    target = facts.target
    if target.unknown:
        return _missing(facts, command.version)
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
        return _not_found(facts, version)
    slot = choosing.find(facts.slots, candidate)
    if slot is not None and slot.state is State.FAILED:
        return _load_ended(facts, [(version, slot.reason, slot.retry)])
    if (gated := facts.gated(version)) is not None and not gated.is_judged:
        return _gated(gated, facts)
    if slot is None and not candidate.whole and not candidate.settling:
        return _load_ended(facts, [(version, candidate.note, Retry.NEVER)])
    return None


def _of_alias(command: SetAlias, facts: Facts) -> Outcome | None:
    version = command.version
    if facts.target.aliases.now.get(command.alias) == version:
        return Outcome(version=facts.default)
    if version is not None and not facts.is_loaded(version):
        return _not_available(version, facts)
    return None


def _of_list(model: str, facts: Facts) -> Outcome | None:
    outcome = _of_load(LoadModel(model), facts, beside=True)
    if outcome is None or not outcome.ok:
        return outcome
    labels = {alias: facts.target.aliases.wanted[alias] for alias in facts.target.aliases.fixed}
    for version in sorted(labels.values()):
        if not facts.is_loaded(version):
            return _not_available(version, facts)
    return outcome
