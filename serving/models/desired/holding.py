"""Which versions are held back from requests that name none, because their signature is another
than the one that callers know. Pure functions, and the words."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from serving.models import advice
from serving.models.desired.candidates import ModelTarget
from serving.models.state import Slot, SlotKey, State
from serving.signature import Signature, difference

# In words; a model may have thousands of tensors.
_MOST_DIFFERENCES = 4

# Version -> in which way its signature is another; "" where that is not known yet.
Held = Mapping[int, str]


def held_back(
    known: Signature | None,
    target: ModelTarget,
    slots: Sequence[Slot],
    seen: Mapping[SlotKey, Signature],
) -> Held:
    """The READY versions whose signature would break callers of ``known``, and those on disk
    of which that was ``seen`` when they were.

    A version that a command pinned, and that has not answered since, is what somebody wants; so is
    the one that answers by default while a rollout goes on, and so are those that have a part of
    the requests, also once the signature of another version was accepted.
    """
    if known is None:
        return {}
    pinned = target.pinned if target.pinned != target.answered else None
    wanted = {pinned, target.split.base, *target.stays}
    signatures = {candidate.version: seen.get(candidate.key) for candidate in target.versions}
    signatures |= {slot.version: slot.signature for slot in slots if slot.state is State.READY}
    words = {
        version: _words(known, signature)
        for version, signature in signatures.items()
        if version not in wanted
    }
    return {version: differs for version, differs in words.items() if differs}


def until_known(target: ModelTarget, slots: Sequence[Slot]) -> Held | None:
    """What to hold back while the signature that callers know is lost (its document is damaged):
    every READY version but the one that answered last, as long as that one may still be loaded
    and show its signature. None once it can't: then there is nothing to compare with."""
    if target.unknown:
        return {}
    candidate = target.of(target.answered) if target.answered is not None else None
    if candidate is None or candidate.gone or target.dismissed(candidate.version):
        return None
    mine = [slot for slot in slots if slot.version == candidate.version]
    if any(slot.attempts > 0 and slot.state is not State.READY for slot in mine):
        return None
    ready = {slot.version for slot in slots if slot.state is State.READY}
    # Not one that somebody wants, by a pin.
    return dict.fromkeys(ready - {target.answered, target.pinned}, "")


def takes_no_place(
    known: Signature | None, answered: int | None, slot: Slot, slots: Sequence[Slot]
) -> str:
    """Why a slot that was loaded can't follow another one of the same version, the one that
    answers; "" where it can. One number names one signature at a time, so that it could not be
    reached beside it."""
    if known is None or slot.version != answered:
        return ""
    former = [
        one.signature
        for one in slots
        if one is not slot and one.version == slot.version and one.state is State.READY
    ]
    if not any(one is not None and not difference(known, one) for one in former):
        return ""
    differs = _words(known, slot.signature)
    if not differs:
        return ""
    return f"its signature is not what it was: {differs} ({_cure(slot.model, slot.version)})"


def to_tell(
    held: Held, chosen: Collection[int], answered: int | None, default: int | None
) -> dict[int, str]:
    """Of the versions held back those worth a word: that answer all the same, or are newer than
    what answers. Older ones would not have answered anyway."""
    return {
        version: words
        for version, words in held.items()
        if words
        and version in chosen
        and (version == default or answered not in chosen or version > (answered or 0))
    }


def in_words(target: ModelTarget, version: int, differs: str, default: int | None) -> str:
    """For people; it may be the ``default`` all the same: as it is pinned, or nothing else can."""
    model, answered = target.model, target.answered
    if version == default == target.pinned:
        return (
            "answers because it is pinned, although its signature is not the one that callers"
            f" know: {differs} ({_cure(model, version)}; to let the newest version that fits"
            f" answer: {advice.unpin(model)})"
        )
    former = "what it was" if answered in (None, version) else f"that of version {answered}"
    if version == default:
        said = "answers, as no other version can, although"
    else:
        said = "held back from requests that name no version, because"
    return f"{said} its signature is not {former}: {differs} ({_cure(model, version)})"


def _cure(model: str, version: int) -> str:
    return f"to take it: {advice.accept(model, version)}"


def _words(known: Signature, signature: Signature | None) -> str:
    found = difference(known, signature) if signature is not None else ()
    rest = len(found) - _MOST_DIFFERENCES
    more = (f"and {rest} more",) if rest > 0 else ()
    return ", ".join(found[:_MOST_DIFFERENCES] + more)
