"""5: how well do large tensors move? (602 KB in, 8 in flight)"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import grpc

from benchmarks import bodies, report
from benchmarks.bench import SHAPES, Bench, expect_right_answer, start
from benchmarks.load import h2load, wrk
from benchmarks.pairs import interleaved, ratio
from benchmarks.servers import Gateway
from serving.wire import messages

CONNECTIONS = 8
PATH = "/v2/models/image/infer"
REGION = "image"
REGISTER = "/inference.GRPCInferenceService/SystemSharedMemoryRegister"


def measure(bench: Bench) -> Iterator[report.Row]:
    registry = bench.registry("image")
    body = bodies.grpc_file(bench.work, "image", SHAPES["image"])
    script = bodies.binary_script(bench.work, "image", SHAPES["image"])
    named = bodies.region_file(bench.work, "image", SHAPES["image"], REGION)
    with ExitStack() as stack:
        settings = {"SHARED_MEMORY__ENABLED": "true"}
        ours = stack.enter_context(Gateway(registry, bench.folder(), settings))
        expect_right_answer(ours.grpc_port, registry, "image")
        stack.enter_context(_region(ours.grpc_port))
        runs = {
            "ours": partial(h2load, ours.grpc_port, body, CONNECTIONS, 1, bench.seconds),
            "http": partial(wrk, ours.http_port, script, PATH, CONNECTIONS, bench.seconds),
            "shared": partial(h2load, ours.grpc_port, named, CONNECTIONS, 1, bench.seconds),
        }
        spike, missing = start(stack, {"spike": bench.spike})
        for name, server in spike.items():
            runs[name] = partial(h2load, server.grpc_port, body, CONNECTIONS, 1, bench.seconds)
        loads = interleaved(bench.rounds, runs)
    rates = {name: [load.rate for load in done] for name, done in loads.items()}

    question = f"gRPC 602 KB, {CONNECTIONS} x 1: rate / spike"
    if missing:
        yield report.left_out(5, question, missing["spike"])
    else:
        detail = f"{report.spread(rates['ours'])} / {report.spread(rates['spike'])} req/s"
        figure = ratio(rates["ours"], rates["spike"])
        yield report.at_least(5, question, figure, 1.0, detail=detail)

    question = f"602 KB, {CONNECTIONS} x 1: HTTP binary / our gRPC"
    detail = f"{report.spread(rates['http'])} / {report.spread(rates['ours'])} req/s"
    yield report.at_least(5, question, ratio(rates["http"], rates["ours"]), 0.9, detail=detail)

    question = f"602 KB, {CONNECTIONS} x 1: gRPC with the tensor in shared memory / in the message"
    detail = f"{report.spread(rates['shared'])} / {report.spread(rates['ours'])} req/s"
    yield report.at_least(5, question, ratio(rates["shared"], rates["ours"]), 3, detail=detail)


@contextmanager
def _region(port: int) -> Iterator[None]:
    """The row in a shared memory object that the server knows as ``REGION``."""
    content = bodies.row(SHAPES["image"]).astype("<f4").tobytes()
    key = f"serving-bench-{os.getpid()}"
    path = Path("/dev/shm", key)
    path.write_bytes(content)
    try:
        request = messages.SystemSharedMemoryRegisterRequest(
            name=REGION, key=key, byte_size=len(content)
        )
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            channel.unary_unary(REGISTER)(request.SerializeToString(), timeout=20)
        yield
    finally:
        path.unlink()
