"""The families of the process as a whole: readiness, limits, the registry, trials."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Protocol

from serving.counters import Counters
from serving.models.actual.disk import Sight
from serving.models.state import Transition
from serving.models.views import Changes
from serving.observe import families, nonblocking_writer
from serving.observe.families import Sample
from serving.observe.prometheus import Exposition
from serving.observe.version_counters import VersionCounters
from serving.settings import Settings


class CounterSource(Protocol):
    """What is asked of ``_core.Server``."""

    def counters(self) -> dict[str, int]: ...


class Keeper(Protocol):
    """What is asked of the models' manager."""

    @property
    def sight(self) -> Sight: ...
    @property
    def failures(self) -> int: ...
    def on_event(self, listener: Callable[[Transition], None]) -> None: ...
    def on_change(self, listener: Callable[[Changes], None]) -> None: ...


class Loading(Protocol):
    """What is asked of the loader."""

    @property
    def trials(self) -> Counters: ...
    @property
    def held_bytes(self) -> int: ...


def add_process_metrics(
    exposition: Exposition,
    settings: Settings,
    server: CounterSource,
    manager: Keeper,
    loader: Loading,
    is_ready: Callable[[], bool],
) -> None:
    """Before the manager starts: what happens before that is not counted."""
    tally = VersionCounters()
    manager.on_event(tally.on_event)
    manager.on_change(tally.on_change)
    # Asked once: they read files of the system.
    permits, models_bytes = settings.permits, settings.models_bytes
    connections = settings.places.clients
    add = exposition.add
    add(families.LOADS, tally.loads)
    add(families.DEFAULT_CHANGES, tally.default_changes)
    add(families.TRIALS, lambda: _by_outcome(loader.trials))
    add(families.READY, lambda: _one(is_ready()))
    add(families.PERMITS, lambda: _one(permits))
    add(families.PERMITS_HELD, lambda: _one(server.counters()["permits_held"]))
    add(families.CONNECTIONS_LIMIT, lambda: _one(connections))
    add(families.MODELS_MEMORY, lambda: _one(loader.held_bytes))
    add(families.MODELS_MEMORY_LIMIT, lambda: _one(models_bytes))
    add(families.LAST_SCAN, lambda: _looked_at(manager.sight))
    add(families.UNREADABLE, lambda: _one(manager.sight.unreadable))
    add(families.IGNORED, lambda: _one(manager.sight.ignored))
    add(families.LOG_LINES_DROPPED, lambda: _one(nonblocking_writer.dropped()))
    add(families.LOOP_FAILURES, lambda: _one(manager.failures))


def _one(value: float) -> list[Sample]:
    return [({}, int(value) if isinstance(value, bool) else value)]


def _looked_at(sight: Sight) -> list[Sample]:
    return [] if sight.age_s is None else _one(time.time() - sight.age_s)


def _by_outcome(counts: Counters) -> Iterator[Sample]:
    for (outcome,), count in counts.snapshot().items():
        yield {"outcome": outcome}, count
