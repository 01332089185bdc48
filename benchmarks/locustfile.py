"""Users of the digit classifier, as a browser's or a service's day looks: mostly one image,
now and then a handful, sometimes a look at the model or at a version by name.

Half of them speak HTTP and JSON, half gRPC. Against a running ``make run``:

    .venv/bin/locust -f benchmarks/locustfile.py --headless --users 100 --spawn-rate 20 \\
        --run-time 60s --html report.html

Without ``--headless`` locust shows its own page, with charts. ``--host`` is the HTTP door
(http://127.0.0.1:8080), the environment variable GRPC_ADDRESS the other (127.0.0.1:8081).
An answer that is wrong in form counts as a failure.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import grpc
import grpc.experimental.gevent
import numpy as np
from locust import FastHttpUser, User, between, task

from serving.wire import messages

grpc.experimental.gevent.init_gevent()

MODEL = "digits"
GRPC_ADDRESS = os.environ.get("GRPC_ADDRESS", "127.0.0.1:8081")
SERVICE = "/inference.GRPCInferenceService/"
_random = np.random.default_rng()


def images(count: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Pixels 0-16, [count, 64]."""
    return _random.integers(0, 17, (count, 64)).astype(np.float32)


class HttpUser(FastHttpUser):
    """Speaks JSON over HTTP/1.1."""

    host = "http://127.0.0.1:8080"
    wait_time = between(0.05, 0.5)

    @task(20)
    def one_image(self) -> None:
        self._infer(1, f"/v2/models/{MODEL}/infer", "one image")

    @task(4)
    def some_images(self) -> None:
        self._infer(int(_random.integers(2, 17)), f"/v2/models/{MODEL}/infer", "some images")

    @task(2)
    def first_version(self) -> None:
        self._infer(1, f"/v2/models/{MODEL}/versions/1/infer", "version 1")

    @task(1)
    def look_at_the_model(self) -> None:
        self.client.get(f"/v2/models/{MODEL}", name="HTTP metadata")

    def _infer(self, count: int, path: str, what: str) -> None:
        tensor = {
            "name": "image",
            "datatype": "FP32",
            "shape": [count, 64],
            "data": images(count).ravel().tolist(),
        }
        body = {"inputs": [tensor], "outputs": [{"name": "label"}]}
        with self.client.post(path, json=body, name=f"HTTP {what}", catch_response=True) as answer:
            if answer.status_code != 200:
                answer.failure(f"{answer.status_code}: {answer.text}")
            elif len(answer.json()["outputs"][0]["data"]) != count:
                answer.failure("the answer has another number of labels")


class GrpcUser(User):
    """Speaks gRPC with raw tensors, on a connection of its own."""

    wait_time = between(0.05, 0.5)

    def on_start(self) -> None:
        self._channel = grpc.insecure_channel(
            GRPC_ADDRESS, options=[("grpc.use_local_subchannel_pool", 1)]
        )
        self._infer_call = self._channel.unary_unary(
            f"{SERVICE}ModelInfer",
            request_serializer=messages.ModelInferRequest.SerializeToString,
            response_deserializer=messages.ModelInferResponse.FromString,
        )
        self._metadata_call = self._channel.unary_unary(
            f"{SERVICE}ModelMetadata",
            request_serializer=messages.ModelMetadataRequest.SerializeToString,
            response_deserializer=messages.ModelMetadataResponse.FromString,
        )

    def on_stop(self) -> None:
        self._channel.close()

    @task(20)
    def one_image(self) -> None:
        self._infer(1, "", "one image")

    @task(4)
    def some_images(self) -> None:
        self._infer(int(_random.integers(2, 17)), "", "some images")

    @task(2)
    def first_version(self) -> None:
        self._infer(1, "1", "version 1")

    @task(1)
    def look_at_the_model(self) -> None:
        request = messages.ModelMetadataRequest(name=MODEL)
        self._timed("metadata", lambda: self._metadata_call(request, timeout=10))

    def _infer(self, count: int, version: str, what: str) -> None:
        request = messages.ModelInferRequest(model_name=MODEL, model_version=version)
        request.inputs.add(name="image", datatype="FP32", shape=[count, 64])
        request.outputs.add(name="label")
        request.raw_input_contents.append(images(count).tobytes())

        def ask() -> None:
            answer = self._infer_call(request, timeout=10)
            if len(answer.raw_output_contents[0]) != 8 * count:
                raise ValueError("the answer has another number of labels")

        self._timed(what, ask)

    def _timed(self, what: str, ask: Callable[[], Any]) -> None:
        """Report one call to locust's table."""
        start = time.perf_counter()
        failure: Exception | None = None
        try:
            ask()
        except (grpc.RpcError, ValueError) as error:
            failure = error
        self.environment.events.request.fire(
            request_type="gRPC",
            name=f"gRPC {what}",
            response_time=(time.perf_counter() - start) * 1e3,
            response_length=0,
            exception=failure,
        )
