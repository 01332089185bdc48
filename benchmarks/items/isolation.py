"""9: what does it cost to run a model in a child process? (gRPC, in a child / in process)"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks import bodies, report
from benchmarks.bench import SHAPES, Bench
from benchmarks.load import Load, h2load
from benchmarks.models import LeftOutError
from benchmarks.pairs import interleaved, ratio
from benchmarks.servers import Gateway

# Model, and (connections, streams) of its load.
LOADS = (("tiny", 1, 1), ("tiny", 4, 16), ("ocr_cls", 1, 1), ("ocr_cls", 4, 16))


def measure(bench: Bench) -> Iterator[report.Row]:
    for model in ("tiny", "ocr_cls"):
        try:
            registries = {where: laid(bench, model, where) for where in ("process", "none")}
        except LeftOutError as why:
            yield report.left_out(9, f"{model} in a child", why)
            continue
        yield from compared(bench, model, registries)


def laid(bench: Bench, model: str, isolation: str) -> Path:
    """A registry whose model runs in a child, or not."""
    registry = bench.registry(model)
    with (registry / model / "model.yaml").open("a") as file:
        file.write(f"isolation: {isolation}\n")
    return registry


def compared(bench: Bench, model: str, registries: dict[str, Path]) -> Iterator[report.Row]:
    body = bodies.grpc_file(bench.work, model, SHAPES[model])
    with ExitStack() as stack:
        servers = {
            where: stack.enter_context(Gateway(registry, bench.folder()))
            for where, registry in registries.items()
        }
        for name, connections, streams in LOADS:
            if name == model:
                runs = {
                    where: partial(
                        h2load, server.grpc_port, body, connections, streams, bench.seconds
                    )
                    for where, server in servers.items()
                }
                yield row(model, connections * streams, interleaved(bench.rounds, runs))


def row(model: str, in_flight: int, loads: dict[str, list[Load]]) -> report.Row:
    """Alone, the mean latency counts; in company, the rate."""
    if in_flight == 1:
        question = f"gRPC {model}, 1 in flight: mean latency in a child / in process"
        figures = {where: [load.mean * 1e3 for load in done] for where, done in loads.items()}
        unit, digits = "ms", ".3f"
    else:
        question = f"gRPC {model}, {in_flight} in flight: rate in a child / in process"
        figures = {where: [load.rate for load in done] for where, done in loads.items()}
        unit, digits = "req/s", ",.0f"
    both = " / ".join(report.spread(figures[where], digits) for where in ("process", "none"))
    figure = ratio(figures["process"], figures["none"])
    return report.Row(9, question, figure, detail=f"{both} {unit}")
