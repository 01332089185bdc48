"""Who takes samples of requests, and whose figures are told, as the settings have it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from serving.delivery.controller import Rollouts
from serving.gates.replay import Replay
from serving.model_config.gates import GatesConfig
from serving.models.opening import Managed
from serving.observe.gates import add_gates
from serving.observe.process_metrics import add_process_metrics
from serving.observe.prometheus import Exposition
from serving.observe.replayed import ReplayTaker
from serving.observe.replayed import add_metrics as add_replay
from serving.observe.request_anomalies import add_request_anomalies
from serving.observe.request_log.forms import Form
from serving.observe.request_log.writer import RequestLog, add_metrics
from serving.observe.rollouts import add_rollouts
from serving.observe.samples import Samples, Subscriber
from serving.observe.statistics import gauges as statistics_gauges
from serving.observe.statistics.taker import Statistics
from serving.observe.tracking.gauges import add_tracking
from serving.observe.tracking.tracker import Tracker
from serving.observe.write_back import add_write_back
from serving.settings import Settings
from serving.write_back.writer import WriteBack

if TYPE_CHECKING:
    from serving import _core


def open_samples(
    settings: Settings,
    server: _core.Server,
    exposition: Exposition,
    form: Form | None,
    replay: Replay,
    gates: Mapping[str, GatesConfig],
    statistics: Statistics | None,
) -> Samples | None:
    """For the request log (``form`` None: there is none), for gates that run requests again, and
    for statistics; their figures go to ``exposition``. None where nobody takes any."""
    takers: list[Subscriber] = []
    if form is not None:
        request_log = RequestLog(server.counters, settings.request_log, form)
        add_metrics(exposition, request_log)
        takers.append(request_log)
    replayed = ReplayTaker(settings, replay, gates)
    if settings.gates.replay:
        takers.append(replayed)
        add_replay(exposition, replay)
    if not takers and statistics is None:
        return None
    samples = Samples(server, takers, paced=statistics, at_once=form is not None)
    replayed.on_full = samples.renew
    return samples


def open_exposition(
    settings: Settings,
    server: _core.Server,
    managed: Managed,
    rollouts: Rollouts,
    write_back: WriteBack | None,
    tracker: Tracker,
    statistics: Statistics | None,
    is_ready: Callable[[], bool],
) -> Exposition:
    """The figures that are told beside the core's; those of samples and traces are added with
    what takes them. Before the manager starts."""
    exposition, manager = Exposition(), managed.manager
    add_process_metrics(exposition, settings, server, manager, managed.loader, is_ready)
    add_tracking(exposition, tracker)
    add_rollouts(exposition, rollouts)
    add_gates(exposition, manager.gates)
    add_write_back(exposition, write_back)
    add_request_anomalies(exposition, manager.views)
    if statistics is not None:
        statistics_gauges.add_metrics(exposition, statistics)
    return exposition
