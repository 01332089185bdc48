"""10: what does it cost to be watched? (gRPC tiny at 64 in flight, all on / all off)"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from benchmarks import bodies, report
from benchmarks.bench import SHAPES, Bench, expect_right_answer
from benchmarks.load import h2load, pinned
from benchmarks.models import LeftOutError
from benchmarks.pairs import interleaved, ratio
from benchmarks.servers import ROOT, Gateway, answers, free_port, wait_for

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
        sink = stack.enter_context(beside(folder, *sink_command()))
        mlflow = mlflow_python(bench.cache)
        if mlflow is not None:
            mlflow_port = stack.enter_context(beside(folder, *mlflow_command(mlflow, folder)))
        settings = {
            **ON,
            "REQUEST_LOG__PATH": str(folder / "requests"),
            "TRACKING__JSONL__PATH": str(folder / "windows"),
            "TRACING__ENDPOINT": f"http://127.0.0.1:{sink}",
            **({"TRACKING__MLFLOW__URI": f"http://127.0.0.1:{mlflow_port}"} if mlflow else {}),
        }
        on = stack.enter_context(Gateway(registry, bench.folder(), settings))
        off = stack.enter_context(Gateway(registry, bench.folder()))
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


# Who is told: on the load's core, away from the server's.


@contextmanager
def beside(folder: Path, name: str, command: Callable[[int], list[str]]) -> Iterator[int]:
    """A process that listens; its port."""
    port = free_port()
    environment = {
        **os.environ,
        "PYTHONPATH": "" if name == "mlflow" else str(ROOT),
        "HOME": str(folder),
    }
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [*pinned(), *command(port)],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_for(lambda: answers(port), process, 180.0)
        yield port
    finally:
        # With its workers; nothing of it is kept.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def sink_command() -> tuple[str, Callable[[int], list[str]]]:
    return "sink", lambda port: [sys.executable, "-m", "benchmarks.baselines.sink", str(port)]


def mlflow_python(cache: Path) -> Path | None:
    """The interpreter of an environment with MLflow, where the tests have made one."""
    found = sorted(cache.parent.glob("mlflow-*/whole"))
    return found[-1].parent / "bin" / "python" if found else None


def mlflow_command(python: Path, folder: Path) -> tuple[str, Callable[[int], list[str]]]:
    store = f"sqlite:///{folder}/mlflow.db"

    def command(port: int) -> list[str]:
        return [
            # It starts uvicorn by name.
            *("env", f"PATH={python.parent}:{os.environ['PATH']}", "MLFLOW_DISABLE_TELEMETRY=true"),
            *(str(python), "-m", "mlflow", "server", "--backend-store-uri", store),
            *("--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        ]

    return "mlflow", command
