"""5: how well do large tensors move? (602 KB in, 8 in flight)"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

from benchmarks import bodies, report
from benchmarks.bench import SHAPES, Bench, expect_right_answer, start
from benchmarks.load import h2load, wrk
from benchmarks.pairs import interleaved, ratio
from benchmarks.servers import Gateway

CONNECTIONS = 8
PATH = "/v2/models/image/infer"


def measure(bench: Bench) -> Iterator[report.Row]:
    registry = bench.registry("image")
    body = bodies.grpc_file(bench.work, "image", SHAPES["image"])
    script = bodies.binary_script(bench.work, "image", SHAPES["image"])
    with ExitStack() as stack:
        ours = stack.enter_context(Gateway(registry, bench.folder()))
        expect_right_answer(ours.grpc_port, registry, "image")
        runs = {
            "ours": partial(h2load, ours.grpc_port, body, CONNECTIONS, 1, bench.seconds),
            "http": partial(wrk, ours.http_port, script, PATH, CONNECTIONS, bench.seconds),
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
