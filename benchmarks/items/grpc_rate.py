"""1: how many requests a second, when the model costs nothing? (gRPC, 64 in flight)"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks import bodies, report
from benchmarks.bench import SHAPES, Bench, expect_right_answer, start
from benchmarks.load import h2load
from benchmarks.pairs import interleaved, ratio
from benchmarks.servers import Gateway, GrpcAio, Spike

TARGETS = {"spike": 0.75, "grpc.aio": 15.0}
# Of the Open Inference Protocol's rate.
PREDICT_TARGET = 0.85


def measure(bench: Bench) -> Iterator[report.Row]:
    registry = bench.registry("tiny")
    body = bodies.grpc_file(bench.work, "tiny", SHAPES["tiny"])
    with ExitStack() as stack:
        contenders = {
            "ours": lambda: Gateway(registry, bench.folder()),
            "spike": bench.spike,
            "grpc.aio": lambda: GrpcAio(registry, bench.folder()),
        }
        running, missing = start(stack, contenders)
        ports = {name: _port(server) for name, server in running.items()}
        for port in ports.values():
            expect_right_answer(port, registry, "tiny")
        for clients, streams in ((4, 16), (64, 1)):
            runs = {
                name: partial(h2load, port, body, clients, streams, bench.seconds)
                for name, port in ports.items()
            }
            loads = interleaved(bench.rounds, runs)
            rates = {name: [load.rate for load in done] for name, done in loads.items()}
            for other, target in TARGETS.items():
                question = f"gRPC tiny, {clients} x {streams}: rate / {other}"
                if other in missing:
                    yield report.left_out(1, question, missing[other])
                    continue
                detail = f"{report.spread(rates['ours'])} / {report.spread(rates[other])} req/s"
                figure = ratio(rates["ours"], rates[other])
                yield report.at_least(1, question, figure, target, detail=detail)
        yield _predict(bench, body, ports["ours"])


def _predict(bench: Bench, body: Path, port: int) -> report.Row:
    """TensorFlow Serving's call of the same model on the same server."""
    theirs = bodies.predict_file(bench.work, "tiny", SHAPES["tiny"])
    loads = interleaved(
        bench.rounds,
        {
            "Predict": partial(h2load, port, theirs, 4, 16, bench.seconds, path=bodies.PREDICT),
            "ModelInfer": partial(h2load, port, body, 4, 16, bench.seconds),
        },
    )
    rates = {name: [load.rate for load in done] for name, done in loads.items()}
    return report.at_least(
        1,
        "gRPC tiny, 4 x 16: rate of Predict / ModelInfer",
        ratio(rates["Predict"], rates["ModelInfer"]),
        PREDICT_TARGET,
        detail=f"{report.spread(rates['Predict'])} / {report.spread(rates['ModelInfer'])} req/s",
    )


def _port(server: object) -> int:
    assert isinstance(server, Gateway | GrpcAio | Spike)
    return server.grpc_port
