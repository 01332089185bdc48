"""HTTP by aiohttp, in an event loop."""

from __future__ import annotations

import io
import socket
from collections.abc import Mapping
from typing import Any

from serving_client.addresses import Address
from serving_client.errors import ServingError, no_answer
from serving_client.options import Options
from serving_client.retrying import time_to_connect
from serving_client.session import Attempt
from serving_client.transports.http_answer import (
    MAX_CONNECTIONS,
    Body,
    answered,
    broken,
    keepalive_options,
    no_http,
    no_tls,
    not_connected,
)

try:
    import aiohttp
    import yarl
except ImportError:
    raise ImportError(
        "an AsyncClient over HTTP needs aiohttp: install 'serving-client[aiohttp]'"
    ) from None

_LARGE_BYTES = 1 << 20
# A server closes idle connections after minutes; so much earlier, that no request meets that.
_IDLE_S = 60.0


class HttpAwaiting:
    def __init__(self, options: Options) -> None:
        self._addresses = options.addresses
        # Bytes as they are: most are numbers, which compress badly.
        self._headers = {"accept-encoding": "identity", **options.headers}
        self._most, self._keepalive_s = options.max_message_bytes, options.keepalive
        self._context = None if options.tls is None else options.tls.context()
        self._server_name = None if options.tls is None else options.tls.server_name
        # Opened where it is first used: it belongs to an event loop.
        self._opened: aiohttp.ClientSession | None = None

    async def send(self, attempt: Attempt) -> tuple[bytes, Mapping[str, str]]:
        address, exchange = self._addresses[attempt.place], attempt.exchange
        to_connect = time_to_connect(attempt.timeout, len(self._addresses))
        try:
            async with self._session().request(
                exchange.verb,
                # Its parts are quoted already.
                yarl.URL(f"{address.target}{exchange.target}", encoded=True),
                data=_in_parts(exchange.body),
                headers={**self._headers, **exchange.headers},
                timeout=aiohttp.ClientTimeout(total=attempt.timeout, sock_connect=to_connect),
                allow_redirects=False,
                server_hostname=self._server_name,
            ) as response:
                body = Body(address, response.headers, self._most)
                async for part in response.content.iter_any():
                    body.add(part)
        except (aiohttp.ClientError, OSError) as error:
            raise _failed(address, error, attempt.allowed) from None
        return answered(address, response.status, response.headers, body.whole())

    def _session(self) -> aiohttp.ClientSession:
        if self._opened is None:
            connector = aiohttp.TCPConnector(
                limit=0,
                limit_per_host=MAX_CONNECTIONS,
                keepalive_timeout=_IDLE_S,
                socket_factory=self._socket,
                ssl=True if self._context is None else self._context,
            )
            self._opened = aiohttp.ClientSession(
                connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._opened

    def _socket(self, info: Any) -> socket.socket:
        family, kind, protocol, _, _ = info
        one = socket.socket(family, kind, protocol)
        for option in keepalive_options(self._keepalive_s):
            one.setsockopt(*option)
        return one

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened.close()


def _in_parts(body: bytes) -> bytes | io.BytesIO:
    """A large one leaves the event loop time for others between its parts."""
    return body if len(body) <= _LARGE_BYTES else io.BytesIO(body)


def _failed(address: Address, error: Exception, allowed: float) -> ServingError:
    if isinstance(error, ServingError):
        return error
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return no_tls(address, error.certificate_error)
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return no_tls(address, error.os_error)
    if isinstance(error, aiohttp.ClientConnectorError):
        return not_connected(address, error.os_error)
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return not_connected(address, TimeoutError("timed out"))
    if isinstance(error, TimeoutError):
        return no_answer(str(address), allowed)
    if isinstance(error, aiohttp.ClientResponseError):
        return no_http(address)
    return broken(address, error)
