"""KServe's own Python client against a gateway: run by the interpreter of its own environment.

``python kserve_calls.py http://host:port host:port``: prints one JSON object, key -> what the
client made of the answer. Nothing here may import the tests.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import grpc
import httpx
import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig

X = np.array([[1, 2, 3, 4]], np.float32)
TEXT = np.array([["plain", "é 漢字"]], np.object_)


def _request(
    model: str, name: str, array: np.ndarray, *, binary: bool, answer: bool | None = None
) -> InferRequest:
    datatype = "BYTES" if array.dtype == np.object_ else "FP32"
    tensor = InferInput(name=name, shape=list(array.shape), datatype=datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    parameters = None if answer is None else {"binary_data_output": answer}
    return InferRequest(
        model_name=model, infer_inputs=[tensor], request_id="mine", parameters=parameters
    )


def _shown(response: Any) -> dict[str, Any]:
    """Of an InferResponse: its id, model, version and first output."""
    (output,) = response.outputs
    values = output.as_numpy().reshape(-1).tolist()
    return {
        "id": response.id,
        "model": response.model_name,
        "version": response.model_version,
        "name": output.name,
        "datatype": output.datatype,
        "shape": list(output.shape),
        # Strings come as bytes over gRPC and in binary form, as text in JSON.
        "data": [one.decode() if isinstance(one, bytes) else one for one in values],
    }


async def _rest(url: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    async with InferenceRESTClient(RESTConfig(protocol="v2", retries=0)) as client:
        found["live"] = await client.is_server_live(url)
        found["ready"] = await client.is_server_ready(url)
        found["model ready"] = await client.is_model_ready(url, "tiny")
        found["broken model ready"] = await client.is_model_ready(url, "broken")
        ways = {"json": (False, False), "binary": (True, True), "binary in": (True, False)}
        for way, (sent, answer) in ways.items():
            request = _request("tiny", "x", X, binary=sent, answer=answer)
            found[f"infer {way}"] = _shown(await client.infer(url, request, model_name="tiny"))
        for way, binary in (("json", False), ("binary", True)):
            request = _request("id_bytes", "X", TEXT, binary=binary, answer=binary)
            answered = await client.infer(url, request, model_name="id_bytes")
            found[f"strings {way}"] = _shown(answered)
        try:
            await client.infer(
                url, _request("tiny", "x", X[:, :2], binary=False), model_name="tiny"
            )
        except httpx.HTTPStatusError as error:
            found["error"] = [error.response.status_code, str(error)]
    return found


async def _grpc(address: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    async with InferenceGRPCClient(address, retries=0) as client:
        found["live"] = await client.is_server_live()
        found["ready"] = await client.is_server_ready()
        found["model ready"] = await client.is_model_ready("tiny")
        found["broken model ready"] = await client.is_model_ready("broken")
        for way, binary in (("typed", False), ("raw", True)):
            request = _request("tiny", "x", X, binary=binary)
            found[f"infer {way}"] = _shown(await client.infer(request))
            request = _request("id_bytes", "X", TEXT, binary=binary)
            found[f"strings {way}"] = _shown(await client.infer(request))
        try:
            await client.infer(_request("tiny", "x", X[:, :2], binary=True))
        except grpc.RpcError as error:
            found["error"] = [error.code().name, error.details()]
    return found


async def main(url: str, address: str) -> None:
    found = {"rest": await _rest(url), "grpc": await _grpc(address)}
    json.dump(found, sys.stdout)


asyncio.run(main(*sys.argv[1:]))
