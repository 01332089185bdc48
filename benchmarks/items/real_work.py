"""4: what does the gateway add to a model that computes something? (gRPC, 64 in flight)

onnxruntime alone runs at the batch size that suits the model best, on the same core.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks import bodies, report
from benchmarks.bench import SHAPES, Bench
from benchmarks.load import Load, cores, h2load, tool, wrk
from benchmarks.models import LeftOutError
from benchmarks.pairs import interleaved, ratio
from benchmarks.servers import ROOT, Gateway, Nghttpd

Loader = Callable[[Gateway, float], Load]
SIZES = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Cost:
    """Rows a second, and seconds of CPU a row."""

    rate: float
    cpu: float


def measure(bench: Bench) -> Iterator[report.Row]:
    question = "gRPC mlp, 4 x 16: CPU beyond onnxruntime's"
    ours, alone, rows = against_onnxruntime(bench, "mlp")
    extra = [(one.cpu - two.cpu) * 1e6 for one, two in zip(ours, alone, strict=True)]
    rates = [report.spread([cost.rate for cost in costs]) for costs in (ours, alone)]
    detail = f"{report.spread(extra, '.1f')} us; {rates[0]} / {rates[1]} rows/s alone at {rows}"
    yield report.at_most(4, question, median(extra), 25, "us", detail)

    for door, words in (("http", "HTTP binary, 64"), ("grpc", "gRPC, 4 x 16")):
        question = f"OCR classifier, {words}: rows/s / onnxruntime alone"
        try:
            ours, alone, rows = against_onnxruntime(bench, "ocr_cls", door)
        except LeftOutError as why:
            yield report.left_out(4, question, why)
            return
        both = [[cost.rate for cost in costs] for costs in (ours, alone)]
        detail = f"{report.spread(both[0])} / {report.spread(both[1])} rows/s alone at {rows}"
        yield report.at_least(4, question, ratio(both[0], both[1]), 0.95, detail=detail)
    yield the_wire_alone(bench, "ocr_cls", median(cost.cpu for cost in alone))


def the_wire_alone(bench: Bench, model: str, alone: float) -> report.Row:
    """What would be left of onnxruntime's rate if reading the requests were all that is added:
    nghttpd takes the same bodies and throws them away. ``alone``: CPU seconds a row."""
    question = "OCR classifier, gRPC: the most that reading the bodies leaves (nghttpd)"
    body = bodies.grpc_file(bench.work, model, SHAPES[model])
    try:
        with Nghttpd(bench.folder()) as server:
            costs = [discarded(server, body, bench.seconds) for _ in range(bench.rounds)]
    except LeftOutError as why:
        return report.left_out(4, question, why)
    detail = f"{report.spread([cost * 1e6 for cost in costs], '.0f')} us a request"
    return report.Row(4, question, alone / (alone + median(costs)), detail=detail)


def discarded(server: Nghttpd, body: Path, seconds: float) -> float:
    before = server.cpu_seconds()
    load = h2load(server.grpc_port, body, 4, 16, seconds, path=server.path)
    return (server.cpu_seconds() - before) / load.requests


def against_onnxruntime(
    bench: Bench, model: str, door: str = "grpc"
) -> tuple[list[Cost], list[Cost], int]:
    """Ours and onnxruntime's costs in interleaved rounds, and the batch size it ran at."""
    registry = bench.registry(model)
    if door == "grpc":
        load: Loader = partial(through_grpc, bodies.grpc_file(bench.work, model, SHAPES[model]))
    else:
        script = bodies.binary_script(bench.work, model, SHAPES[model])
        load = partial(through_http, script, f"/v2/models/{model}/infer")
    path = registry / model / "1" / "model.onnx"
    best = max(SIZES, key=lambda rows: onnxruntime_alone(path, model, rows, 0.5).rate)
    with Gateway(registry, bench.folder()) as server:
        served = interleaved(
            bench.rounds,
            {
                "ours": partial(through_the_gateway, server, load, bench.seconds),
                "alone": partial(onnxruntime_alone, path, model, best, bench.seconds),
            },
        )
    return served["ours"], served["alone"], best


def through_grpc(body: Path, server: Gateway, seconds: float) -> Load:
    return h2load(server.grpc_port, body, 4, 16, seconds)


def through_http(script: Path, path: str, server: Gateway, seconds: float) -> Load:
    return wrk(server.http_port, script, path, 64, seconds)


def through_the_gateway(server: Gateway, load: Loader, seconds: float) -> Cost:
    before = server.cpu_seconds()
    done = load(server, seconds)
    return Cost(done.rate, (server.cpu_seconds() - before) / done.requests)


def onnxruntime_alone(path: Path, model: str, rows: int, seconds: float) -> Cost:
    """On the server's core, while the server idles."""
    command = [tool("taskset"), "-c", str(cores()[0]), sys.executable]
    command += ["-m", "benchmarks.baselines.ort_alone", str(path), f"{seconds:g}", str(rows)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        input=json.dumps(SHAPES[model]),
        capture_output=True,
        text=True,
        check=True,
    )
    result = json.loads(done.stdout)
    return Cost(result["rows_per_s"], result["cpu_s_per_row"])
