"""Who takes samples of requests, as the settings have it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from serving.gates.replay import Replay
from serving.model_config.gates import GatesConfig
from serving.observe.prometheus import Exposition
from serving.observe.replayed import ReplayTaker
from serving.observe.replayed import add_metrics as add_replay
from serving.observe.request_log.forms import Form
from serving.observe.request_log.writer import RequestLog, add_metrics
from serving.observe.samples import Samples, Subscriber
from serving.observe.statistics.taker import Statistics
from serving.settings import Settings

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
