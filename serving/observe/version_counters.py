"""Counters by model: loads with their outcomes, and changes of the version that answers."""

from __future__ import annotations

from collections.abc import Iterator

from serving.counters import Counters
from serving.models.state import State, Transition
from serving.models.views import ModelView
from serving.observe.families import Sample

READY, FAILED, CANCELLED = "ready", "failed", "cancelled"


class VersionCounters:
    """Listens to the manager: to every transition of a version, and to every new set of views.
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

    def on_change(self, views: tuple[ModelView, ...]) -> None:
        for view in views:
            if view.default is not None:
                before = self._answered.get(view.name, view.default)
                self._changes.add(view.name, by=int(before != view.default))
                self._answered[view.name] = view.default
        names = {view.name for view in views}
        gone = self._answered.keys() - names
        for model in gone:
            del self._answered[model]
        for counts in (self._loads, self._changes):
            counts.keep_only(lambda key: key[0] in names)

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
