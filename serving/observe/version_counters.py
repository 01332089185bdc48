"""Counters by model: loads with their outcomes, and changes of the version that answers."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from serving.counters import Counters
from serving.models.state import State, Transition
from serving.models.views import Changes
from serving.observe.families import Sample

READY, FAILED, CANCELLED = "ready", "failed", "cancelled"


class VersionCounters:
    """Listens to the manager: to every transition of a version, and to every change of the views.
    Counters go with their model."""

    def __init__(self) -> None:
        self._loads = Counters()
        self._changes = Counters()
        self._answered: dict[str, int] = {}

    def on_event(self, event: Transition) -> None:
        outcome = _outcome(event)
        if outcome:
            for one in (READY, FAILED, CANCELLED):
                self._loads.add(event.model, one, by=int(one == outcome))

    def on_change(self, changed: Changes) -> None:
        for name, view in changed.items():
            if view is not None and view.default is not None:
                before = self._answered.get(name, view.default)
                self._changes.add(name, by=int(before != view.default))
                self._answered[name] = view.default
        gone = {name for name, view in changed.items() if view is None}
        if gone:
            self._forget(gone)

    def _forget(self, models: Collection[str]) -> None:
        for model in models:
            self._answered.pop(model, None)
        for counts in (self._loads, self._changes):
            counts.keep_only(lambda key: key[0] not in models)

    def loads(self) -> Iterator[Sample]:
        """By model and outcome."""
        for (model, outcome), count in sorted(self._loads.snapshot().items()):
            yield {"model": model, "outcome": outcome}, count

    def default_changes(self) -> Iterator[Sample]:
        """By model."""
        for (model,), count in sorted(self._changes.snapshot().items()):
            yield {"model": model}, count


def _outcome(event: Transition) -> str:
    if event.state is State.READY:
        return READY
    if event.state is State.FAILED:
        return CANCELLED if event.cancelled else FAILED
    return ""
