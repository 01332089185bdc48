"""11: who waits when the tracking server is away? (gRPC tiny at a third of its peak)"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks import bodies, listeners, report
from benchmarks.bench import SHAPES, Bench, expect_right_answer
from benchmarks.listeners import Listener
from benchmarks.load import h2load
from benchmarks.models import LeftOutError
from benchmarks.pairs import interleaved, ratio
from benchmarks.servers import Gateway

CLIENTS = 16
# Each run has a window, and an attempt to send it, of its own.
WINDOW_S = 5.0
SHORTEST_S = 6.0
# Noise is what the same run gives when it is made twice: the first row.
MOST = 1.15

State = Callable[[], AbstractContextManager[object]]


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
        peaks = [h2load(server.grpc_port, body, 4, 16, 1).rate for _ in range(3)]
        each = median(peaks) / 3 / CLIENTS
        states: dict[str, State] = {
            "there": nullcontext,
            "there again": nullcontext,
            "hanging": partial(_hanging, mlflow),
            "killed": partial(_killed, mlflow),
        }
        seconds = max(SHORTEST_S, bench.seconds)
        runs = {
            name: partial(_p99, server.grpc_port, body, each, seconds, state)
            for name, state in states.items()
        }
        results = interleaved(bench.rounds, runs)
    there = results["there"]
    for name in ("there again", "hanging", "killed"):
        detail = f"{report.spread(results[name], '.2f')} / {report.spread(there, '.2f')} ms"
        question = f"gRPC tiny: p99 with MLflow {name} / there"
        figure = ratio(results[name], there)
        if name == "there again":
            yield report.Row(11, question, figure, detail=f"{detail}; {each * CLIENTS:,.0f} req/s")
        else:
            yield report.at_most(11, question, figure, MOST, detail=detail)


def _p99(port: int, body: Path, each: float, seconds: float, state: State) -> float:
    """Milliseconds."""
    with state():
        load = h2load(port, body, CLIENTS, 8, seconds, rate_per_client=each, keep_latencies=True)
    return load.p99() * 1e3


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
