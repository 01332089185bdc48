"""6: who waits longest, when something else goes on? (gRPC tiny at a third of its peak)"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median

from benchmarks import bodies, models, report
from benchmarks.bench import SHAPES, Bench
from benchmarks.pairs import interleaved, ratio
from benchmarks.servers import Gateway
from benchmarks.third import Beside, ThirdOfPeak
from serving import publish

SETTINGS = {"REGISTRY__SETTLE_S": "0.1", "REGISTRY__SCAN_INTERVAL_S": "0.2"}
SCRAPE_EVERY_S = 0.2
LOAD_EVERY_S = 1.5
# What a swap or a load beside it may make of the p99 on one shared core.
MOST = 1.5

# Another model's versions, and those of the model that is asked.
NEW = {"mlp": models.mlp, "tiny": models.tiny}
COMING = ("a load of another model", "a swap of its versions")


def measure(bench: Bench) -> Iterator[report.Row]:
    registry = bench.registry("tiny", "mlp")
    body = bodies.grpc_file(bench.work, "tiny", SHAPES["tiny"])
    entry = ("-m", "benchmarks.busy_gateway")
    with Gateway(registry, bench.folder(), SETTINGS, entry) as server:
        third = ThirdOfPeak(server.grpc_port, body, bench.seconds)
        loads, swaps = (partial(_new_version, registry, name, count(2)) for name in NEW)
        beside: dict[str, Beside] = {
            "alone": nullcontext,
            "a busy Python thread": partial(_busy_thread, server),
            "a scrape": partial(_repeated, SCRAPE_EVERY_S, server.scrape),
            "a load of another model": partial(_repeated, LOAD_EVERY_S, loads),
            "a swap of its versions": partial(_repeated, LOAD_EVERY_S, swaps),
        }
        runs = {name: partial(third.p99, disturb) for name, disturb in beside.items()}
        results = interleaved(bench.rounds, runs)
    alone = results["alone"]
    rate = f"at {third.rate:,.0f} req/s"
    yield report.Row(6, "gRPC tiny: p99 alone", median(alone), "ms", detail=rate)
    for name in ("a busy Python thread", "a scrape", *COMING):
        detail = f"{report.spread(results[name], '.2f')} / {report.spread(alone, '.2f')} ms"
        figure = ratio(results[name], alone)
        question = f"gRPC tiny: p99 beside {name} / alone"
        if name in COMING:
            yield report.at_most(6, question, figure, MOST, detail=detail)
        else:
            yield report.Row(6, question, figure, detail=detail)


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


def _new_version(registry: Path, name: str, versions: Iterator[int]) -> None:
    """A version to try, load, warm and swap in, published whole."""
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        file.write(NEW[name]())
        file.flush()
        publish(file.name, registry, name, version=next(versions))
