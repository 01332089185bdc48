"""6: who waits longest, when something else goes on? (gRPC tiny at a third of its peak)"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median

from benchmarks import bodies, models, report
from benchmarks.bench import SHAPES, Bench
from benchmarks.load import h2load
from benchmarks.models import lay
from benchmarks.pairs import interleaved, ratio
from benchmarks.servers import Gateway

CLIENTS = 16
SETTINGS = {"REGISTRY__SETTLE_S": "0.1", "REGISTRY__SCAN_INTERVAL_S": "0.2"}
SCRAPE_EVERY_S = 0.2
LOAD_EVERY_S = 0.7

Disturbance = Callable[[], AbstractContextManager[None]]


def measure(bench: Bench) -> Iterator[report.Row]:
    registry = bench.registry("tiny", "mlp")
    body = bodies.grpc_file(bench.work, "tiny", SHAPES["tiny"])
    entry = ("-m", "benchmarks.busy_gateway")
    with Gateway(registry, bench.folder(), SETTINGS, entry) as server:
        peaks = [h2load(server.grpc_port, body, 4, 16, 1).rate for _ in range(3)]
        each = median(peaks) / 3 / CLIENTS
        versions = count(2)
        beside: dict[str, Disturbance] = {
            "alone": nullcontext,
            "a busy Python thread": partial(_busy_thread, server),
            "a scrape": partial(_repeated, SCRAPE_EVERY_S, server.scrape),
            "a model load": partial(
                _repeated, LOAD_EVERY_S, partial(_new_version, registry, versions)
            ),
        }
        runs = {
            name: partial(_p99, server.grpc_port, body, each, bench.seconds, disturb)
            for name, disturb in beside.items()
        }
        results = interleaved(bench.rounds, runs)
    alone = results["alone"]
    rate = f"at {each * CLIENTS:,.0f} req/s"
    yield report.Row(6, "gRPC tiny: p99 alone", median(alone), "ms", detail=rate)
    for name in ("a busy Python thread", "a scrape", "a model load"):
        detail = f"{report.spread(results[name], '.2f')} / {report.spread(alone, '.2f')} ms"
        figure = ratio(results[name], alone)
        yield report.Row(6, f"gRPC tiny: p99 beside {name} / alone", figure, detail=detail)


def _p99(port: int, body: Path, each: float, seconds: float, disturb: Disturbance) -> float:
    """Milliseconds."""
    with disturb():
        load = h2load(port, body, CLIENTS, 8, seconds, rate_per_client=each, keep_latencies=True)
    return load.p99() * 1e3


@contextmanager
def _busy_thread(server: Gateway) -> Iterator[None]:
    server.say("busy")
    try:
        yield
    finally:
        server.say("idle")


@contextmanager
def _repeated(every: float, act: Callable[[], object]) -> Iterator[None]:
    """Do it again and again, from a thread of this process, on the load's core."""
    over = threading.Event()

    def repeat() -> None:
        while not over.is_set():
            act()
            over.wait(every)

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _new_version(registry: Path, versions: Iterator[int]) -> None:
    """A version of ``mlp`` to load, prove and swap in."""
    lay(registry, "mlp", models.mlp(), next(versions))
