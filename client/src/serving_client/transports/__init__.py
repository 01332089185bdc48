"""What carries an exchange to a server and back: one for each protocol and each kind of client.

Both libraries are imported where they are needed: who speaks one protocol waits for one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from serving_client import addresses
from serving_client.options import Options
from serving_client.session import Attempt


class Blocking(Protocol):
    def send(self, attempt: Attempt) -> tuple[bytes, Mapping[str, str]]:
        """An answer's body and headers. Raises ServingError."""

    def close(self) -> None: ...


class Awaiting(Protocol):
    async def send(self, attempt: Attempt) -> tuple[bytes, Mapping[str, str]]:
        """As ``Blocking``."""

    async def close(self) -> None: ...


def blocking(options: Options) -> Blocking:
    if options.protocol is addresses.Protocol.GRPC:
        from serving_client.transports.grpc_blocking import GrpcBlocking

        return GrpcBlocking(options)
    from serving_client.transports.http_blocking import HttpBlocking

    return HttpBlocking(options)


def awaiting(options: Options) -> Awaiting:
    if options.protocol is addresses.Protocol.GRPC:
        from serving_client.transports.grpc_awaiting import GrpcAwaiting

        return GrpcAwaiting(options)
    from serving_client.transports.http_awaiting import HttpAwaiting

    return HttpAwaiting(options)
