"""Reading what a control call says: its query, its body, within bounds."""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import dataclass
from typing import TypeVar, get_origin

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from serving.errors import ErrorCode, ServingError

MAX_BODY_BYTES = 64 * 1024
DEFAULT_WAIT_S = 60.0
MAX_WAIT_S = 3600.0

Body = TypeVar("Body", bound=BaseModel)
Query = TypeVar("Query", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Waiting:
    """How long a call waits for its command's end, in seconds; 0: not at all."""

    seconds: float


def waiting(request: Request) -> Waiting:
    """Out of ``?wait=true|false&timeout=s``. Raises ServingError for anything else."""
    query = dict(request.query_params)
    unknown = sorted(query.keys() - {"wait", "timeout"})
    if unknown:
        raise _bad("unknown query parameter: only 'wait' and 'timeout' are known")
    wait = query.get("wait", "true")
    if wait not in ("true", "false"):
        raise _bad("'wait' must be true or false")
    try:
        seconds = float(query.get("timeout", DEFAULT_WAIT_S))
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= MAX_WAIT_S:
        raise _bad(f"'timeout' must be seconds above 0, at most {MAX_WAIT_S:g}")
    return Waiting(seconds if wait == "true" else 0.0)


def query(request: Request, kind: type[Query]) -> Query:
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
        raise _bad(_words(error)) from None


async def body(request: Request, kind: type[Body]) -> Body:
    """The JSON body; nothing is an empty object. Raises ServingError."""
    content = await _read(request)
    if not content.strip():
        content = b"{}"
    else:
        _check_type(request)
    try:
        return kind.model_validate(json.loads(content))
    except (ValidationError, RecursionError) as error:
        raise _bad(_words(error)) from None
    except ValueError:
        raise _bad("the body is not valid JSON") from None


def _check_type(request: Request) -> None:
    """A browser sends JSON to another site only after asking, and is never told yes."""
    given = request.headers.get("content-type", "")
    if given.partition(";")[0].strip().lower() != "application/json":
        raise ServingError(
            ErrorCode.UNSUPPORTED_MEDIA_TYPE,
            "the body must come as 'Content-Type: application/json'",
        )


async def _read(request: Request) -> bytes:
    content = bytearray()
    try:
        async with asyncio.timeout(request.app.state.body_timeout_s):
            async for piece in request.stream():
                content += piece
                if len(content) > MAX_BODY_BYTES:
                    raise ServingError(
                        ErrorCode.TOO_LARGE, f"the body has more than {MAX_BODY_BYTES} bytes"
                    )
    except TimeoutError:
        raise ServingError(ErrorCode.SLOW_BODY, "the body did not come in time") from None
    except ClientDisconnect:
        raise _bad("the body did not come") from None
    return bytes(content)


def _words(error: ValidationError | RecursionError) -> str:
    if isinstance(error, RecursionError):
        return "the body is nested too deeply"
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"] if isinstance(part, str))[:128]
    return f"'{place}': {first['msg']}" if place.isprintable() and place else str(first["msg"])


def _bad(words: str) -> ServingError:
    return ServingError(ErrorCode.BAD_REQUEST, words)
