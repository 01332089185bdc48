"""The admin port's status table: every error word as HTTP."""

from __future__ import annotations

from collections.abc import Mapping

from serving.errors import ErrorCode, ServingError
from serving.models.commands.command import SUPERSEDED, Outcome

HTTP_STATUS: Mapping[ErrorCode, int] = {
    ErrorCode.BAD_REQUEST: 400,
    ErrorCode.BAD_DATA: 400,
    ErrorCode.UNAUTHENTICATED: 401,
    ErrorCode.PERMISSION_DENIED: 403,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.METHOD_NOT_ALLOWED: 405,
    ErrorCode.SLOW_BODY: 408,
    # A command that a newer one has ended.
    ErrorCode.CANCELLED: 409,
    ErrorCode.TOO_LARGE: 413,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: 415,
    ErrorCode.UNSUPPORTED_ENCODING: 415,
    ErrorCode.UNMET_EXPECTATION: 417,
    ErrorCode.INTERNAL: 500,
    ErrorCode.UNIMPLEMENTED: 501,
    ErrorCode.FULL: 503,
    ErrorCode.UNAVAILABLE: 503,
    ErrorCode.EXPIRED: 504,
}

_HEADERS: Mapping[ErrorCode, Mapping[str, str]] = {
    ErrorCode.UNAUTHENTICATED: {"www-authenticate": "Bearer"},
    ErrorCode.FULL: {"retry-after": "1"},
    ErrorCode.UNAVAILABLE: {"retry-after": "1"},
}


def status_and_headers(word: ErrorCode) -> tuple[int, dict[str, str]]:
    return HTTP_STATUS[word], dict(_HEADERS.get(word, {}))


def failure(outcome: Outcome) -> ServingError:
    """A command's failure; one that a newer command ended is a conflict, whatever its word."""
    word = (
        ErrorCode.CANCELLED if outcome.message == SUPERSEDED else outcome.code or ErrorCode.INTERNAL
    )
    return ServingError(word, outcome.message)
