"""MLflow's webhooks on the admin port: a hint that something changed. What did is always asked of
the registry itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from serving.errors import ErrorCode, ServingError
from serving.operations import Form, Operation
from serving.registry.mlflow.deliveries import MOST_BYTES, Deliveries

PATH = "/api/v1/sources/mlflow/webhook"


class Delivered(Form):
    """``followed``: it is about a model that is followed, and the registry is asked now."""

    followed: bool


def operation(secret: str, models: Collection[str], hint: Callable[[], object]) -> Operation:
    """No token guards it: a delivery proves itself. ``hint`` must be quick."""
    deliveries = Deliveries(secret)

    async def take(request: Request) -> Response:
        body = await _body(request)
        headers = {key.lower(): value for key, value in request.headers.items()}
        peer = request.client.host if request.client is not None else ""
        followed = deliveries.take(headers, body, peer, time.time()) in models
        if followed:
            hint()
        return JSONResponse({"followed": followed})

    return Operation(
        *("POST", PATH, "mlflowWebhook"),
        "A delivery of an MLflow webhook, proven by its own signature; no token is asked for",
        take,
        {200: Delivered},
        control=False,
    )


async def _body(request: Request) -> bytes:
    found = bytearray()
    async for piece in request.stream():
        found += piece
        if len(found) > MOST_BYTES:
            raise ServingError(ErrorCode.TOO_LARGE, f"a delivery has at most {MOST_BYTES} bytes")
    return bytes(found)
