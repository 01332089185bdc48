"""gRPC by grpcio, in threads that wait."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc

from serving_client.exchange import NO_HEADERS
from serving_client.options import Options
from serving_client.session import Attempt
from serving_client.transports.grpc_channel import channel_options, credentials, failed, metadata_of


class GrpcBlocking:
    def __init__(self, options: Options) -> None:
        self._addresses, self._headers = options.addresses, options.headers
        self._metadata = metadata_of(options.headers)
        arguments, by = channel_options(options), credentials(options)
        self._channels = [
            grpc.insecure_channel(address.target, options=arguments)
            if by is None
            else grpc.secure_channel(address.target, by, options=arguments)
            for address in options.addresses
        ]
        self._methods: list[dict[str, Any]] = [{} for _ in options.addresses]

    def send(self, attempt: Attempt) -> tuple[bytes, Mapping[str, str]]:
        exchange, place = attempt.exchange, attempt.place
        method = self._methods[place].get(exchange.target) or self._method(place, exchange.target)
        headers = exchange.headers
        metadata = metadata_of({**self._headers, **headers}) if headers else self._metadata
        try:
            return method(exchange.body, timeout=attempt.timeout, metadata=metadata), NO_HEADERS
        except grpc.RpcError as error:
            raise failed(self._addresses[place], error, attempt.allowed) from None

    def _method(self, place: int, target: str) -> Any:
        # Without serializers: what it sends and gives are bytes.
        method = self._channels[place].unary_unary(target)
        self._methods[place][target] = method
        return method

    def close(self) -> None:
        for channel in self._channels:
            channel.close()
