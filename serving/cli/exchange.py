"""One exchange with a gateway by HTTP, without the Python client: what that does not ask."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

from serving.cli.output import UserError
from serving.cli.unreached import UnreachedError, not_connected
from serving.timed_http import Connection, Timer

Reply = tuple[int, http.client.HTTPMessage, bytes]


def request(
    method: str,
    url: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 60.0,
) -> Reply:
    """One HTTP exchange: status, headers, body. Raises UserError where nobody answers, or not
    within ``timeout`` seconds in all."""
    parts = parts_of(url)
    connection = _connection(parts)
    try:
        return _exchange(connection, Timer(timeout), method, parts, body, headers)
    except (OSError, http.client.HTTPException) as error:
        raise _failed(parts, error) from None
    finally:
        connection.close()


def parts_of(url: str) -> SplitResult:
    """Raises UserError for what is no address to ask over HTTP."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
    except ValueError:
        raise UserError(f"'{url}' is no URL", code=2) from None
    if parts.scheme != "http" or not parts.hostname:
        raise UserError(f"'{url}' is not an http:// URL", code=2)
    try:
        _ = parts.port
    except ValueError:
        raise UserError(f"'{url}' has no valid port", code=2) from None
    return parts


def _connection(parts: SplitResult) -> Connection:
    return Connection(parts.hostname or "", parts.port)


def _exchange(
    connection: Connection,
    timer: Timer,
    method: str,
    parts: SplitResult,
    body: bytes | None,
    headers: Mapping[str, str] | None,
) -> Reply:
    target = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
    response = connection.ask(timer, method, target, body, headers or {})
    return response.status, response.headers, response.read()


def _failed(parts: SplitResult, error: Exception) -> UserError:
    place = f"{parts.scheme}://{parts.netloc}"
    if isinstance(error, http.client.BadStatusLine) and not str(error).startswith("Remote end"):
        return UnreachedError(
            f"{place}: it does not speak HTTP/1.1 (a gRPC port? then grpc://{parts.netloc})"
        )
    if isinstance(error, OSError):
        unreached = not_connected(place, parts.hostname or "", error)
        if unreached is not None:
            return unreached
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return UserError(f"{place}: {text}")
