"""What a model was pinned to before commands that are not carried out yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from serving.models.commands.command import Command, Outcome, Rollback, SetDefault
from serving.models.commands.facts import Facts
from serving.models.desired.overrides import NO_PIN
from serving.models.desired.store import DesiredState


class PinsBefore:
    """Used by the manager's loop only. A pin to a version that its gates then keep from traffic is
    taken back, so that nothing waits for what will not come. What was pinned before is kept with
    the pin, so that a restart does not make it one that nobody takes back. ``wall``: seconds since
    the epoch."""

    def __init__(self, desired: DesiredState, wall: Callable[[], float]) -> None:
        self._desired, self._wall = desired, wall
        # What is told of those that were taken back, once that shows.
        self._ended: dict[str, Outcome] = {}

    def take(self, command: Command, facts: Facts) -> None:
        """A command is about to be carried out."""
        if not isinstance(command, SetDefault):
            return
        model, pinned = command.model, facts.target.pinned
        self._ended.pop(model, None)
        if command.version is None:
            self._forget(model)
        elif command.version != pinned and not self.waits(model):
            self._desired.keep_pin_before(model, pinned or NO_PIN, self._wall())

    def waits(self, model: str) -> bool:
        """Whether a pin of its may have to be taken back."""
        return self._desired.overrides_of(model).pin_before is not None

    def end(
        self, command: Command, outcome: Outcome | None, facts: Facts
    ) -> tuple[Outcome | None, SetDefault | None]:
        """What is told of a command, None: it goes on; and the pin that is to be set back, None
        where none is. ``outcome``: what has come of it."""
        model, pinned = command.model, facts.target.pinned
        if not isinstance(command, SetDefault | Rollback):
            return outcome, None
        if model in self._ended:
            return self._ended.pop(model), None
        if outcome is None or not self.waits(model):
            return outcome, None
        if outcome.ok or pinned is None:
            self._forget(model)
            return outcome, None
        if facts.shut_by_gates(pinned) is None:
            return outcome, None  # it may be loaded, and judged, at another try
        before = self._desired.overrides_of(model).pin_before or None
        self._forget(model)
        pin = "no version is" if before is None else f"version {before} is again"
        words = f"{outcome.message}; it is not pinned: {pin}"
        self._ended[model] = replace(outcome, message=words)
        return None, SetDefault(model, before)

    def _forget(self, model: str) -> None:
        if self.waits(model):
            self._desired.keep_pin_before(model, None, self._wall())
