"""15: what does a schema cost that every request is held against? (CPU a request, reject / off)"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from statistics import median

import grpc

from benchmarks import bodies, report
from benchmarks.bench import SHAPES, Bench, expect_right_answer
from benchmarks.load import h2load
from benchmarks.pairs import interleaved, ratio
from benchmarks.servers import Gateway

PAIRS = 10
# Connections and streams of each.
LOADS = {"tiny": (4, 16), "image": (8, 1)}
_RANGE = "type: FLOAT float_domain { min: 0 max: 1 disallow_nan: true }"
# Of tiny each column, of the image all of it.
SCHEMAS = {
    "tiny": "".join(f'feature {{ name: "x[{at}]" {_RANGE} }}\n' for at in range(4)),
    "image": f'feature {{ name: "x" {_RANGE} }}\n',
}


def measure(bench: Bench) -> Iterator[report.Row]:
    registry = bench.registry(*LOADS)
    for model, schema in SCHEMAS.items():
        (registry / model / "schema.pbtxt").write_text(schema)
    with ExitStack() as stack:
        settings = {"VALIDATION__MODE": "reject"}
        on = stack.enter_context(Gateway(registry, bench.folder(), settings))
        off = stack.enter_context(Gateway(registry, bench.folder()))
        for model in LOADS:
            for server in (on, off):
                expect_right_answer(server.grpc_port, registry, model)
            expect_refused(on.grpc_port, model)
        runs = {
            f"{model} {name}": partial(cost, server, bench, model)
            for model in LOADS
            for name, server in (("on", on), ("off", off))
        }
        cpu = interleaved(max(PAIRS, bench.rounds), runs)

    detail = f"{report.spread(cpu['tiny on'], '.2f')} / {report.spread(cpu['tiny off'], '.2f')} us"
    more = [on - off for on, off in zip(cpu["tiny on"], cpu["tiny off"], strict=True)]
    question = "gRPC tiny, 4 x 16: CPU that a schema costs a request"
    yield report.at_most(15, question, median(more), 2, " us", detail=detail)

    detail = f"{report.spread(cpu['image on'])} / {report.spread(cpu['image off'])} us"
    question = "gRPC 602 KB, 8 x 1: CPU a request, with a schema / without"
    figure = ratio(cpu["image on"], cpu["image off"])
    yield report.at_most(15, question, figure, 1.05, detail=detail)


def cost(server: Gateway, bench: Bench, model: str) -> float:
    """Microseconds of CPU a request."""
    body = bodies.grpc_file(bench.work, model, SHAPES[model])
    before = server.cpu_seconds()
    load = h2load(server.grpc_port, body, *LOADS[model], bench.seconds)
    return (server.cpu_seconds() - before) / load.requests * 1e6


def expect_refused(port: int, model: str) -> None:
    """A schema that holds nobody costs nothing. Raises RuntimeError."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        infer = channel.unary_unary(bodies.INFER)
        try:
            infer(bodies.message(model, SHAPES[model], more=1.0), timeout=20)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.INVALID_ARGUMENT:
                return
            raise RuntimeError(f"{model}: {error}") from None
    raise RuntimeError(f"{model}: a value out of its range was answered")
