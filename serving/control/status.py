"""The admin port's status table: every error word as HTTP."""

from __future__ import annotations

from collections.abc import Mapping

from serving.errors import ServingError, Word
from serving.models.commands import SUPERSEDED, Outcome

HTTP_STATUS: Mapping[Word, int] = {
    Word.BAD_REQUEST: 400,
    Word.BAD_DATA: 400,
    Word.UNAUTHENTICATED: 401,
    Word.PERMISSION_DENIED: 403,
    Word.NOT_FOUND: 404,
    Word.METHOD_NOT_ALLOWED: 405,
    Word.SLOW_BODY: 408,
    # A command that a newer one has ended.
    Word.CANCELLED: 409,
    Word.TOO_LARGE: 413,
    Word.UNSUPPORTED_MEDIA_TYPE: 415,
    Word.UNSUPPORTED_ENCODING: 415,
    Word.UNMET_EXPECTATION: 417,
    Word.INTERNAL: 500,
    Word.UNIMPLEMENTED: 501,
    Word.FULL: 503,
    Word.UNAVAILABLE: 503,
    Word.EXPIRED: 504,
}

_HEADERS: Mapping[Word, Mapping[str, str]] = {
    Word.UNAUTHENTICATED: {"www-authenticate": "Bearer"},
    Word.FULL: {"retry-after": "1"},
    Word.UNAVAILABLE: {"retry-after": "1"},
}


def status_and_headers(word: Word) -> tuple[int, dict[str, str]]:
    return HTTP_STATUS[word], dict(_HEADERS.get(word, {}))


def failure(outcome: Outcome) -> ServingError:
    """A command's failure; one that a newer command ended is a conflict, whatever its word."""
    word = Word.CANCELLED if outcome.message == SUPERSEDED else outcome.word or Word.INTERNAL
    return ServingError(word, outcome.message)
