"""10: what does it cost to be watched? (gRPC tiny at 64 in flight, all on / all off)"""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from benchmarks import bodies, listeners, report
from benchmarks.bench import SHAPES, Bench, expect_right_answer
from benchmarks.load import h2load
from benchmarks.models import LeftOutError
from benchmarks.pairs import interleaved, ratio
from benchmarks.servers import Gateway

PAIRS = 10
SCRAPE_EVERY_S = 5.0
# Each run has a scrape, and a window of each target, of its own.
SHORTEST_S = 5.0
MOST = 1.05
ON = {
    "REQUEST_LOG__RATE": "0.01",
    "TRACKING__WINDOW_S": "5",
    "TRACING__RATE": "0.01",
}


@dataclass(frozen=True)
class Cost:
    """CPU seconds a request, and requests a second."""

    cpu: float
    rate: float


def measure(bench: Bench) -> Iterator[report.Row]:
    if find_spec("opentelemetry") is None:
        raise LeftOutError("traces need the extra serving[otel]")
    registry = bench.registry("tiny")
    body = bodies.grpc_file(bench.work, "tiny", SHAPES["tiny"])
    seconds = max(SHORTEST_S, bench.seconds)
    folder = bench.folder()
    with ExitStack() as stack:
        sink = stack.enter_context(listeners.sink(folder)).port
        mlflow = listeners.mlflow(bench.cache, folder)
        if mlflow is not None:
            stack.enter_context(mlflow)
        settings = {
            **ON,
            "REQUEST_LOG__PATH": str(folder / "requests"),
            "TRACKING__JSONL__PATH": str(folder / "windows"),
            "TRACING__ENDPOINT": f"http://127.0.0.1:{sink}",
            **({"TRACKING__MLFLOW__URI": mlflow.url} if mlflow else {}),
        }
        on = stack.enter_context(Gateway(registry, bench.folder(), settings))
        nothing = {"STATISTICS__ENABLED": "false"}
        off = stack.enter_context(Gateway(registry, bench.folder(), nothing))
        for server in (on, off):
            expect_right_answer(server.grpc_port, registry, "tiny")
        runs = {
            "on": partial(cost, on, body, seconds, scraped=True),
            "off": partial(cost, off, body, seconds, scraped=False),
        }
        results = interleaved(max(PAIRS, bench.rounds), runs)
        expect_watched(folder, sink)
    cpu = {name: [one.cpu * 1e6 for one in done] for name, done in results.items()}
    rates = {name: [one.rate for one in done] for name, done in results.items()}
    detail = (
        f"{report.spread(cpu['on'], '.2f')} / {report.spread(cpu['off'], '.2f')} us;"
        f" {report.spread(rates['on'])} / {report.spread(rates['off'])} req/s;"
        f" {'with' if mlflow else 'without'} MLflow"
    )
    question = "gRPC tiny, 4 x 16: CPU a request, all watching / none"
    yield report.at_most(10, question, ratio(cpu["on"], cpu["off"]), MOST, detail=detail)


def cost(server: Gateway, body: Path, seconds: float, *, scraped: bool) -> Cost:
    over = threading.Event()

    def scrape() -> None:
        while not over.wait(SCRAPE_EVERY_S / 2):
            server.scrape()
            over.wait(SCRAPE_EVERY_S / 2)

    thread = threading.Thread(target=scrape)
    before = server.cpu_seconds()
    if scraped:
        thread.start()
    try:
        load = h2load(server.grpc_port, body, 4, 16, seconds)
    finally:
        over.set()
        if scraped:
            thread.join()
    return Cost((server.cpu_seconds() - before) / load.requests, load.rate)


def expect_watched(folder: Path, sink: int) -> None:
    """Whoever looked away costs nothing. Raises RuntimeError."""
    with urllib.request.urlopen(f"http://127.0.0.1:{sink}/", timeout=10) as answer:
        spans = int(answer.read())
    sizes = {
        name: sum(path.stat().st_size for path in (folder / name).glob("**/*") if path.is_file())
        for name in ("requests", "windows")
    }
    if not spans or not all(sizes.values()):
        raise RuntimeError(f"something did not watch: {spans} bytes of spans, files of {sizes}")
