"""Compares each ready version's signature with the one that its model's callers rely on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from serving.events import log
from serving.models import holding
from serving.models.intents import Intents
from serving.models.state import Slot, SlotKey, State
from serving.models.wishes import Wishes
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

    def __init__(self, intents: Intents, holds: bool) -> None:
        self._intents, self._holds = intents, holds
        self._held: dict[str, holding.Held] = {}
        # Of the versions on disk, also of those that were unloaded since.
        self._seen: dict[str, dict[SlotKey, Signature]] = {}
        self._words: dict[str, Mapping[int, str]] = {}
        # Models that answered in an earlier life, of which no signature was kept.
        self._lost = set(intents.signatures_lost) if holds else set()
        # The slot whose signature callers knew last, by its id.
        self._spoken: dict[str, int] = {}

    def held(self, model: str) -> frozenset[int]:
        return frozenset(self._held.get(model, ()))

    def words(self, model: str) -> Mapping[int, str]:
        """Version -> why its signature holds it back, or would, were there another to answer."""
        return self._words.get(model, {})

    def compare(self, wishes: Wishes, slots: Sequence[Slot]) -> bool:
        """Compare anew; whether that changed which versions are held back."""
        model = wishes.model
        before = self._held.pop(model, {})
        held = self._held_back(wishes, slots)
        if held:
            self._held[model] = held
        return held != before

    def news(self, wishes: Wishes, chosen: Collection[int], default: int | None) -> dict[int, str]:
        """What ``words`` says from now on, as far as it is new: this is for the log."""
        model, before = wishes.model, self._words.pop(wishes.model, {})
        told = holding.to_tell(self._held.get(model, {}), chosen, wishes.answered, default)
        words = {
            version: holding.in_words(wishes, version, differs, default)
            for version, differs in sorted(told.items())
        }
        if words:
            self._words[model] = words
        return {version: said for version, said in words.items() if said != before.get(version)}

    def objection(self, slot: Slot, signature: Signature, slots: Sequence[Slot]) -> str:
        """Why a loaded slot may not take the place of another, "" where it may."""
        answered = self._intents.said(slot.model).answered
        return holding.takes_no_place(self._known(slot.model), answered, slot, signature, slots)

    def answers(
        self, model: str, version: int, slots: Sequence[Slot], now: float, *, alone: bool
    ) -> bool:
        """Note that ``version`` answers, so that its signature is what callers rely on from now
        on; whether that changed anything. ``alone``: no version that is still loading might
        answer in its place."""
        ready = [s for s in slots if s.version == version and s.state is State.READY]
        # Of two that are ready the older one is about to leave.
        newest = max(ready, key=lambda slot: slot.id)
        told, self._spoken[model] = self._spoken.get(model), newest.id
        # What was accepted since this one began to answer is not taken back.
        due = newest.id != told if self._intents.signatures.of(model) else alone
        if newest.signature is None or not due:
            return False
        return self._intents.callers_know(model, newest.signature, now)

    def keep_only(self, models: Collection[str]) -> None:
        for kept in (self._held, self._seen, self._words, self._spoken):
            for model in kept.keys() - set(models):
                del kept[model]

    def _held_back(self, wishes: Wishes, slots: Sequence[Slot]) -> holding.Held:
        model, known = wishes.model, self._known(wishes.model)
        seen = self._see(wishes, slots)
        if known is None and model in self._lost:
            held = holding.until_known(wishes, slots)
            if held is not None:
                return held
            log.warning("signature_unknown", model=model, version=wishes.answered, reason=_LOST)
        self._lost.discard(model)
        return holding.held_back(known, wishes, slots, seen)

    def _see(self, wishes: Wishes, slots: Sequence[Slot]) -> Mapping[SlotKey, Signature]:
        """The signatures of all that was ready, as far as it is on disk and as it was."""
        seen = self._seen.setdefault(wishes.model, {})
        for slot in slots:
            if slot.state is State.READY and slot.signature is not None:
                seen[slot.key] = slot.signature
        if not wishes.unknown:
            for key in seen.keys() - {wish.key for wish in wishes.versions}:
                del seen[key]
        return seen

    def _known(self, model: str) -> Signature | None:
        """None also where nothing is to be compared."""
        return self._intents.signatures.of(model) if self._holds else None
