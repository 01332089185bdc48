"""Calls as requests of HTTP: JSON, tensors in binary form behind it. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

from serving_client.errors import DamagedAnswerError
from serving_client.exchange import Exchange, InferRequest
from serving_client.results import (
    Array,
    InferResult,
    ModelMetadata,
    ModelState,
    ModelStatistics,
    ServerMetadata,
    read_model_metadata,
    read_model_state,
    read_server_metadata,
    read_statistics,
)
from serving_client.tensors import decode_output, decode_values

T = TypeVar("T")

JSON_LENGTH = "inference-header-content-length"


class HttpCodec:
    """``serving_client.exchange.Codec``, over ``/v2``."""

    def infer(self, request: InferRequest) -> Exchange[InferResult]:
        head = json.dumps(_head(request), separators=(",", ":")).encode()
        headers = {
            "content-type": "application/octet-stream",
            JSON_LENGTH: str(len(head)),
            **request.options.headers,
        }
        body = b"".join([head, *(tensor.data for tensor in request.inputs)])
        path = f"{_model(request.model, request.options.version)}/infer"

        def again(left: float) -> Exchange[InferResult]:
            return self.infer(request._replace(options=request.options._replace(timeout=left)))

        return Exchange(path, body, _read_result, headers=headers, again=again)

    def server_live(self) -> Exchange[bool]:
        return _get("/v2/health/live", lambda _: True)

    def server_ready(self) -> Exchange[bool]:
        return _get("/v2/health/ready", lambda _: True)

    def model_ready(self, model: str, version: str) -> Exchange[bool]:
        return _get(f"{_model(model, version)}/ready", lambda _: True)

    def server_metadata(self) -> Exchange[ServerMetadata]:
        return _get("/v2", read_server_metadata)

    def model_metadata(self, model: str, version: str) -> Exchange[ModelMetadata]:
        return _get(_model(model, version), read_model_metadata)

    def statistics(self, model: str, version: str) -> Exchange[list[ModelStatistics]]:
        path = f"{_model(model, version)}/stats" if model else "/v2/models/stats"
        return _get(path, lambda said: [read_statistics(one) for one in said["model_stats"]])

    def models(self) -> Exchange[list[ModelState]]:
        def read(body: bytes, _: Mapping[str, str]) -> list[ModelState]:
            return _shaped(lambda said: [read_model_state(one) for one in said], _json(body))

        return Exchange("/v2/repository/index", b"", read)


def _model(model: str, version: str) -> str:
    named = f"/versions/{quote(version, safe='')}" if version else ""
    return f"/v2/models/{quote(model, safe='')}{named}"


def _get(path: str, read: Callable[[Any], T]) -> Exchange[T]:
    def read_bytes(body: bytes, _: Mapping[str, str]) -> T:
        # Some servers say that they are well by the status alone.
        return _shaped(read, _json(body) if body else {})

    return Exchange(path, b"", read_bytes, verb="GET")


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise DamagedAnswerError("the answer is no JSON") from None


def _shaped(read: Callable[[Any], T], said: Any) -> T:
    try:
        return read(said)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise DamagedAnswerError(f"the answer is not of the protocol's form: {error!r}") from None


def _head(request: InferRequest) -> dict[str, Any]:
    options = request.options
    # A server sees no deadline of a client's over HTTP; it takes microseconds.
    timeout = {"timeout": max(1, int(options.timeout * 1e6))}
    head: dict[str, Any] = {
        "parameters": {"binary_data_output": True, **timeout, **options.parameters},
        "inputs": [
            {
                "name": tensor.name,
                "datatype": tensor.datatype,
                "shape": tensor.shape,
                "parameters": {"binary_data_size": len(tensor.data)},
            }
            for tensor in request.inputs
        ],
    }
    if options.id:
        head["id"] = options.id
    if options.outputs:
        head["outputs"] = [{"name": name} for name in options.outputs]
    return head


def _read_result(body: bytes, headers: Mapping[str, str]) -> InferResult:
    try:
        length = int(headers.get(JSON_LENGTH) or len(body))
    except ValueError:
        raise DamagedAnswerError(f"{JSON_LENGTH}: no number") from None
    said = _json(body[:length])
    data = memoryview(body)[length:]
    return _shaped(lambda said: _result(said, data), said)


def _result(said: Any, data: memoryview) -> InferResult:
    outputs, datatypes = {}, {}
    for output in said["outputs"]:
        name = output["name"]
        outputs[name], data = _output(output, data)
        datatypes[name] = output["datatype"]
    return InferResult(
        said["model_name"],
        said.get("model_version") or "",
        said.get("id") or "",
        dict(said.get("parameters") or {}),
        outputs,
        datatypes,
    )


def _output(said: Mapping[str, Any], data: memoryview) -> tuple[Array, memoryview]:
    """The output's array, and what lies behind its data."""
    datatype, shape = said["datatype"], tuple(said["shape"])
    size = (said.get("parameters") or {}).get("binary_data_size")
    if size is None:
        return decode_values(said["data"], datatype, shape), data
    if not 0 <= size <= len(data):
        raise ValueError(
            f"output '{said['name']}' has {size} bytes of the {len(data)} that are left"
        )
    return decode_output(data[:size], datatype, shape), data[size:]
