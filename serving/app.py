"""Everything put together: the order of start and stop."""

from __future__ import annotations

import re
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from serving import _core, descriptors, standard_streams
from serving.authorization import Gate, open_gates
from serving.control import own
from serving.control.admin import AddressError, Admin, listen
from serving.control.api import ControlApi
from serving.control.console.opening import Console
from serving.control.rollouts import RolloutApi
from serving.control.shadows import ShadowApi
from serving.delivery.controller import Rollouts
from serving.events import log
from serving.execution.isolation.parent.starting import use_template
from serving.execution.runtime import start_global_pool
from serving.loading.trial.trial import MODULE as TRIAL
from serving.models.actual.table import publish_to
from serving.models.opening import open_models, open_watcher
from serving.models.views import ModelView, ready_origins
from serving.observe import operations as observed
from serving.observe import redaction, request_anomalies, sampling, shadows
from serving.observe.figures import Counters, Key, counters_of
from serving.observe.logs import EventLog
from serving.observe.opening import open_exposition, open_samples
from serving.observe.request_log.forms import Form, form_of
from serving.observe.samples import Samples
from serving.observe.statistics import gauges as statistics_gauges
from serving.observe.statistics import operations as statistics_operations
from serving.observe.statistics.opening import open_statistics
from serving.observe.tracing.exporter import TraceExport, TraceStatus
from serving.observe.tracing.setup import Target, open_export, open_target
from serving.observe.tracing.setup import add_metrics as add_trace_metrics
from serving.observe.tracking.tracker import Tracker
from serving.operations import Operation
from serving.parts import Part, Parts
from serving.protocols.opening import open_calls, open_lists
from serving.registry.opening import open_model_list, places_of
from serving.registry.remote_sources import RemoteSources
from serving.registry.snapshot import Origin
from serving.settings import Settings
from serving.settings import operations as settings_operations
from serving.state_dir import StateDir
from serving.state_opening import open_state
from serving.state_takeover import StateTakeover
from serving.write_back.opening import open_write_back

# Between two looks at what is loading, for the line that tells a person of it.
_PROGRESS_S = 0.05


@dataclass(frozen=True, slots=True)
class Drained:
    """Requests that were in flight when the doors closed, and those of them that were cut off
    when their time was over."""

    in_flight: int
    cut_off: int


