"""11: who waits when the tracking server is away? (gRPC tiny at a third of its peak)"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

from benchmarks import bodies, listeners, report
from benchmarks.bench import SHAPES, Bench, expect_right_answer
from benchmarks.listeners import Listener
from benchmarks.models import LeftOutError
from benchmarks.pairs import interleaved, ratio
from benchmarks.servers import Gateway
from benchmarks.third import Beside, ThirdOfPeak

# Each run has a window, and an attempt to send it, of its own.
WINDOW_S = 5.0
SHORTEST_S = 6.0
# Noise is what the same run gives when it is made twice: the first row.
MOST = 1.15


def measure(bench: Bench) -> Iterator[report.Row]:
    registry = bench.registry("tiny")
    body = bodies.grpc_file(bench.work, "tiny", SHAPES["tiny"])
    folder = bench.folder()
    mlflow = listeners.mlflow(bench.cache, folder)
    if mlflow is None:
        raise LeftOutError("an MLflow server is needed: 'make test ALL=1' installs one")
    settings = {"TRACKING__MLFLOW__URI": mlflow.url, "TRACKING__WINDOW_S": f"{WINDOW_S:g}"}
    with mlflow, Gateway(registry, bench.folder(), settings) as server:
        expect_right_answer(server.grpc_port, registry, "tiny")
        third = ThirdOfPeak(server.grpc_port, body, max(SHORTEST_S, bench.seconds))
        states: dict[str, Beside] = {
            "there": nullcontext,
            "there again": nullcontext,
            "hanging": partial(_hanging, mlflow),
            "killed": partial(_killed, mlflow),
        }
        runs = {name: partial(third.p99, state) for name, state in states.items()}
        results = interleaved(bench.rounds, runs)
    there = results["there"]
    for name in ("there again", "hanging", "killed"):
        detail = f"{report.spread(results[name], '.2f')} / {report.spread(there, '.2f')} ms"
        question = f"gRPC tiny: p99 with MLflow {name} / there"
        figure = ratio(results[name], there)
        if name == "there again":
            yield report.Row(11, question, figure, detail=f"{detail}; {third.rate:,.0f} req/s")
        else:
            yield report.at_most(11, question, figure, MOST, detail=detail)


@contextmanager
def _hanging(mlflow: Listener) -> Iterator[None]:
    mlflow.freeze()
    try:
        yield
    finally:
        mlflow.thaw()


@contextmanager
def _killed(mlflow: Listener) -> Iterator[None]:
    mlflow.kill()
    try:
        yield
    finally:
        mlflow.start()
