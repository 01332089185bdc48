"""Windows as OTLP metrics, over HTTP or gRPC.

Only the messages (``opentelemetry-proto``) are needed: buffering, retries and time-outs are
those of all targets here, and an SDK would bring its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from serving import __version__
from serving.credentials import shown
from serving.observe.errors import ExportError
from serving.observe.figures import Key
from serving.observe.otlp import SendError, open_sender
from serving.observe.otlp_headers import headers_of
from serving.observe.tracking.exporter import RunFacts
from serving.observe.windows import Window, is_count
from serving.settings import OtlpMetricsSettings

_TIMEOUT_S = 5.0


class OtlpExporter:
    """Counters are sums with delta temporality, all else gauges; ``serving.model.`` and the
    figure's name, its slashes as dots. Model and version are attributes.

    Raises ConfigError where the endpoint can't be used or the extra is not installed.
    """

    name = "otlp"

    def __init__(self, settings: OtlpMetricsSettings, server: str) -> None:
        self._server = server
        headers = headers_of(settings.headers.get_secret_value(), "tracking.otlp.headers")
        self._sender = open_sender(
            settings.endpoint, settings.protocol, "metrics", "tracking.otlp.endpoint", headers
        )
        self.target = f"{shown(settings.endpoint)} ({settings.protocol})"

    def prepare(
        self, windows: Sequence[Window], facts: Mapping[Key, RunFacts]
    ) -> list[dict[str, Any]]:
        return [window.to_json() for window in windows]

    def keep(self, present: Collection[Key], now: float) -> None:
        """Nothing to be said of versions that go."""

    def send(self, prepared: Sequence[dict[str, Any]]) -> int:
        try:
            points = self._sender.send(request(prepared, self._server), _TIMEOUT_S)
        except SendError as error:
            # Wrong addresses and missing rights are mended by people: nothing is given up.
            raise ExportError(str(error)) from None
        # A collector counts figures, not windows.
        return min(points, len(prepared))

    def settle(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        self._sender.close()


def request(windows: Iterable[Mapping[str, Any]], server: str) -> bytes:
    """The serialized ``ExportMetricsServiceRequest`` of windows in their JSON form."""
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
        ExportMetricsServiceRequest,
    )

    message = ExportMetricsServiceRequest()
    resource = message.resource_metrics.add()
    for key, text in (("service.name", server), ("service.version", __version__)):
        resource.resource.attributes.add(key=key).value.string_value = text
    scope = resource.scope_metrics.add()
    scope.scope.name = "serving.tracking"
    by_name: dict[str, Any] = {}
    for window in windows:
        for figure, value in window["figures"].items():
            if figure not in by_name:
                by_name[figure] = _points(scope.metrics, figure)
            _fill(by_name[figure].add(), window, value)
    return message.SerializeToString()


def _points(metrics: Any, figure: str) -> Any:
    """The list of data points of a new metric."""
    from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_DELTA

    prefix = "" if figure.startswith("system/") else "serving.model."
    metric = metrics.add(name=f"{prefix}{figure.replace('/', '.')}", unit=_unit(figure))
    if not is_count(figure):
        return metric.gauge.data_points
    metric.sum.is_monotonic = True
    metric.sum.aggregation_temporality = AGGREGATION_TEMPORALITY_DELTA
    return metric.sum.data_points


def _unit(figure: str) -> str:
    if "_ms" in figure:
        return "ms"
    return "s" if figure == "window_s" else "1"


def _fill(point: Any, window: Mapping[str, Any], value: float) -> None:
    point.start_time_unix_nano = int(window["start"] * 1e9)
    point.time_unix_nano = int(window["end"] * 1e9)
    point.as_double = value
    point.attributes.add(key="model").value.string_value = window["model"]
    point.attributes.add(key="version").value.int_value = window["version"]
