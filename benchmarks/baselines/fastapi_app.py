"""The server that one writes by hand: FastAPI on uvicorn with uvloop, one run a request.

python -m benchmarks.baselines.fastapi_app REGISTRY PORT
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from benchmarks.baselines.sessions import sessions


class Tensor(BaseModel):
    name: str
    datatype: str
    shape: list[int]
    data: list[Any]


class Request(BaseModel):
    inputs: list[Tensor]


def build(models: dict[str, Any]) -> FastAPI:
    app = FastAPI()

    @app.post("/v2/models/{name}/infer")
    async def infer(name: str, request: Request) -> dict[str, Any]:
        tensor = request.inputs[0]
        values = np.array(tensor.data, np.float32).reshape(tensor.shape)
        (result,) = models[name].run(None, {tensor.name: values})
        output = {
            "name": "y",
            "datatype": "FP32",
            "shape": list(result.shape),
            "data": result.ravel().tolist(),
        }
        return {"model_name": name, "outputs": [output]}

    return app


if __name__ == "__main__":
    uvicorn.run(
        build(sessions(Path(sys.argv[1]))),
        host="127.0.0.1",
        port=int(sys.argv[2]),
        loop="uvloop",
        access_log=False,
        log_level="warning",
    )
