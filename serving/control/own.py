"""What the admin port tells of itself: who it is, and whether requests should be sent here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from serving import __version__
from serving.control import schemas
from serving.control.console.pages import Pages, wants_page
from serving.operations import Operation, telling
from serving.settings import Settings


def entrance(settings: Settings, pages: Pages | None = None) -> tuple[Operation, ...]:
    """JSON, but for browsers, who get the console where there are ``pages``."""

    async def handler(request: Request) -> Response:
        if pages is not None and wants_page(", ".join(request.headers.getlist("accept"))):
            return await pages.index(request)
        return JSONResponse(entrance_json(settings), headers={"vary": "accept"})

    return (
        Operation(
            *("GET", "/", "entrance"),
            "Who this is, and where things are; browsers get a page",
            handler,
            {200: schemas.Entrance},
            control=False,
        ),
    )


def health(is_ready: Callable[[], bool]) -> tuple[Operation, ...]:
    async def ready(_: Request) -> Response:
        answer = is_ready()
        return JSONResponse({"ready": answer}, status_code=200 if answer else 503)

    base = "/v2/health"
    return (
        telling(
            *(f"{base}/live", "live"),
            "Whether the process answers",
            schemas.Live,
            lambda: {"live": True},
            control=False,
        ),
        Operation(
            *("GET", f"{base}/ready", "ready"),
            "Whether requests should be sent here",
            ready,
            {200: schemas.Ready, 503: schemas.Ready},
            control=False,
        ),
    )


def entrance_json(settings: Settings) -> dict[str, Any]:
    """As the HTTP port's; port 0 is one that the system chose."""
    port = settings.http_port
    return {
        "name": settings.name,
        "version": __version__,
        "description": "/api/openapi.json",
        "control": "/api/v1/models",
        "settings": "/api/v1/settings",
        "tracking": "/api/v1/tracking",
        "metrics": "/metrics",
        "health": "/v2/health/ready",
        "inference": f"port {port}, /v2/models/NAME/infer" if port else "the HTTP port",
    }
