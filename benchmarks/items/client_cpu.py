"""14: what does our own client cost beside a gRPC call that somebody wrote by hand?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import grpc
import numpy as np

from benchmarks import bodies, report
from benchmarks.bench import SHAPES, Bench
from benchmarks.pairs import interleaved, ratio
from benchmarks.servers import Gateway
from serving.wire import messages
from serving_client import Client

MOST = 1.1
LARGEST = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
Call = Callable[[], object]


def measure(bench: Bench) -> Iterator[report.Row]:
    registry = bench.registry("tiny", "image")
    with ExitStack() as stack:
        server = stack.enter_context(Gateway(registry, bench.folder()))
        target = f"127.0.0.1:{server.grpc_port}"
        channel = stack.enter_context(grpc.insecure_channel(target, options=LARGEST))
        client = stack.enter_context(Client(target))
        for model, what in (("tiny", "gRPC tiny"), ("image", "gRPC 602 KB")):
            x = bodies.row(SHAPES[model])
            calls: dict[str, Call] = {
                "ours": partial(client.infer, model, x=x),
                "hand": by_hand(channel, model, x),
            }
            yield _row(bench, what, calls)


def by_hand(channel: Any, model: str, x: np.ndarray[Any, np.dtype[np.float32]]) -> Call:
    """Arrays to a message, and a message to arrays, as one would write it first."""
    infer = channel.unary_unary(
        bodies.INFER,
        request_serializer=messages.ModelInferRequest.SerializeToString,
        response_deserializer=messages.ModelInferResponse.FromString,
    )

    def call() -> object:
        request = messages.ModelInferRequest(model_name=model)
        request.inputs.add(name="x", datatype="FP32", shape=x.shape)
        request.raw_input_contents.append(x.tobytes())
        answer = infer(request, timeout=60)
        return {
            output.name: np.frombuffer(raw, "<f4").reshape(output.shape)
            for output, raw in zip(answer.outputs, answer.raw_output_contents, strict=True)
        }

    return call


def _row(bench: Bench, what: str, calls: dict[str, Call]) -> report.Row:
    for call in calls.values():
        _cpu_us(call, bench.seconds / 4)
    runs = {name: partial(_cpu_us, call, bench.seconds) for name, call in calls.items()}
    found = interleaved(bench.rounds, runs)
    figure = ratio(found["ours"], found["hand"])
    both = (report.spread(found["ours"]), report.spread(found["hand"]))
    question = f"{what}, 1 in flight: CPU of a call of our client / by hand with grpcio"
    return report.at_most(14, question, figure, MOST, detail=f"{both[0]} / {both[1]} us")


def _cpu_us(call: Call, seconds: float) -> float:
    """Of this process, its threads for gRPC included, a call."""
    end, count, begin = time.monotonic() + seconds, 0, time.process_time()
    while time.monotonic() < end:
        call()
        count += 1
    return (time.process_time() - begin) / count * 1e6
