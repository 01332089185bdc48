"""Reading what a control call says: how long it waits, its body, within bounds."""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from serving.errors import ErrorCode, ServingError
from serving.queries import words_of

MAX_BODY_BYTES = 64 * 1024
DEFAULT_WAIT_S = 60.0
MAX_WAIT_S = 3600.0

Body = TypeVar("Body", bound=BaseModel)


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
        raise _bad(words_of(error)) from None
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


def _bad(words: str) -> ServingError:
    return ServingError(ErrorCode.BAD_REQUEST, words)