class Gateway:
    """A whole gateway in this process.

    Making one binds every port, so what is wrong with an address shows before anything
    loads. ``start`` answers (live, not ready) at once; ``wait_loaded`` waits for the versions
    wanted at start and turns it ready; ``stop`` drains.

    Raises StateHeldError where another gateway has the state directory, NoDirectoryError where
    that is a file, AddressError where an address can't be listened on, ConfigError where the
    token can't be read or a package is missing that the settings ask for.
    """

    def __init__(
        self,
        settings: Settings,
        roots: Sequence[Path],
        origins: Mapping[str, str] | None = None,
    ) -> None:
        # What is opened from here on must not get the number of a closed one.
        standard_streams.open_missing()
        self._lists = open_model_list(settings)
        # What the state directory is kept for: the registry.
        places = [*roots, *places_of(settings)]
        self._state = open_state(settings, places)
        settings = self.settings = self._state.settings
        sys.setswitchinterval(settings.threads.switch_interval_s)
        descriptors.raise_limit()
        _say_few_places(settings)
        # A pool keeps its creator's priority for ever, and the first session fixes its size.
        start_global_pool(settings)
        self._ready = False
        # Whether it has started and serves nothing, and the setting require_models is on.
        self.lacks_models = False
        gates = open_gates(settings)
        self._token = gates.admin.token
        log_form = form_of(settings.request_log.format) if settings.request_log.path else None
        trace_target = open_target(settings)
        state = self._state
        self.statistics = open_statistics(settings, state.own)
        self.tracker = Tracker(
            settings, state.own, self._counted, self.models, self._figures_of_features
        )
        self.server, listener = _bound(settings)
        sampling.configure(self.server, settings, statistics=self.statistics is not None)
        shadows.configure(self.server.shadows, settings)
        self._remote = RemoteSources(settings, self._state)
        self._end_template = use_template([TRIAL])
        publish = redaction.before(publish_to(self.server), settings.request_log.redact)
        elsewhere = self._remote.sources
        self._managed = open_models(settings, roots, publish, state, self._lists, elsewhere)
        self.manager = self._managed.manager
        self._remote.attach(lambda: self.manager.hurry(()), self._origins)
        self.manager.on_change(lambda changes: self._remote.note(ready_origins(changes)))
        core = self.server
        self.rollouts = Rollouts(
            *(settings.canary, self.manager, state.own, core.figures, core.count_outputs),
            statistics=self.statistics,
        )
        self.write_back = open_write_back(
            settings, self._remote.mlflow, state.own, self.manager, self.rollouts
        )
        self._console = Console(
            settings,
            self.server,
            self.manager,
            self.rollouts,
            lambda: self._ready,
            self.http_address,
            has_statistics=self.statistics is not None,
        )
        self.exposition = open_exposition(
            *(settings, self.server, self._managed, self.rollouts, self.write_back),
            *(self.tracker, self.statistics, lambda: self._ready),
        )
        self.admin = self._admin_on(listener, origins or {}, gates.admin)
        lists = open_lists(self._lists, self.manager, roots, self._scrape)
        self._calls = open_calls(
            settings, self.server, self.manager, gates.doors, self.admin_address[1], lists
        )
        self._events = EventLog(self.server, self._console.note)
        self._watcher = open_watcher(settings, roots, self._managed)
        self._takeover = self._taking_over(places)
        self._samples = self._sampling(log_form)
        self._traces = self._tracing(trace_target)
        self._parts = self._in_order()

    def _origins(self) -> Iterator[Origin]:
        """Of all versions that are loaded, or about to be."""
        return (one.origin for view in self.models() for one in view.versions)

    def _in_order(self) -> Parts:
        """As they start. What takes from the server is there before it, and stops once nothing
        more can come; the operator's port is the first to answer and the last to go."""
        return Parts(
            Part("state directory", self._state.close),
            Part("children's template", self._end_template),
            Part.of("state of another gateway", self._takeover),
            Part.of("admin port", self.admin),
            Part.of("console", self._console),
            Part.of("traces", self._traces),
            Part.of("samples", self._samples),
            Part.of("events", self._events),
            Part.of("calls", self._calls),
            Part.of("data ports", self.server),
            Part("trials", self._managed.loader.close),
            Part.of("remote sources", self._remote),
            Part.of("write back", self.write_back),
            Part.of("models", self.manager),
            Part.of("rollouts", self.rollouts),
            Part.of("registry watch", self._watcher),
            Part.of("tracking", self.tracker),
        )

    def _sampling(self, form: Form | None) -> Samples | None:
        samples = open_samples(
            *(self.settings, self.server, self.exposition, form),
            *(self._managed.replay, self._managed.gates, self.statistics),
        )
        if samples is not None:
            self.manager.on_change(samples.watch)
        return samples

    def _figures_of_features(self) -> Mapping[Key, Mapping[str, float]]:
        return {} if self.statistics is None else statistics_gauges.figures(self.statistics)

    def _tracing(self, target: Target | None) -> TraceExport | None:
        addresses = {"http": self.http_address, "grpc": self.grpc_address}
        traces = open_export(target, self.settings, self.server, addresses)
        add_trace_metrics(self.exposition, traces)
        return traces

    def _counted(self) -> dict[Key, Counters]:
        return counters_of(self.server.figures())

    def _scrape(self) -> bytes:
        return self.exposition.render(self.server.metrics(), self.models())

    def _taking_over(self, roots: Sequence[Path | str]) -> StateTakeover | None:
        if not self._state.is_held:
            return None
        return StateTakeover(self._state.shared, roots, self._take_state)

    def _take_state(self, state: StateDir) -> None:
        self._managed.take_state(state, then=self._go_on_in)

    def _go_on_in(self, state: StateDir) -> None:
        """Another gateway's state, once its routes have been taken over. Waits for nothing."""
        self.rollouts.take_state(state)
        if self.write_back is not None:
            self.write_back.take_state(state)

    def _admin_on(self, listener: socket.socket, origins: Mapping[str, str], gate: Gate) -> Admin:
        pages = self._console.pages
        files = pages.routes() if pages is not None else ()
        return Admin(self.settings, self._operations(origins), gate, listener, files)

    def _operations(self, origins: Mapping[str, str]) -> tuple[Operation, ...]:
        """What operators may ask, room by room."""
        settings = self.settings
        return (
            *own.entrance(settings, self._console.pages),
            *observed.scrape(self._scrape),
            *own.health(lambda: self._ready),
            *settings_operations.operations(settings, origins),
            *observed.operations(self.tracker, self._traced, lambda: self.write_back),
            *statistics_operations.operations(self.statistics),
            *request_anomalies.operations(self.manager.view),
            *self._remote.operations(),
            *self._console.operations(),
            *ControlApi(self.manager, settings.places.admin // 2).operations(),
            *RolloutApi(self.rollouts, self.manager).operations(),
            *ShadowApi(self.manager, settings).operations(),
        )

    def _traced(self) -> TraceStatus | None:
        return self._traces.status() if self._traces is not None else None

    @property
    def http_address(self) -> tuple[str, int]:
        return self.server.http_address

    @property
    def grpc_address(self) -> tuple[str, int]:
        return self.server.grpc_address

    @property
    def admin_address(self) -> tuple[str, int]:
        return self.admin.address

    @property
    def ready(self) -> bool:
        return self._ready

    def models(self) -> tuple[ModelView, ...]:
        """The models as they stand."""
        return self.manager.views()

    def start(self) -> None:
        """Answer on all ports, and begin to load."""
        self._parts.start()

    def wait_loaded(
        self,
        on_wait: Callable[[], None] = lambda: None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Wait until what was wanted at start has come as far as the setting ``readiness``
        asks, then be ready.

        ``on_wait`` is called time and again. False when
        ``stopping`` said so before, or where it ``lacks_models``.
        """
        while not self.manager.wait_started(_PROGRESS_S):
            if stopping():
                return False
            on_wait()
        served = any(view.default is not None for view in self.models())
        self.lacks_models = self.settings.require_models and not served
        self._set_ready(not self.lacks_models)
        return not self.lacks_models

    def reload(self) -> None:
        """Read the token and the models' configurations again; the log says what came of it."""
        token = "none" if self._token is None else self._token.reload()
        log.info("reload", token=token, effect="settings stay as they were at the start")
        if self._lists is not None:
            self._lists.reread()
        self.manager.reload()

    def stop(self) -> Drained:
        """Turn unready, answer on for the drain delay, let what is in flight end, and close."""
        shutdown = self.settings.shutdown
        self._set_ready(False)
        # Nobody was sent here where it was never ready for want of models.
        time.sleep(0.0 if self.lacks_models else shutdown.drain_delay_s)
        # Who waits for a load would hold the drain up for as long as it may last.
        self.manager.refuse_commands()
        in_flight = self._in_flight()
        clean = self.server.drain(shutdown.drain_timeout_s)
        drained = Drained(in_flight, 0 if clean else self._in_flight())
        if not clean:
            log.warning("drain_timed_out", seconds=shutdown.drain_timeout_s)
        self._parts.stop()
        return drained

    def _in_flight(self) -> int:
        return self.server.counters()["in_flight"]

    def _set_ready(self, ready: bool) -> None:
        self._ready = ready
        self.server.set_ready(ready)


def _say_few_places(settings: Settings) -> None:
    places, wanted = settings.places, settings.limits.max_connections
    if places.clients < wanted:
        log.warning("fewer_connections", limit=places.clients, wanted=wanted, advice=places.advice)


def _bound(settings: Settings) -> tuple[_core.Server, socket.socket]:
    """Every port, before anything begins that would have to be ended again. Raises
    AddressError."""
    listener = listen(settings.admin_host, settings.admin_port, "admin port")
    try:
        return _core.Server(settings.core()), listener
    except OSError as error:
        listener.close()
        # The core's own words name the door and the address.
        words = re.sub(r" \(os error \d+\)$", "", error.strerror or str(error))
        raise AddressError(words) from None
