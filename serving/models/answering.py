"""Who answers each model: decided anew whenever something changed, kept, and told."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from serving.events import log
from serving.models.actual.slots import Slots
from serving.models.commands import changes
from serving.models.commands.changes import Changed
from serving.models.desired.candidates import ModelTarget
from serving.models.desired.choosing import Choice, by_version, choose
from serving.models.desired.comparing import Comparing
from serving.models.desired.on_disk import held_by_pin
from serving.models.desired.pins import Pins
from serving.models.desired.store import DesiredState
from serving.models.state import PENDING, Slot, State


class Answering:
    """Used by the manager's loop only. ``holds``: see ``Comparing``; ``wall``: seconds since the
    epoch."""

    def __init__(self, desired: DesiredState, holds: bool, wall: Callable[[], float]) -> None:
        self._desired, self._wall = desired, wall
        self.slots: Slots
        self._defaults: dict[str, int] = {}
        # Model -> alias -> the version that answers to it.
        self._named: dict[str, Mapping[str, int]] = {}
        # The aliases that a model config list says.
        self._labels: dict[str, frozenset[str]] = {}
        self._comparing = Comparing(desired, holds)
        self._pins = Pins()

    def default(self, model: str) -> int | None:
        """The version that answers requests that name none."""
        return self._defaults.get(model)

    def named(self, model: str) -> Mapping[str, int]:
        """Alias -> the version that answers to it."""
        return self._named.get(model, {})

    def held(self, model: str) -> frozenset[int]:
        """The versions that may answer no request that names none, for their signature."""
        return self._comparing.held(model)

    def held_words(self, model: str) -> Mapping[int, str]:
        return self._comparing.words(model)

    def objection(self, slot: Slot) -> str:
        """Why a loaded slot may not take the place of another, "" where it may."""
        return self._comparing.objection(slot, self.slots.of(slot.model))

    def keep_only(self, models: Collection[str]) -> None:
        self._comparing.keep_only(models)
        for model in self._named.keys() - set(models):
            del self._named[model]
        for model in self._labels.keys() - set(models):
            del self._labels[model]
        self._pins.keep_only(models)

    def end(self) -> set[str]:
        """Nobody answers any more; the models of which somebody did."""
        ended = set(self._defaults)
        self._defaults.clear()
        return ended

    def record(self, model: str, change: Changed | None) -> None:
        """Keep the change in the history."""
        if change is not None:
            self.slots.history.changed(model, *change, self._wall())

    def compare(self, target: ModelTarget) -> bool:
        """Whether other versions than before are ``held``."""
        return self._comparing.compare(target, self.slots.of(target.model))

    def decide(self, target: ModelTarget) -> bool:
        """Whether another version, or another signature, has taken over, or an alias has moved."""
        slots = self.slots.of(target.model)
        choice = choose(target, by_version(slots), self.default(target.model))
        self._tell(target, choice, slots)
        moved = self._note_aliases(target, choice.plan.aliases)
        return self._note_default(target, choice, slots) or moved

    def _note_aliases(self, target: ModelTarget, named: Mapping[str, int]) -> bool:
        model, before = target.model, self.named(target.model)
        labels = target.aliases.fixed
        dropped = self._labels.get(model, frozenset()) - labels
        if labels:
            self._labels[model] = labels
        else:
            self._labels.pop(model, None)
        if named == before:
            return False
        # What commands say is told of when they come.
        by = target.aliases.by
        for change in changes.of_list(before, named, labels, dropped, by):
            self.record(model, change)
        for alias in sorted(labels):
            if named.get(alias) != before.get(alias):
                self._desired.note_alias(model, by, alias, named[alias], self._wall())
        if named:
            self._named[model] = named
        else:
            self._named.pop(model, None)
        return True

    def _note_default(self, target: ModelTarget, choice: Choice, slots: Sequence[Slot]) -> bool:
        default = choice.plan.default
        if default is None:
            self._defaults.pop(target.model, None)
            return False
        self._defaults[target.model] = default
        # One that only stands in while another is on its way has not taken over.
        loading = {slot.version for slot in slots if slot.state in PENDING or slot.is_judged}
        if target.answered in loading or default in target.held:
            return False
        return self._take_over(target, default, slots, alone=not choice.coming)

    def _take_over(
        self, target: ModelTarget, default: int, slots: Sequence[Slot], *, alone: bool
    ) -> bool:
        model, now = target.model, self._wall()
        # What was accepted while it had a weight is not taken back by its answers.
        known = default not in target.stays and self._comparing.note_answer(
            model, default, slots, now, alone=alone
        )
        taken = self._desired.note_answer(model, default, now)
        if taken and target.answered is not None:
            self._desired.note_route(model, changes.of_take_over(target, default, now))
        return taken or known

    def _tell(self, target: ModelTarget, choice: Choice, slots: Sequence[Slot]) -> None:
        model, default = target.model, choice.plan.default
        # What is there for its aliases only would take over from nobody anyway.
        beside = choice.beside - {default}
        self._tell_held(target, choice.versions - choice.coming - beside, default)
        held = held_by_pin(target, default)
        self._pins.tell(model, default if default == target.pinned else None, held)
        ready = {slot.version for slot in slots if slot.state is State.READY}
        was = self._defaults.get(model)
        self.record(model, changes.of_default(target, was, default, ready))
        if default is not None and was not in (None, default):
            log.info("default_version", model=model, version=default, was=was)

    def _tell_held(self, target: ModelTarget, chosen: Collection[int], default: int | None) -> None:
        for version, words in self._comparing.reword(target, chosen, default).items():
            log.warning("signature_held_back", model=target.model, version=version, reason=words)
            self.slots.remark(target.model, version, words)
