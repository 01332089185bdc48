"""The admin port: the operations that rooms hand over, routed, guarded and described.

A small web server in a thread of its own, away from the data ports.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from serving import _core, machine
from serving.authorization import Gate
from serving.control import web
from serving.control.hosts import OwnHosts
from serving.control.openapi import document
from serving.control.places import Bounds
from serving.control.signpost import not_found
from serving.control.status import status_and_headers
from serving.errors import ErrorCode, ServingError
from serving.events import log
from serving.operations import Operation
from serving.settings import Settings


class AddressError(Exception):
    """An address that can't be listened on, in words for the operator."""


def listen(host: str, port: int, what: str) -> socket.socket:
    """A bound, listening TCP socket. Raises AddressError when the address is taken or no
    address of this machine."""
    try:
        info = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = info[0]
        return socket.create_server(address, family=family, backlog=128)
    except OSError as error:
        raise AddressError(f"{what}: {host}:{port}: {address_words(error)}") from None


def address_words(error: OSError) -> str:
    """Why an address can't be listened on, without the system's jargon where it is known."""
    if error.errno == errno.EADDRINUSE:
        return "the address is taken by another process"
    if error.errno == errno.EACCES:
        return "this user may not listen on that port"
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return "no address of this machine"
    return os.strerror(error.errno) if error.errno else str(error)


class Admin:
    """The port's life: answering from ``start`` to ``stop``.

    ``operations``: of all rooms; those that control ask the ``gate`` first. ``listener``: a socket
    that listens there; without it one is bound here. ``files``: what else is answered, to anybody,
    and is no call.
    """

    def __init__(
        self,
        settings: Settings,
        operations: Sequence[Operation],
        gate: Gate,
        listener: socket.socket | None = None,
        files: Sequence[Route] = (),
    ) -> None:
        host, port = settings.admin_host, settings.admin_port
        self._names = (host, settings.http.allowed_hosts)
        self._socket = listener or listen(host, port, "admin port")
        app = application(operations, gate, self._is_own, files)
        app.state.http_port = settings.http_port
        app.state.body_timeout_s = settings.limits.body_timeout_s
        self._server = web.QuietServer(web.BoundedConfig(app, bounds_of(settings)))
        self._thread = threading.Thread(target=self._run, name="admin", daemon=True)

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._socket.getsockname()[:2]
        return str(host), int(port)

    def _is_own(self, host: str) -> bool:
        name, allowed = self._names
        return _core.is_own_host(host, name, self.address[0], allowed)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float = 3.0) -> None:
        """Close the port; requests that don't end in time are cut off."""
        self._server.ask_to_exit()
        if self._thread.is_alive():
            self._thread.join(timeout)
        self._socket.close()

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        except (OSError, RuntimeError, SystemExit) as error:
            log.error("admin_port_failed", detail=repr(error))


def application(
    operations: Sequence[Operation],
    gate: Gate,
    is_own: Callable[[str], bool],
    files: Sequence[Route] = (),
) -> Starlette:
    """The routes, and the OpenAPI document of all operations; for requests whose host
    ``is_own``."""

    async def describe(_: Request) -> Response:
        return JSONResponse(described)

    itself = Operation(
        *("GET", "/api/openapi.json", "openapi"),
        "This document",
        describe,
        {200: None},
        control=False,
    )
    rows = (*operations, itself)
    described = document(rows)
    routes = [
        Route(
            row.path,
            partial(_guarded, gate, row.handler) if row.control else partial(_plain, row.handler),
            methods=[row.method],
        )
        for row in rows
    ]
    handlers: dict[Any, Any] = {
        HTTPException: _as_json,
        ServingError: _refused,
        Exception: _failed,
    }
    own_hosts = Middleware(OwnHosts, is_own=is_own)
    return Starlette(routes=[*routes, *files], exception_handlers=handlers, middleware=[own_hosts])


def bounds_of(settings: Settings) -> Bounds:
    """What the settings say, as far as they are for both doors and this port."""
    limits = settings.limits
    return Bounds(
        connections=settings.places.admin,
        head_s=limits.head_timeout_s,
        body_s=limits.body_timeout_s,
        idle_s=limits.idle_timeout_s,
    )


def joined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """One that came several times is one with commas: whoever checks it sees all of it."""
    found: dict[str, str] = {}
    for name, value in headers:
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


async def _plain(handler: Callable[[Request], Awaitable[Response]], request: Request) -> Response:
    try:
        return await handler(request)
    except asyncio.CancelledError:
        # Nothing else cancels one. It ends as others do, and is no fault for the log.
        raise ServingError(ErrorCode.UNAVAILABLE, "the server is stopping") from None
    except RuntimeError as error:
        if not machine.is_thread_shortage(error):
            raise
        words = "the server gets no thread for this call just now"
        raise ServingError(ErrorCode.UNAVAILABLE, words) from None


async def _guarded(
    gate: Gate, handler: Callable[[Request], Awaitable[Response]], request: Request
) -> Response:
    async def checked(request: Request) -> Response:
        # It may read the token's file.
        await run_in_threadpool(gate.check, joined(request.headers.items()))
        return await handler(request)

    return await _plain(checked, request)


async def _refused(_: Request, error: ServingError) -> Response:
    status, headers = status_and_headers(error.code)
    return JSONResponse({"error": error.message}, status_code=status, headers=headers)


async def _as_json(request: Request, error: HTTPException) -> Response:
    words = error.detail
    if error.status_code == 404:
        words = not_found(request.url.path, request.app.state.http_port)
    return JSONResponse({"error": words}, status_code=error.status_code, headers=error.headers)


async def _failed(_: Request, error: Exception) -> Response:
    log.error("admin_request_failed", detail=repr(error))
    return JSONResponse({"error": "internal error"}, status_code=500)
