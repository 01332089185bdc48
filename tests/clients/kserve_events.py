"""KServe's own server answers CloudEvents: run by the interpreter of its environment.

``python kserve_events.py < requests``: of a JSON list of [headers, body] the answers of KServe's
REST application, without a socket, as a list of [status, headers, body]. Its one model, ``tiny``,
answers what it is asked. Nothing here may import the tests.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import httpx
from kserve import InferOutput, InferResponse, Model
from kserve.model_repository import ModelRepository
from kserve.model_server import app
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.model_repository_extension import ModelRepositoryExtension
from kserve.protocol.rest.server import RESTServer


class Tiny(Model):
    def __init__(self) -> None:
        super().__init__("tiny")
        self.ready = True

    async def predict(self, payload: Any, headers: Any = None, **_: Any) -> InferResponse:
        given = payload.inputs[0].as_numpy()
        output = InferOutput("y", list(given.shape), "FP32")
        output.set_data_from_numpy(given, binary_data=False)
        return InferResponse("x", "tiny", [output])


async def main() -> None:
    models = ModelRepository()
    models.update(Tiny())
    plane = DataPlane(model_registry=models)
    RESTServer(app, plane, ModelRepositoryExtension(model_registry=models), 0).create_application()
    transport = httpx.ASGITransport(app=app)
    found = []
    async with httpx.AsyncClient(transport=transport, base_url="http://kserve") as client:
        for headers, body in json.load(sys.stdin):
            answer = await client.post("/v2/models/tiny/infer", json=body, headers=headers)
            found.append([answer.status_code, dict(answer.headers), answer.text])
    json.dump(found, sys.stdout)


asyncio.run(main())
