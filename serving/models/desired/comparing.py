"""Compares each ready version's signature with the one that its model's callers rely on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from serving.events import log
from serving.models.desired import holding
from serving.models.desired.candidates import ModelTarget
from serving.models.desired.store import DesiredState
from serving.models.state import Slot, SlotKey, State
from serving.signature import Signature

_LOST = (
    "the signature that its callers know is not kept, and the version that answered them can't be "
    "loaded to show it: the next one to answer is compared with nothing"
)


class Comparing:
    """Which versions are held back for their signatures, by model. Used by the manager's loop only.

    ``holds``: whether any is (the setting ``rollout.hold_signature_changes``); the signature that
    callers rely on is noted in any case.
    """

    def __init__(self, desired: DesiredState, holds: bool) -> None:
        self._desired, self._holds = desired, holds
        self._held: dict[str, holding.Held] = {}
        # Of the versions on disk, also of those that were unloaded since.
        self._seen: dict[str, dict[SlotKey, Signature]] = {}
        self._words: dict[str, Mapping[int, str]] = {}
        # Models that answered in an earlier life, of which no signature was kept.
        self._lost = set(desired.signatures_lost) if holds else set()
        # The id of the slot whose signature callers relied on last.
        self._relied_on: dict[str, int] = {}

    def held(self, model: str) -> frozenset[int]:
        return frozenset(self._held.get(model, ()))

    def words(self, model: str) -> Mapping[int, str]:
        """Version -> why its signature holds it back, or would, were there another to answer."""
        return self._words.get(model, {})

    def compare(self, target: ModelTarget, slots: Sequence[Slot]) -> bool:
        """Compare anew; whether that changed which versions are held back."""
        model = target.model
        before = self._held.pop(model, {})
        held = self._held_back(target, slots)
        if held:
            self._held[model] = held
        return held != before

    def reword(
        self, target: ModelTarget, chosen: Collection[int], default: int | None
    ) -> dict[int, str]:
        """Make anew what ``words`` says, and hand over what of it is new: this is for the log."""
        model, before = target.model, self._words.pop(target.model, {})
        told = holding.to_tell(self._held.get(model, {}), chosen, target.answered, default)
        words = {
            version: holding.in_words(target, version, differs, default)
            for version, differs in sorted(told.items())
        }
        if words:
            self._words[model] = words
        return {version: said for version, said in words.items() if said != before.get(version)}

    def objection(self, slot: Slot, slots: Sequence[Slot]) -> str:
        """Why a loaded slot may not take the place of another, "" where it may."""
        answered = self._desired.overrides_of(slot.model).answered
        return holding.takes_no_place(self._known(slot.model), answered, slot, slots)

    def note_answer(
        self, model: str, version: int, slots: Sequence[Slot], now: float, *, alone: bool
    ) -> bool:
        """Note that ``version`` answers, so that its signature is what callers rely on from now
        on; whether that changed anything. ``alone``: no version that is still loading might
        answer in its place."""
        ready = [s for s in slots if s.version == version and s.takes_traffic]
        # Of two that are ready the older one is about to leave.
        newest = max(ready, key=lambda slot: slot.id)
        last, self._relied_on[model] = self._relied_on.get(model), newest.id
        # What was accepted since this one began to answer is not taken back.
        due = newest.id != last if self._desired.signatures.of(model) else alone
        if newest.signature is None or not due:
            return False
        return self._desired.note_signature(model, newest.signature, now)

    def keep_only(self, models: Collection[str]) -> None:
        for kept in (self._held, self._seen, self._words, self._relied_on):
            for model in kept.keys() - set(models):
                del kept[model]

    def _held_back(self, target: ModelTarget, slots: Sequence[Slot]) -> holding.Held:
        model, known = target.model, self._known(target.model)
        seen = self._see(target, slots)
        if known is None and model in self._lost:
            held = holding.until_known(target, slots)
            if held is not None:
                return held
            log.warning("signature_unknown", model=model, version=target.answered, reason=_LOST)
        self._lost.discard(model)
        return holding.held_back(known, target, slots, seen)

    def _see(self, target: ModelTarget, slots: Sequence[Slot]) -> Mapping[SlotKey, Signature]:
        """The signatures of all that was ready, as far as it is on disk and as it was."""
        seen = self._seen.setdefault(target.model, {})
        for slot in slots:
            if slot.state is State.READY and slot.signature is not None:
                seen[slot.key] = slot.signature
        if not target.unknown:
            for key in seen.keys() - {candidate.key for candidate in target.versions}:
                del seen[key]
        return seen

    def _known(self, model: str) -> Signature | None:
        """None also where nothing is to be compared."""
        return self._desired.signatures.of(model) if self._holds else None
