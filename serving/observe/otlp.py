"""OTLP: export requests to a collector, over HTTP or gRPC.

The messages are opentelemetry-proto's generated classes; sending them takes a page. The
SDK's exporters would bring queues, threads and retries of their own, which no setting of
ours would reach.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any, Literal, Protocol

from serving.authorities import roots
from serving.errors import ConfigError
from serving.http_client import HttpAnswer, HttpClient, HttpError, parse_url

Signal = Literal["traces", "metrics"]

_SERVICES = {
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
}
_CONTENT_TYPE = "application/x-protobuf"
# Later these may go well (OTLP specification, "Failures").
_PASSING_STATUS = frozenset({408, 429, 502, 503, 504})
_PASSING_CODES = frozenset(
    {"CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"}
)
# Of a collector's own words.
_WORDS = 200


class SendError(Exception):
    """An export request was not taken, in words for the operator.

    ``passing``: sending it again later may go well. ``retry_after_s``: not before then.
    """

    def __init__(self, words: str, *, passing: bool, retry_after_s: float = 0.0) -> None:
        super().__init__(words)
        self.passing = passing
        self.retry_after_s = retry_after_s


class Sender(Protocol):
    """For one thread."""

    def send(self, request: bytes, timeout_s: float) -> int:
        """Deliver one serialized export request; how many of its items the collector
        refused for good. Raises SendError."""
        ...

    def close(self) -> None: ...


def open_sender(
    endpoint: str,
    protocol: Literal["grpc", "http"],
    signal: Signal,
    setting: str,
    headers: Mapping[str, str] | None = None,
) -> Sender:
    """Nothing is sent yet: a collector need not be there.

    ``setting``: the endpoint's, for errors. ``headers`` go with every request. Raises
    ConfigError where the endpoint is no URL, or the extra is not installed.
    """
    require_extra(setting, protocol)
    if protocol == "grpc":
        return GrpcSender(endpoint, signal, setting, headers)
    path = f"/v1/{signal}"
    return HttpSender(HttpClient(endpoint.removesuffix(path), setting, 0.0), path, headers)


def require_extra(setting: str, protocol: Literal["grpc", "http"] = "http") -> None:
    """Raises ConfigError where what it takes to speak OTLP is not installed."""
    needed = ("opentelemetry.proto", "grpc") if protocol == "grpc" else ("opentelemetry.proto",)
    for name in needed:
        if not _is_there(name):
            raise ConfigError(f"{setting}: not installed: pip install 'serving[otel]'")


def _is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # of the package that it is in
        return False


class HttpSender:
    """OTLP/HTTP with protobuf bodies."""

    def __init__(
        self, client: HttpClient, path: str, headers: Mapping[str, str] | None = None
    ) -> None:
        self._client = client
        self._path = path
        self.headers = {"Content-Type": _CONTENT_TYPE, **(headers or {})}

    def send(self, request: bytes, timeout_s: float) -> int:
        try:
            answer = self._client.request("POST", self._path, request, self.headers, timeout_s)
        except HttpError as error:
            raise SendError(str(error), passing=True) from None
        if not 200 <= answer.status < 300:
            raise SendError(
                f"status {answer.status}",
                passing=answer.status in _PASSING_STATUS,
                retry_after_s=_retry_after(answer),
            )
        return _rejected(answer)

    def close(self) -> None:
        self._client.close()


def _rejected(answer: HttpAnswer) -> int:
    """Some collectors answer protobuf with JSON, or with nothing; none does with a page."""
    if not answer.body or answer.content_type == "application/json":
        return 0
    if answer.content_type != _CONTENT_TYPE:
        raise SendError("it answers, but not as a collector does", passing=False)
    return rejected_items(answer.body)


def rejected_items(response: bytes) -> int:
    """Of an export response; those of all signals have the same form.

    Raises SendError where it is none.
    """
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
        ExportTraceServiceResponse,
    )

    try:
        message: Any = ExportTraceServiceResponse.FromString(response)
    except DecodeError:
        raise SendError("it answers, but not as a collector does", passing=False) from None
    return max(0, int(message.partial_success.rejected_spans))


def _retry_after(answer: HttpAnswer) -> float:
    """Seconds; 0 where nothing is said, or as a date."""
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < _DIGITS else 0.0


_DIGITS = 7


class GrpcSender:
    """OTLP/gRPC. The endpoint is ``http://HOST:PORT`` or ``HOST:PORT`` in plain text,
    ``https://HOST:PORT`` with TLS."""

    def __init__(
        self,
        endpoint: str,
        signal: Signal,
        setting: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        import grpc

        url = endpoint if "://" in endpoint else f"http://{endpoint}"
        secure, host, port, path = parse_url(url, setting)
        if path:
            raise ConfigError(f"{setting}: with grpc it has no path")
        host = f"[{host}]" if ":" in host else host
        target = f"{host}:{port or 4317}"
        options = [
            ("grpc.enable_http_proxy", 0),
            ("grpc.enable_retries", 0),
            ("grpc.max_reconnect_backoff_ms", 10_000),
            ("grpc.max_receive_message_length", 1 << 20),
        ]
        self._channel = (
            grpc.secure_channel(target, grpc.ssl_channel_credentials(roots(setting)), options)
            if secure
            else grpc.insecure_channel(target, options)
        )
        self._export = self._channel.unary_unary(_SERVICES[signal])
        self._failure = grpc.RpcError
        self._metadata = tuple((headers or {}).items())

    def send(self, request: bytes, timeout_s: float) -> int:
        try:
            response: bytes = self._export(request, timeout=timeout_s, metadata=self._metadata)
        except self._failure as error:
            code = error.code().name
            # A collector that is full says when to come back, or does not want it at all.
            passing = code in _PASSING_CODES or code == "RESOURCE_EXHAUSTED"
            raise SendError(_grpc_words(code, error.details()), passing=passing) from None
        return rejected_items(response)

    def close(self) -> None:
        self._channel.close()


def _grpc_words(code: str, details: str | None) -> str:
    return f"{code}: {(details or '')[:_WORDS]}".rstrip(": ")
