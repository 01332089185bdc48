"""One prediction for whoever looks at the console: asked of the HTTP port, as any client asks.

The page does not ask that port itself: whoever reaches the admin port by a tunnel, a proxy or a
mapped port reaches another one under another address, or not at all, and the data port would have
to let a page of another origin read its answers. What is passed on is bounded: one path of this
gateway's own port, a body and an answer of a bounded size, a few at a time.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from typing import Any
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from serving.control import requests
from serving.control.console import forms
from serving.control.naming import name_of
from serving.errors import ErrorCode, ServingError
from serving.operations import Operation
from serving.timed_http import Connection, Timer

MOST_ANSWER_BYTES = 256 * 1024
# At once; each holds one of the threads that control calls are answered by.
MOST_AT_ONCE = 4
_LONGEST_S = 60.0
_AFTER_S = 1.0
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class Predictions:
    """``address``: of the HTTP port; ``timeout_s``: of its requests, 0 for none."""

    def __init__(self, address: tuple[str, int], timeout_s: float) -> None:
        self._host, self._port = _EVERYWHERE.get(address[0], address[0]), address[1]
        # The port's own time-out says more.
        self._timeout_s = min(timeout_s + _AFTER_S if timeout_s else _LONGEST_S, _LONGEST_S)
        self._places = threading.BoundedSemaphore(MOST_AT_ONCE)

    def operations(self) -> tuple[Operation, ...]:
        return (
            Operation(
                *("POST", "/api/v1/models/{name}/predict", "predict"),
                "Ask a model once, as a client of the HTTP port does, and tell what came",
                self._predict,
                {200: forms.Prediction},
                forms.PredictBody,
            ),
        )

    async def _predict(self, request: Request) -> Response:
        name = name_of(request)
        said = await requests.body(request, forms.PredictBody)
        return JSONResponse(await run_in_threadpool(self._ask, name, said))

    def _ask(self, name: str, said: forms.PredictBody) -> dict[str, Any]:
        """Raises ServingError where the port does not answer, or too many ask already."""
        if not self._places.acquire(blocking=False):
            raise ServingError(ErrorCode.FULL, "too many predictions are under way: try later")
        try:
            return self._asked(name, said)
        except TimeoutError:
            raise ServingError(
                ErrorCode.UNAVAILABLE, f"no answer within {self._timeout_s:g} s"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise ServingError(
                ErrorCode.UNAVAILABLE, f"the HTTP port does not answer: {error}"
            ) from None
        finally:
            self._places.release()

    def _asked(self, name: str, said: forms.PredictBody) -> dict[str, Any]:
        version = f"/versions/{said.version}" if said.version is not None else ""
        path = f"/v2/models/{quote(name, safe='')}{version}/infer"
        body = json.dumps(said.request).encode()
        began = time.monotonic()
        connection = Connection(self._host, self._port)
        try:
            timer = Timer(self._timeout_s)
            answer = connection.ask(timer, "POST", path, body, {"content-type": "application/json"})
            content = answer.read(MOST_ANSWER_BYTES + 1)
        finally:
            connection.close()
        return {
            "status": answer.status,
            "version": answer.getheader("x-model-version", ""),
            "route": answer.getheader("x-model-route", ""),
            "seconds": round(time.monotonic() - began, 6),
            "text": content[:MOST_ANSWER_BYTES].decode("utf-8", "replace"),
            "cut": len(content) > MOST_ANSWER_BYTES,
        }
