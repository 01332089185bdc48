"""TensorFlow Serving's REST API with nothing but HTTP and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.clients.gateway import Gateway, HttpAnswer


def post(
    gateway: Gateway,
    model: str,
    body: object,
    choice: str = "",
    headers: Mapping[str, str] | None = None,
    verb: str = "predict",
) -> HttpAnswer:
    """``body``: ready-made where it is text or bytes; ``choice``: ``/versions/1`` and the like."""
    if isinstance(body, str):
        data = body.encode("utf-8", "surrogatepass")
    else:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
    path = f"/v1/models/{model}{choice}:{verb}"
    return gateway.get(path, data, "POST", dict(headers or {}))


def predict(gateway: Gateway, model: str, body: object, choice: str = "") -> Any:
    """``predictions`` or ``outputs``, whichever ``body`` asks for."""
    answer = post(gateway, model, body, choice)
    assert answer.status == 200, answer
    assert answer.headers["content-type"] == "application/json"
    (found,) = answer.json().values()
    return found


def refused(gateway: Gateway, model: str, body: object, *words: str, status: int = 400) -> str:
    answer = post(gateway, model, body)
    assert answer.status == status, answer
    (key, error), *more = answer.json().items()
    assert (key, more) == ("error", [])
    for word in words:
        assert word in error, error
    return str(error)
