"""HTTP by urllib3, in threads that wait."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import urllib3
from urllib3 import exceptions

from serving_client.addresses import Address
from serving_client.errors import ServingError, no_answer
from serving_client.options import Options
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
from serving_client.transports.timed_connection import TimedPool, TimedTlsPool


class HttpBlocking:
    def __init__(self, options: Options) -> None:
        self._addresses = options.addresses
        # Bytes as they are: most are numbers, which compress badly.
        self._headers = {"accept-encoding": "identity", **options.headers}
        self._most = options.max_message_bytes
        self._paths = [urlsplit(address.target).path for address in options.addresses]
        context = None if options.tls is None else options.tls.context()
        self._pools = [_pool(address, options, context) for address in options.addresses]

    def send(self, attempt: Attempt) -> tuple[bytes, Mapping[str, str]]:
        exchange, place = attempt.exchange, attempt.place
        address = self._addresses[place]
        try:
            response = self._pools[place].urlopen(
                exchange.verb,
                self._paths[place] + exchange.target,
                body=exchange.body,
                headers={**self._headers, **exchange.headers},
                timeout=urllib3.Timeout(total=attempt.timeout),
                pool_timeout=attempt.timeout,  # type: ignore[arg-type]  # fractions work, too
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            body = _read(address, response, self._most)
        except (exceptions.HTTPError, OSError) as error:
            raise _failed(address, error, attempt.allowed) from None
        return answered(address, response.status, response.headers, body)

    def close(self) -> None:
        """Calls that wait for an answer, or for a connection, end, too."""
        for pool in self._pools:
            pool.close()


def _pool(
    address: Address, options: Options, context: ssl.SSLContext | None
) -> TimedPool | TimedTlsPool:
    parts = urlsplit(address.target)
    place = (len(options.addresses), parts.hostname or "", parts.port)
    said: dict[str, Any] = {
        "maxsize": MAX_CONNECTIONS,
        "block": True,
        "socket_options": keepalive_options(options.keepalive),
    }
    if context is None:
        return TimedPool(*place, **said)
    name = None if options.tls is None else options.tls.server_name
    return TimedTlsPool(*place, ssl_context=context, server_hostname=name, **said)


def _read(address: Address, response: urllib3.BaseHTTPResponse, most: int) -> bytes:
    try:
        body = Body(address, response.headers, most)
        for part in response.stream(1 << 20):
            body.add(part)
    except BaseException:
        # What is left of it would be taken for the next answer.
        response.close()
        response.release_conn()
        raise
    response.release_conn()
    return body.whole()


def _failed(address: Address, error: Exception, allowed: float) -> ServingError:
    if isinstance(error, ServingError):
        return error
    if isinstance(error, exceptions.NewConnectionError | exceptions.ConnectTimeoutError):
        return not_connected(address, error.__cause__ or error.__context__)
    if isinstance(error, exceptions.SSLError | ssl.SSLError):
        found = error.args[0] if error.args else error
        return no_tls(address, found if isinstance(found, Exception) else error)
    if isinstance(error, exceptions.TimeoutError | exceptions.EmptyPoolError | TimeoutError):
        return no_answer(str(address), allowed)
    if "BadStatusLine" in str(error):
        return no_http(address)
    return broken(address, error)
