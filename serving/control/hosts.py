"""Requests that mean this port, by the host that they name: a page of another site can let a name
of its own point here, and would then read what is answered (DNS rebinding)."""

from __future__ import annotations

from collections.abc import Callable

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.control.status import status_and_headers
from serving.errors import ErrorCode


class OwnHosts:
    """Refuses, before anything else looks at it, what is under a name that is not this port's.
    ``is_own`` is asked with the header's value. Who names no host is no browser."""

    def __init__(self, app: ASGIApp, is_own: Callable[[str], bool]) -> None:
        self._app = app
        self._is_own = is_own

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = scope.get("headers", ())
        hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
        foreign = [host for host in hosts if not self._is_own(host)]
        app = _misdirected(foreign[0]) if foreign else self._app
        await app(scope, receive, send)


def _misdirected(host: str) -> JSONResponse:
    from serving import _core

    status, headers = status_and_headers(ErrorCode.MISDIRECTED)
    named = _core.shown(host)
    words = f"Misdirected Request: this port is not known as '{named}' (setting http.allowed_hosts)"
    return JSONResponse({"error": words}, status_code=status, headers=headers)
