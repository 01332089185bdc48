"""How a channel is opened, for both kinds of client."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from serving_client.addresses import Address
from serving_client.errors import ServingError
from serving_client.grpc_status import grpc_error
from serving_client.options import Options
from serving_client.retrying import time_to_connect

Metadata = tuple[tuple[str, str], ...]


Arguments = list[tuple[str, int | str]]


def credentials(options: Options) -> Any:
    """grpcio's, where addresses are asked with TLS; else None."""
    if options.tls is None:
        return None
    import grpc

    return grpc.ssl_channel_credentials(*options.tls.pems())


def channel_options(options: Options) -> Arguments:
    to_connect = time_to_connect(options.timeout, len(options.addresses))
    named: Arguments = []
    if options.tls is not None and options.tls.server_name:
        named = [("grpc.ssl_target_name_override", options.tls.server_name)]
    return [
        *named,
        ("grpc.max_receive_message_length", options.max_message_bytes),
        ("grpc.max_send_message_length", options.max_message_bytes),
        # Models are asked directly, whatever the environment says about proxies.
        ("grpc.enable_http_proxy", 0),
        # While a call waits; a quiet channel needs none.
        ("grpc.keepalive_time_ms", max(1, int(options.keepalive * 1000))),
        ("grpc.keepalive_timeout_ms", 20_000),
        # When to repeat is decided in one place; and a server that is back is found soon.
        ("grpc.enable_retries", 0),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 5_000),
        # In spite of its name: how long an attempt to connect may take.
        ("grpc.min_reconnect_backoff_ms", max(1, int(to_connect * 1000))),
    ]


def metadata_of(headers: Mapping[str, str]) -> Metadata:
    return tuple(headers.items())


def failed(address: Address, error: Any, allowed: float) -> ServingError:
    """From grpcio's RpcError, of either kind."""
    return grpc_error(address, error.code().name, error.details() or "", _said(error), allowed)


def _said(error: Any) -> dict[str, str]:
    """A status alone brings its metadata as trailing, one behind an answer's head as both."""
    parts: list[Iterable[Any]] = [error.initial_metadata() or (), error.trailing_metadata() or ()]
    return {str(key): value for part in parts for key, value in part if isinstance(value, str)}
