"""gRPC by grpcio, in an event loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc
import grpc.aio

from serving_client.exchange import NO_HEADERS
from serving_client.options import Options
from serving_client.session import Attempt
from serving_client.transports.grpc_channel import channel_options, credentials, failed, metadata_of


class GrpcAwaiting:
    def __init__(self, options: Options) -> None:
        self._addresses, self._headers = options.addresses, options.headers
        self._metadata = metadata_of(options.headers)
        self._arguments, self._credentials = channel_options(options), credentials(options)
        # Opened where they are first used: a channel belongs to an event loop.
        self._channels: list[Any] = []
        self._methods: list[dict[str, Any]] = [{} for _ in options.addresses]

    async def send(self, attempt: Attempt) -> tuple[bytes, Mapping[str, str]]:
        exchange, place = attempt.exchange, attempt.place
        method = self._methods[place].get(exchange.target) or self._method(place, exchange.target)
        headers = exchange.headers
        metadata = metadata_of({**self._headers, **headers}) if headers else self._metadata
        try:
            body = await method(exchange.body, timeout=attempt.timeout, metadata=metadata)
        except grpc.RpcError as error:
            raise failed(self._addresses[place], error, attempt.allowed) from None
        return body, NO_HEADERS

    def _method(self, place: int, target: str) -> Any:
        if not self._channels:
            self._channels = [
                grpc.aio.insecure_channel(address.target, options=self._arguments)
                if self._credentials is None
                else grpc.aio.secure_channel(
                    address.target, self._credentials, options=self._arguments
                )
                for address in self._addresses
            ]
        method = self._channels[place].unary_unary(target)
        self._methods[place][target] = method
        return method

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()
