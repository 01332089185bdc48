"""The thread that closes a window every few seconds, and who gets it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from serving.events import log
from serving.models.state import State
from serving.models.views import ModelView, VersionView
from serving.observe.figures import Counters, Key
from serving.observe.history import History, Span
from serving.observe.tracking.buffer import Buffer
from serving.observe.tracking.exporter import Exporter, RunFacts
from serving.observe.tracking.facts import facts_of, server_name
from serving.observe.tracking.shipper import Shipper, TargetStatus
from serving.observe.tracking.system import SystemFigures
from serving.observe.windows import Window
from serving.settings import Settings
from serving.state_dir import StateDir

_SERVED = frozenset({State.READY, State.DRAINING})


class Tracker:
    """Windows of all versions, in memory for ``windows`` and to every target that is set.

    ``counters``: of every version that is loaded and was ever asked; others have no windows, for
    nothing happens in them. ``beside``: figures of versions that others have. Raises ConfigError
    where a target's settings can't be used.
    """

    def __init__(
        self,
        settings: Settings,
        state: StateDir,
        counters: Callable[[], Mapping[Key, Counters]],
        views: Callable[[], Sequence[ModelView]],
        beside: Callable[[], Mapping[Key, Mapping[str, float]]] = dict,
    ) -> None:
        self._settings = settings
        self.window_s = settings.tracking.window_s
        self._counters = counters
        self._views = views
        self._beside = beside
        limit = settings.tracking.buffer_bytes
        self._shippers = tuple(
            Shipper(exporter, Buffer(state, exporter.name, limit), self.window_s)
            for exporter in exporters(settings, state)
        )
        self._history = History()
        self._system = SystemFigures()
        self._facts: dict[Key, RunFacts] = {}
        self._present: Collection[Key] = ()
        self._stopping = threading.Event()
        self._since = time.time()
        self._clock = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="tracking", daemon=True)

    def start(self) -> None:
        self._since, self._clock = time.time(), time.monotonic()
        for shipper in self._shippers:
            shipper.start()
        self._thread.start()

    def stop(self, timeout: float = 3.0) -> None:
        """Close the last window and send what can be sent within ``timeout`` seconds; the rest
        is kept in the state directory for the next start."""
        deadline = time.monotonic() + timeout
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout)
        for shipper in self._shippers:
            shipper.finish(deadline)
        for shipper in self._shippers:
            shipper.join()

    def windows(self, model: str, version: int) -> tuple[Window, ...]:
        """A version's last windows, oldest first. From any thread."""
        return self._history.windows((model, version))

    def windows_of(self, model: str) -> tuple[Window, ...]:
        """The last windows of all versions, oldest first. From any thread."""
        return self._history.of_model(model)

    def status(self) -> tuple[TargetStatus, ...]:
        """Of every target. From any thread."""
        return tuple(shipper.status() for shipper in self._shippers)

    def _run(self) -> None:
        due = self._clock
        while True:
            # Windows that could not be closed in time are not made up for.
            due = max(due + self.window_s, time.monotonic())
            stopped = self._stopping.wait(due - time.monotonic())
            self._close_window(stopped)
            if stopped:
                return

    def _close_window(self, last: bool) -> None:
        try:
            windows = self._closed()
            for shipper in self._shippers:
                shipper.offer(shipper.exporter.prepare(windows, self._facts))
                shipper.exporter.keep(() if last else self._present, time.time())
            self._facts = {key: self._facts[key] for key in self._present}
        except Exception as error:  # noqa: BLE001 - tracking goes on with the next window
            log.error("tracking_window_failed", detail=repr(error))

    def _closed(self) -> list[Window]:
        """The window that ends now, of every version served in it."""
        counters = self._counters()
        now, clock = time.time(), time.monotonic()
        span = Span(self._since, now, clock - self._clock)
        asked = counters.keys() | self._facts.keys()
        served = {key: view for key, view in self._served() if key in asked}
        # A version that has gone has its last window, where its counters are still there.
        measured = {key: view.facts.cost for key, view in served.items()}
        costs = {**dict.fromkeys(self._facts), **measured}
        self._learn(served)
        self._present = served.keys()
        shares = _shares(self._views())
        more = self._beside()
        windows = self._history.close(span, counters, costs, self._system.read(), shares, more)
        self._since, self._clock = now, clock
        return windows

    def _served(self) -> Iterator[tuple[Key, VersionView]]:
        for model in self._views():
            for version in model.versions:
                if version.state in _SERVED:
                    yield (model.name, version.number), version

    def _learn(self, served: Mapping[Key, VersionView]) -> None:
        for key, view in served.items():
            known = self._facts.get(key)
            if known is None or (view.ready_since and view.ready_since != known.since):
                self._facts[key] = facts_of(key[0], view, self._settings)


def _shares(views: Sequence[ModelView]) -> dict[Key, float]:
    """Of the requests that name no version, where they are divided."""
    shares: dict[Key, float] = {}
    for view in views:
        total = sum(weight for _, weight in view.route.weights)
        for version, weight in view.route.weights:
            key = (view.name, version)
            shares[key] = shares.get(key, 0.0) + weight / total
    return shares


def exporters(settings: Settings, state: StateDir) -> Iterator[Exporter]:
    """Those that the settings switch on. Raises ConfigError."""
    tracking = settings.tracking
    if tracking.mlflow.uri:
        from serving.observe.tracking.mlflow import MlflowExporter

        yield MlflowExporter(tracking.mlflow, state)
    if tracking.jsonl.path is not None:
        from serving.observe.tracking.jsonl import JsonLinesExporter

        yield JsonLinesExporter(tracking.jsonl, tracking.jsonl.path)
    if tracking.otlp.endpoint:
        from serving.observe.tracking.otlp import OtlpExporter

        yield OtlpExporter(tracking.otlp, server_name(settings))
