"""Which requests are traced, logged and sampled: the core is told in one place, by the settings."""

from __future__ import annotations

import math
from typing import Protocol

from serving.settings import Settings

_LEAST_BUFFER = 1024 * 1024


class Server(Protocol):
    """What this needs of ``_core.Server``."""

    def observe(
        self,
        *,
        trace_rate: float,
        trace_parents: bool,
        span_buffer: int,
        sample_buffer_bytes: int,
        sample_max_bytes: int,
        access_rate: float,
        sample_replayed: bool,
        statistics_samples: float,
        statistics_values: float,
    ) -> None: ...


def configure(server: Server, settings: Settings, *, statistics: bool) -> None:
    """Have the core record only what has a consumer (traces, request log, replay for gates,
    ``statistics``, access log): what is off costs no request anything. Where there is a request
    log its bounds hold."""
    tracing, request_log = settings.tracing, settings.request_log
    logged, replayed = request_log.path is not None, settings.gates.replay_bytes
    # Samples on their way weigh more than what is kept of them.
    is_on = settings.gates.replay or statistics
    buffer = max(replayed, _LEAST_BUFFER) if is_on else 0
    samples, values = _for_statistics(settings) if statistics else (0.0, 0.0)
    server.observe(
        trace_rate=tracing.rate if tracing.endpoint else 0.0,
        trace_parents=bool(tracing.endpoint),
        span_buffer=tracing.buffer_spans if tracing.endpoint else 0,
        sample_buffer_bytes=request_log.buffer_bytes if logged else buffer,
        sample_max_bytes=request_log.max_request_bytes if logged else max(1, replayed // 2),
        access_rate=settings.log.access_rate,
        sample_replayed=request_log.replayed,
        statistics_samples=samples,
        statistics_values=values,
    )


def _for_statistics(settings: Settings) -> tuple[float, float]:
    """Samples and values a second, of all versions together."""
    given = settings.statistics
    if not given.samples_per_second:
        return math.inf, math.inf
    return given.max_samples_per_second, given.max_values_per_second
