"""3: how many requests a second over HTTP/1.1 with JSON? (64 connections)"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

from benchmarks import bodies, report
from benchmarks.bench import SHAPES, Bench
from benchmarks.load import wrk
from benchmarks.pairs import interleaved, ratio
from benchmarks.servers import FastApi, Gateway

PATH = "/v2/models/tiny/infer"


def measure(bench: Bench) -> Iterator[report.Row]:
    registry = bench.registry("tiny")
    script = bodies.json_script(bench.work, "tiny", SHAPES["tiny"])
    with ExitStack() as stack:
        servers: dict[str, Gateway | FastApi] = {
            "ours": stack.enter_context(Gateway(registry, bench.folder())),
            "FastAPI": stack.enter_context(FastApi(registry, bench.folder())),
        }
        runs = {
            name: partial(wrk, server.http_port, script, PATH, 64, bench.seconds)
            for name, server in servers.items()
        }
        loads = interleaved(bench.rounds, runs)
    rates = {name: [load.rate for load in done] for name, done in loads.items()}
    detail = f"{report.spread(rates['ours'])} / {report.spread(rates['FastAPI'])} req/s"
    figure = ratio(rates["ours"], rates["FastAPI"])
    yield report.at_least(3, "HTTP JSON tiny, 64 x 1: rate / FastAPI", figure, 10, detail=detail)
