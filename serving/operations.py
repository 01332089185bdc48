"""What a room lets operators ask over the admin port: one row a call.

A room hands its rows over; the port routes them, guards them and describes them, and knows none
of them. So a new call is a row in the room that answers it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

Handler = Callable[[Request], Awaitable[Response]]


class Form(BaseModel):
    """A JSON object that a call takes or gives; the port's description is made of it."""

    model_config = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class Operation:
    """``answers``: status -> what it carries, None for what is not JSON. ``query``: what may be
    asked behind the path's ``?``. ``control``: the gate is asked first. ``handler`` may raise
    ServingError."""

    method: str
    path: str
    name: str
    summary: str
    handler: Handler
    answers: Mapping[int, type[BaseModel] | None]
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    control: bool = True


def telling(
    path: str,
    name: str,
    summary: str,
    form: type[BaseModel],
    tell: Callable[[], Mapping[str, Any]],
    *,
    control: bool = True,
) -> Operation:
    """A GET that takes nothing. ``tell`` is asked anew by every request and must be quick: it runs
    in the port's loop, so that it answers also while all worker threads are busy."""

    async def handler(_: Request) -> Response:
        return JSONResponse(tell())

    return Operation("GET", path, name, summary, handler, {200: form}, control=control)
