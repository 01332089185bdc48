"""What a model was pinned to before commands that are not carried out yet."""

from __future__ import annotations

from dataclasses import replace

from serving.models.commands.command import Command, Outcome, Rollback, SetDefault
from serving.models.commands.facts import Facts


class PinsBefore:
    """Used by the manager's loop only. A pin to a version that its gates then keep from traffic is
    taken back, so that nothing waits for what will not come."""

    def __init__(self) -> None:
        self._before: dict[str, int | None] = {}
        # What is told of those that were taken back, once that shows.
        self._ended: dict[str, Outcome] = {}

    def take(self, command: Command, facts: Facts) -> None:
        """A command is about to be carried out."""
        if not isinstance(command, SetDefault):
            return
        self._ended.pop(command.model, None)
        if command.version is None:
            self._before.pop(command.model, None)
        elif command.version != facts.target.pinned:
            self._before.setdefault(command.model, facts.target.pinned)

    def waits(self, model: str) -> bool:
        """Whether a pin of its may have to be taken back."""
        return model in self._before

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
        if outcome is None or model not in self._before:
            return outcome, None
        if outcome.ok or pinned is None:
            del self._before[model]
            return outcome, None
        if facts.shut_by_gates(pinned) is None:
            return outcome, None  # it may be loaded, and judged, at another try
        before = self._before.pop(model)
        pin = "no version is" if before is None else f"version {before} is again"
        words = f"{outcome.message}; it is not pinned: {pin}"
        self._ended[model] = replace(outcome, message=words)
        return None, SetDefault(model, before)
