"""The admin port: metrics, health and the list of models. It changes nothing.

A small web server in a thread of its own, away from the data ports. Every resource that a
client can hold is bounded: connections, heads, and the time a head may take.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import os
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from serving.control.views import models_json
from serving.events import log
from serving.models.views import ModelView
from serving.observe.prometheus import CONTENT_TYPE
from serving.settings import Settings

MAX_CONNECTIONS = 64
MAX_HEAD_BYTES = 16384
HEAD_TIMEOUT_S = 10.0
IDLE_TIMEOUT_S = 60


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


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches that address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


class Admin:
    """The port's life: bound when made, answering from ``start`` to ``stop``."""

    def __init__(
        self,
        settings: Settings,
        origins: Mapping[str, str],
        *,
        metrics: Callable[[], bytes],
        models: Callable[[], tuple[ModelView, ...]],
        is_ready: Callable[[], bool],
    ) -> None:
        self._socket = listen(settings.admin_host, settings.admin_port, "admin port")
        app = application(settings, origins, metrics=metrics, models=models, is_ready=is_ready)
        self._server = _QuietServer(_uvicorn_config(app))
        self._thread = threading.Thread(target=self._run, name="admin", daemon=True)

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._socket.getsockname()[:2]
        return str(host), int(port)

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


def _uvicorn_config(app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=_TimedProtocol,
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=IDLE_TIMEOUT_S,
        timeout_graceful_shutdown=1,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
    )


class _QuietServer(uvicorn.Server):
    """Looks at the clock once a second, not ten times: an idle gateway should sleep."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._asked = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def ask_to_exit(self) -> None:
        """From any thread."""
        self.should_exit = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has closed already
                self._loop.call_soon_threadsafe(self._asked.set)

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), 1.0)


class _TimedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 with a time limit for the first head, which it lacks (fault 37)."""

    cycle: Any
    _head_timer: asyncio.TimerHandle | None = None

    # The transport is always this kind here; asyncio declares the wider one.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._close_if_headless)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
        super().connection_lost(exc)

    def _close_if_headless(self) -> None:
        if self.cycle is None:
            self.transport.abort()


def application(
    settings: Settings,
    origins: Mapping[str, str],
    *,
    metrics: Callable[[], bytes],
    models: Callable[[], tuple[ModelView, ...]],
    is_ready: Callable[[], bool],
) -> Starlette:
    """The routes. The callables are asked anew by every request, on a worker thread."""

    def scrape(_: Request) -> Response:
        return Response(metrics(), headers={"content-type": CONTENT_TYPE})

    def live(_: Request) -> Response:
        return JSONResponse({"live": True})

    def ready(_: Request) -> Response:
        answer = is_ready()
        return JSONResponse({"ready": answer}, status_code=200 if answer else 503)

    def list_models(_: Request) -> Response:
        return JSONResponse({"models": models_json(models())})

    def list_settings(request: Request) -> Response:
        _loopback_only(settings, request)
        return JSONResponse({"settings": settings_json(settings, origins)})

    routes = [
        Route("/metrics", scrape),
        Route("/v2/health/live", live),
        Route("/v2/health/ready", ready),
        Route("/api/v1/models", list_models),
        Route("/api/v1/settings", list_settings),
    ]
    handlers: dict[Any, Any] = {HTTPException: _as_json, Exception: _failed}
    return Starlette(routes=routes, exception_handlers=handlers)


def settings_json(settings: Settings, origins: Mapping[str, str]) -> list[dict[str, Any]]:
    """Every setting with its effective value and where that came from."""
    values = settings.model_dump(mode="json")
    return [
        {"key": key, "value": _at(values, key), "origin": origins.get(key, "default")}
        for key in settings.flat()
    ]


def _at(tree: Any, key: str) -> Any:
    for name in key.split("."):
        tree = tree[name]
    return tree


def _loopback_only(settings: Settings, request: Request) -> None:
    """Settings name directories. A browser may be led here under another name, so the name
    it asks for counts too."""
    if not (is_loopback(settings.admin_host) and is_loopback(request.url.hostname or "")):
        raise HTTPException(403, "settings are shown on a loopback address only")


async def _as_json(_: Request, error: HTTPException) -> Response:
    return JSONResponse(
        {"error": error.detail}, status_code=error.status_code, headers=error.headers
    )


async def _failed(_: Request, error: Exception) -> Response:
    log.error("admin_request_failed", detail=repr(error))
    return JSONResponse({"error": "internal error"}, status_code=500)
