"""Our own client, of either kind and over either door, behind one interface for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from serving_client import AsyncClient, Client
from tests.clients.gateway import Gateway

KINDS = ("blocking grpc", "blocking http", "awaiting grpc", "awaiting http")


def address(gateway: Gateway, kind: str) -> str:
    return gateway.grpc if kind.endswith("grpc") else f"http://{gateway.http}"


class Awaited:
    """An ``AsyncClient`` whose calls are run to their end, each in the same event loop."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self.client = AsyncClient(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        def run(*arguments: Any, **keywords: Any) -> Any:
            return self.loop.run_until_complete(getattr(self.client, name)(*arguments, **keywords))

        return run

    def shut(self) -> None:
        self.loop.run_until_complete(self.client.close())
        self.loop.close()


@contextmanager
def client(kind: str, *gateways: Gateway, **options: Any) -> Iterator[Any]:
    """Of one of ``KINDS``, for these gateways in turn."""
    with at(kind, [address(gateway, kind) for gateway in gateways], **options) as one:
        yield one


@contextmanager
def at(kind: str, addresses: str | list[str], **options: Any) -> Iterator[Any]:
    """The same, for these addresses."""
    if kind.startswith("blocking"):
        with Client(addresses, **options) as one:
            yield one
        return
    awaited = Awaited(addresses, **options)
    try:
        yield awaited
    finally:
        awaited.shut()
