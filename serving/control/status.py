"""The admin port's status table: every error word as HTTP."""

from __future__ import annotations

from collections.abc import Mapping

from serving import _core
from serving.errors import ErrorCode, ServingError
from serving.models.commands.command import SUPERSEDED, Outcome

_OF_HTTP = dict(
    zip(_core.OUTCOMES, _core.CODES[_core.PROTOCOLS.index("http")], strict=True),
)
# As on the HTTP port, but for a command that a newer one has ended.
HTTP_STATUS: Mapping[ErrorCode, int] = {
    **{word: int(_OF_HTTP[word]) for word in ErrorCode},
    ErrorCode.CANCELLED: 409,
}

_HEADERS: Mapping[ErrorCode, Mapping[str, str]] = {
    ErrorCode.UNAUTHENTICATED: {"www-authenticate": "Bearer"},
    ErrorCode.FULL: {"retry-after": "1"},
    ErrorCode.TOO_MANY_REQUESTS: {"retry-after": "1"},
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
