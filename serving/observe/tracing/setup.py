"""Traces as the settings want them."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from serving import __version__
from serving.errors import ConfigError
from serving.events import log
from serving.observe import families
from serving.observe.otlp import Sender, open_sender, require_extra
from serving.observe.otlp_headers import headers_of
from serving.observe.prometheus import Exposition
from serving.observe.tracing.exporter import TIMEOUT_S, SpanSource, TraceExport
from serving.observe.tracing.semantics import Address, Value
from serving.settings import Settings

_ENDPOINT = "tracing.endpoint"
_HEADERS = "tracing.headers"
_MLFLOW = "mlflow"


@dataclass(frozen=True, slots=True)
class Target:
    """``name``: where spans go, for people. ``timeout_s``: for an answer."""

    sender: Sender
    name: str
    timeout_s: float = TIMEOUT_S


def open_target(settings: Settings) -> Target | None:
    """None where no endpoint is set. Nothing is sent yet.

    Raises ConfigError where the endpoint can't be meant, or the extra is not installed.
    """
    tracing = settings.tracing
    headers = headers_of(tracing.headers.get_secret_value(), _HEADERS)
    if tracing.endpoint == _MLFLOW:
        if headers:
            raise ConfigError(f"{_HEADERS}: the endpoint mlflow takes tracking.mlflow.token")
        return _mlflow(settings)
    if tracing.endpoint:
        sender = open_sender(tracing.endpoint, tracing.protocol, "traces", _ENDPOINT, headers)
        return Target(sender, tracing.endpoint)
    if tracing.rate:
        log.warning("traces_go_nowhere", reason=f"tracing.rate is set, {_ENDPOINT} is not")
    return None


def _mlflow(settings: Settings) -> Target:
    require_extra(_ENDPOINT)
    from serving.observe.tracing.mlflow import MlflowSender

    mlflow = settings.tracking.mlflow
    if not mlflow.uri:
        raise ConfigError(f"{_ENDPOINT}: mlflow needs tracking.mlflow.uri")
    sender = MlflowSender(mlflow)
    return Target(sender, sender.target, mlflow.timeout_s)


def open_export(
    target: Target | None,
    settings: Settings,
    source: SpanSource,
    addresses: Mapping[str, Address],
) -> TraceExport | None:
    """``addresses``: of the doors, by protocol. None without a target: nothing is imported."""
    if target is None:
        return None
    from serving.observe.tracing.convert import SpanConverter

    convert = SpanConverter(resource(settings), addresses)
    return TraceExport(source, convert, target.sender, target.name, target.timeout_s)


def resource(settings: Settings) -> dict[str, Value]:
    """Where spans come from; one instance id a process."""
    return {
        "service.name": settings.name,
        "service.version": __version__,
        "service.instance.id": str(uuid.uuid4()),
        "host.name": socket.gethostname(),
        "process.pid": os.getpid(),
    }


def add_metrics(exposition: Exposition, export: TraceExport | None) -> None:
    if export is not None:
        exposition.add(families.SPANS_EXPORTED, lambda: [({}, export.exported)])
        exposition.add(families.SPANS_DROPPED, lambda: [({}, export.dropped)])
