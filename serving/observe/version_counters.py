"""Counters by model: loads with their outcomes, and changes of the version that answers."""

from __future__ import annotations

from collections.abc import Collection, Mapping

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
        self._loads_told = _Told(self._loads, "model", "outcome")
        self._changes_told = _Told(self._changes, "model")

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

    def loads(self) -> tuple[Sample, ...]:
        """By model and outcome; the same tuple as long as nothing changed."""
        return self._loads_told.samples()

    def default_changes(self) -> tuple[Sample, ...]:
        """By model; the same tuple as long as nothing changed."""
        return self._changes_told.samples()


class _Told:
    """Counters as samples, made anew when they have changed. Safe from any thread."""

    def __init__(self, counters: Counters, *labels: str) -> None:
        self._counters, self._labels = counters, labels
        self._made: tuple[Mapping[tuple[str, ...], int], tuple[Sample, ...]] = ({}, ())

    def samples(self) -> tuple[Sample, ...]:
        counts = self._counters.snapshot()
        of, samples = self._made
        if counts is not of:
            samples = tuple(
                (dict(zip(self._labels, key, strict=True)), count)
                for key, count in sorted(counts.items())
            )
            self._made = counts, samples
        return samples


def _outcome(event: Transition) -> str:
    if event.state is State.READY:
        return READY
    if event.state is State.FAILED:
        return CANCELLED if event.cancelled else FAILED
    return ""
