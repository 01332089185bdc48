"""Clients that ask all the time, and know what a right answer is.

Every model of the soak multiplies its input by its own version's factor, so an answer tells
which version it came from, and whether all of it did.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import grpc
import numpy as np

from serving.wire import messages

Array = np.ndarray[Any, np.dtype[np.float32]]

# Waits beyond this are failures: nothing here takes long.
TIMEOUT_S = 10.0
ROWS = 3


@dataclass
class Tally:
    """What came back. Written by one thread, read by others."""

    answered: int = 0
    failures: list[str] = field(default_factory=list)
    # Answers UNAVAILABLE to who was alone in a child that was killed: asked again.
    asked_again: int = 0
    versions: Counter[tuple[str, int]] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    def fail(self, words: str) -> None:
        if len(self.failures) < 100:
            self.failures.append(words)


@dataclass(frozen=True)
class Target:
    """``factor``: version -> what it multiplies by; None for one never published whole."""

    model: str
    http_port: int
    grpc_port: int
    factor: Callable[[int], float | None]


class UnavailableError(Exception):
    """The answer says that another try may go better."""


def wrong(target: Target, version: int, x: Array, y: Array) -> str:
    """Why the answer is not that version's, "" where it is."""
    factor = target.factor(version)
    if factor is None:
        return f"{target.model}: version {version} was never published whole"
    if y.shape != x.shape or not np.array_equal(y, x * np.float32(factor)):
        return f"{target.model}: not an answer of version {version}"
    return ""


def inputs() -> Iterator[Array]:
    """Rows that differ from request to request."""
    for number in itertools.count():
        yield np.arange(4 * ROWS, dtype=np.float32).reshape(ROWS, 4) + np.float32(number % 997)


class Witnesses:
    """``rate`` requests a second to each target, half over HTTP and half over gRPC, from a
    thread with an event loop of its own."""

    def __init__(
        self, targets: list[Target], rate: float, clients: int, tolerate: bool = False
    ) -> None:
        self.tally = Tally()
        self._targets, self._rate, self._clients = targets, rate, clients
        # Whether UNAVAILABLE is asked again: children are being killed.
        self._tolerate = tolerate
        self._over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._all()))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    async def _all(self) -> None:
        each = 2 * self._clients / self._rate
        clients = [
            self._client(ask, target, each)
            for target in self._targets
            for ask in (HttpClient, GrpcClient)
            for _ in range(self._clients)
        ]
        await asyncio.gather(*clients)

    async def _client(
        self, kind: type[HttpClient | GrpcClient], target: Target, every: float
    ) -> None:
        """One after another, at fixed times; what is late is sent at once."""
        client = kind(target)
        due = time.monotonic()
        for x in inputs():
            if self._over.is_set():
                break
            await self._ask(client, target, x)
            due = max(due + every, time.monotonic() - every)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        await client.close()

    async def _ask(
        self,
        client: HttpClient | GrpcClient,
        target: Target,
        x: Array,
    ) -> None:
        tally = self.tally
        start = time.monotonic()
        try:
            version, y = await self._answer(client, x)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a failed request
            tally.fail(f"{target.model}: {type(error).__name__}: {error}"[:300])
            return
        tally.seconds.append(time.monotonic() - start)
        tally.versions[target.model, version] += 1
        if words := wrong(target, version, x, y):
            tally.fail(words)
        tally.answered += 1

    async def _answer(
        self,
        client: HttpClient | GrpcClient,
        x: Array,
    ) -> tuple[int, Array]:
        until = time.monotonic() + TIMEOUT_S
        while True:
            try:
                return await asyncio.wait_for(client.ask(x), TIMEOUT_S)
            except UnavailableError:
                if not self._tolerate or time.monotonic() > until:
                    raise
                self.tally.asked_again += 1
                await asyncio.sleep(0.02)


class HttpClient:
    """HTTP/1.1 and JSON on one connection."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, x: Array) -> tuple[int, Array]:
        tensor = {"name": "x", "datatype": "FP32", "shape": x.shape, "data": x.ravel().tolist()}
        body = json.dumps({"inputs": [tensor], "outputs": [{"name": "y"}]}).encode()
        status, content = await self._exchange(body)
        answer = json.loads(content)
        if status == 503:
            raise UnavailableError(str(answer))
        if status != 200:
            raise RuntimeError(f"{status} {answer}")
        (output,) = answer["outputs"]
        y = np.array(output["data"], np.float32).reshape(output["shape"])
        return int(answer["model_version"]), y

    async def _exchange(self, body: bytes) -> tuple[int, bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._target.http_port)
        reader, writer = self._streams
        head = f"POST /v2/models/{self._target.model}/infer HTTP/1.1\r\nHost: localhost\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).decode()
        fields = answer.lower().split("\r\n")
        length = next(int(f[16:]) for f in fields if f.startswith("content-length: "))
        return int(answer.split(" ")[1]), await reader.readexactly(length)

    async def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()


class GrpcClient:
    """gRPC by grpcio on one channel."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._channel = grpc.aio.insecure_channel(
            f"127.0.0.1:{target.grpc_port}", options=[("grpc.use_local_subchannel_pool", 1)]
        )
        self._infer = self._channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=messages.ModelInferRequest.SerializeToString,
            response_deserializer=messages.ModelInferResponse.FromString,
        )

    async def ask(self, x: Array) -> tuple[int, Array]:
        request = messages.ModelInferRequest(model_name=self._target.model)
        request.inputs.add(name="x", datatype="FP32", shape=x.shape)
        request.outputs.add(name="y")
        request.raw_input_contents.append(x.tobytes())
        try:
            answer = await self._infer(request)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                raise UnavailableError(error.details()) from None
            raise RuntimeError(f"{error.code().name} {error.details()}") from None
        y = np.frombuffer(answer.raw_output_contents[0], np.float32)
        return int(answer.model_version), y.reshape(tuple(answer.outputs[0].shape))

    async def close(self) -> None:
        await self._channel.close()
