"""A core in this process, and requests over both its doors that end as a test says."""

from __future__ import annotations

import atexit
import json
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from http.client import HTTPConnection
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2 as pb

from serving import _core
from serving.settings import load_settings
from tests.clients import oip

Tensor = tuple[str, str, tuple[int, ...], bytes]

_SERVICE = "/inference.GRPCInferenceService/"
_NOTED: dict[str, Any] = {
    "trace_rate": 0.0,
    "trace_parents": False,
    "span_buffer": 1000,
    "sample_buffer_bytes": 1 << 26,
    "sample_max_bytes": 1 << 24,
    "access_rate": 0.0,
}


@dataclass(frozen=True)
class Request:
    """What is asked, and how it ends: with ``outputs``, or with ``word`` and ``message``.
    ``max_rows``: of the model's batches; 0 where it has none. ``most``: the largest value that its
    schema allows each input, and only counts what is larger."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...] = ()
    model: str = "m"
    version: int = 3
    protocol: str = "grpc"
    method: str = "ModelInfer"
    id: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    priority: int = 0
    timeout_us: int = 0
    word: str = ""
    message: str = ""
    max_rows: int = 0
    most: float | None = None

    @property
    def parameters(self) -> dict[str, int]:
        given = {"priority": self.priority, "timeout": self.timeout_us}
        return {name: value for name, value in given.items() if value}


class Core:
    """Whoever asks also runs the model: one request at a time, by one thread."""

    def __init__(self) -> None:
        settings, _ = load_settings({"http_port": 0, "grpc_port": 0}, None, {})
        self._server = _core.Server(settings.core())
        self._server.start()
        self._server.set_ready(True)
        self._pool = ThreadPoolExecutor(1)
        self._channel = grpc.insecure_channel("{}:{}".format(*self._server.grpc_address))

    def close(self) -> None:
        self._channel.close()
        self._pool.shutdown()
        self._server.stop()

    def sample(self, request: Request) -> _core.Sample:
        self._server.observe(**_NOTED)
        self._answer(request, 1.0)
        (one,) = _take(self._server.samples, 1)
        return one

    def spans(self, request: Request) -> list[_core.Span]:
        """Those of the request, its wait, its batch and its run, as they end."""
        self._server.observe(**_NOTED | {"trace_rate": 1.0})
        self._answer(request, 0.0)
        return _take(self._server.spans, 4)

    def _answer(self, request: Request, rate: float) -> None:
        queue = _queue(request)
        queue.check(_checks(request))
        queue.sample(rate)
        route = _core.Route(request.model, {request.version: queue}, request.version)
        self._server.publish([route])
        reply = self._send(request)
        # One that is refused comes to no batch.
        reply.add_done_callback(lambda _: queue.close())
        batch = queue.next_batch()
        assert batch is not None, f"{request} was refused: {reply.exception()}"
        if request.word:
            batch.fail(request.word, request.message)
        else:
            batch.complete([_array(one) for one in request.outputs])
        reply.exception(30)
        self._server.publish([], [request.model])

    def _send(self, request: Request) -> Any:
        if request.protocol == "http":
            return self._pool.submit(self._post, request)
        message = _message(request)
        if request.method == "ModelStreamInfer":
            stream = self._channel.stream_stream(_SERVICE + request.method)
            return self._pool.submit(lambda: list(stream(iter([message]), 30, request.headers)))
        call = self._channel.unary_unary(_SERVICE + request.method)
        return call.future(message, 30, request.headers)

    def _post(self, request: Request) -> None:
        inputs = [
            oip.json_input(name, oip.decode(data, datatype, shape), datatype)
            for name, datatype, shape, data in request.inputs
        ]
        body = {"id": request.id, "inputs": inputs, "parameters": request.parameters}
        url = f"/v2/models/{request.model}/infer"
        with closing(HTTPConnection(*self._server.http_address, timeout=30)) as connection:
            connection.request("POST", url, json.dumps(body), dict(request.headers))
            connection.getresponse().read()


@cache
def core() -> Core:
    """One for all tests of this process."""
    made = Core()
    atexit.register(made.close)
    return made


def _queue(request: Request) -> _core.Queue:
    def specs(tensors: tuple[Tensor, ...]) -> list[_core.TensorSpec]:
        return [_core.TensorSpec(one[0], one[1], [-1] * len(one[2])) for one in tensors]

    return _core.Queue(
        model=request.model,
        version=request.version,
        inputs=specs(request.inputs),
        outputs=specs(request.outputs),
        max_rows=request.max_rows,
        priority_levels=9,
        default_priority=1,
    )


def _checks(request: Request) -> list[_core.Constraint]:
    if request.most is None:
        return []
    names = (name for name, *_ in request.inputs)
    return [_core.Constraint(name, name, numbers=True, most=request.most) for name in names]


def _message(request: Request) -> bytes:
    made = pb.ModelInferRequest(model_name=request.model, id=request.id)
    oip.set_parameters(made.parameters, request.parameters)
    for name, datatype, shape, data in request.inputs:
        made.inputs.add(name=name, datatype=datatype, shape=shape)
        made.raw_input_contents.append(data)
    return bytes(made.SerializeToString())


def _array(tensor: Tensor) -> np.ndarray:
    _, datatype, shape, data = tensor
    if datatype != "BYTES":
        return oip.decode(data, datatype, shape)
    texts = list(_elements(data))
    array = np.empty(len(texts), np.object_)
    array[:] = texts
    return array.reshape(shape)


def _elements(data: bytes) -> Iterator[bytes]:
    """Of a BYTES tensor; they need be no UTF-8."""
    while data:
        (length,) = struct.unpack_from("<I", data)
        yield data[4 : 4 + length]
        data = data[4 + length :]


def _take(pull: Callable[[float], list[Any] | None], count: int) -> list[Any]:
    """Some are told only after the answer."""
    taken: list[Any] = []
    deadline = time.monotonic() + 30
    while len(taken) < count:
        assert time.monotonic() < deadline, f"{count} wanted, got {taken}"
        taken += pull(0.001) or []
    return taken
