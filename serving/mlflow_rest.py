"""Asking an MLflow server by its REST API, and what it says when it refuses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from serving.http_client import HttpClient, HttpError

BASE = "/api/2.0/mlflow"
# Where MLflow's own clients look for the authorities to trust.
AUTHORITIES = "MLFLOW_TRACKING_SERVER_CERT_PATH"
# Of what the server says, in characters.
_MAX_WORDS = 300
# Refused for who asks, about this, and that heals.
_FORBIDDEN = 403
# Refused for who asks or how often, not for what is asked: that heals.
_PASSING = frozenset({401, 403, 407, 408, 425, 429})


class MlflowError(Exception):
    """No good answer, in words for the operator that hold no secret."""


class OneError(MlflowError):
    """What was asked about has no good answer; of others it says nothing."""


class RefusedError(OneError):
    """The server understood and said no: asking the same again is of no use. ``code`` is
    MLflow's word for it."""

    def __init__(self, status: int, code: str, words: str) -> None:
        super().__init__(f"refused with status {status}, {code}{words}")
        self.status, self.code = status, code


class MlflowRest:
    """``hidden``: what none of its words may show. For one thread."""

    def __init__(self, client: HttpClient, hidden: Sequence[str] = ()) -> None:
        self._client, self._hidden = client, hidden

    def ask(self, method: str, path: str, body: object = None, base: str = BASE) -> dict[str, Any]:
        """The answer's object. Raises MlflowError."""
        content = json.dumps(body).encode() if body is not None else b""
        headers = {"Content-Type": "application/json"} if content else {}
        try:
            answer = self._client.request(method, f"{base}/{path}", content, headers)
        except HttpError as error:
            raise MlflowError(f"no answer: {error}") from None
        if answer.status == 200:
            if (found := _object(answer.body)) is None:
                raise garbage()
            return found
        raise self.refusal(answer.status, answer.body)

    def refusal(self, status: int, body: bytes) -> MlflowError:
        """What an answer of another status than 200 amounts to."""
        found = _object(body)
        code = found.get("error_code") if found is not None else None
        said = isinstance(code, str) and code.replace("_", "").isalnum() and len(code) < 100
        if said and 400 <= status < 500 and status not in _PASSING:
            return RefusedError(status, str(code), self._words(found))
        named = f", {code}{self._words(found)}" if said else ""
        kind = OneError if said and status == _FORBIDDEN else MlflowError
        return kind(f"answered status {status}{named}")

    def _words(self, answer: dict[str, Any] | None) -> str:
        """The server's own, behind a colon: one line, not long, without secrets."""
        message = answer.get("message") if answer is not None else None
        if not isinstance(message, str) or not message.strip():
            return ""
        line = " ".join(message.split())
        for secret in self._hidden:
            line = line.replace(secret, "**********")
        line = "".join(c if c.isprintable() else "?" for c in line)
        return f": {line[:_MAX_WORDS]}{'...' if len(line) > _MAX_WORDS else ''}"


def garbage() -> MlflowError:
    return MlflowError("the answer is not that of an MLflow tracking server")


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
