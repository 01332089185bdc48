"""2: how long does one request take, when it is alone? (gRPC, 1 in flight)"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

from benchmarks import bodies, report
from benchmarks.bench import SHAPES, Bench, start
from benchmarks.load import h2load
from benchmarks.pairs import interleaved, ratio
from benchmarks.servers import Gateway, GrpcAio, Nghttpd

TARGETS = {"grpc.aio": 0.55, "nghttpd": 2.0}


def measure(bench: Bench) -> Iterator[report.Row]:
    registry = bench.registry("tiny")
    body = bodies.grpc_file(bench.work, "tiny", SHAPES["tiny"])
    with ExitStack() as stack:
        ours = stack.enter_context(Gateway(registry, bench.folder()))
        aio = stack.enter_context(GrpcAio(registry, bench.folder()))
        runs = {
            "ours": partial(h2load, ours.grpc_port, body, 1, 1, bench.seconds),
            "grpc.aio": partial(h2load, aio.grpc_port, body, 1, 1, bench.seconds),
        }
        static, missing = start(stack, {"nghttpd": lambda: Nghttpd(bench.folder())})
        for name, server in static.items():
            port, path = server.grpc_port, server.path
            runs[name] = partial(h2load, port, None, 1, 1, bench.seconds, path=path)
        loads = interleaved(bench.rounds, runs)
    means = {name: [load.mean * 1e3 for load in done] for name, done in loads.items()}
    for other, target in TARGETS.items():
        question = f"gRPC tiny, 1 in flight: mean latency / {other}"
        if other in missing:
            yield report.left_out(2, question, missing[other])
            continue
        both = (report.spread(means["ours"], ".3f"), report.spread(means[other], ".3f"))
        figure = ratio(means["ours"], means[other])
        yield report.at_most(2, question, figure, target, detail=f"{both[0]} / {both[1]} ms")
