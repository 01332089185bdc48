"""What a room lets operators ask over the admin port: one row a call.

A room hands its rows over; the port routes them, guards them and describes them, and knows none
of them. So a new call is a row in the room that answers it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from serving.errors import ErrorCode, ServingError

Handler = Callable[[Request], Awaitable[Response]]
Query = TypeVar("Query", bound=BaseModel)


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


def query_of(request: Request, kind: type[Query]) -> Query:
    """What stands behind the path's ``?``. Raises ServingError for what ``kind`` does not have: a
    filter that is misspelt must not look like one that lets everything pass."""
    given, known = request.query_params, kind.model_fields
    if given.keys() - known.keys():
        names = ", ".join(f"'{name}'" for name in known)
        raise _bad(f"unknown query parameter: known are {names}")
    found: dict[str, object] = {}
    for name in given:
        several = given.getlist(name)
        if get_origin(known[name].annotation) is list:
            found[name] = several
        elif len(several) == 1:
            found[name] = several[0]
        else:
            raise _bad(f"'{name}' came more than once")
    try:
        return kind.model_validate(found)
    except ValidationError as error:
        raise _bad(words_of(error)) from None


def words_of(error: ValidationError | RecursionError) -> str:
    """What is wrong with what came, for who sent it."""
    if isinstance(error, RecursionError):
        return "the body is nested too deeply"
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"] if isinstance(part, str))[:128]
    return f"'{place}': {first['msg']}" if place.isprintable() and place else str(first["msg"])


def _bad(words: str) -> ServingError:
    return ServingError(ErrorCode.BAD_REQUEST, words)
