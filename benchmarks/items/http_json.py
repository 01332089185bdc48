"""3: how many requests a second over HTTP/1.1 with JSON, in each form? (64 connections)"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks import bodies, report
from benchmarks.bench import SHAPES, Bench
from benchmarks.load import wrk
from benchmarks.models import LeftOutError
from benchmarks.pairs import interleaved, ratio
from benchmarks.servers import FastApi, Gateway, MlflowServe

PATH = "/v2/models/tiny/infer"
V1_PATH = "/v1/models/tiny:predict"
SCORING_PATH = "/models/tiny/invocations"


def measure(bench: Bench) -> Iterator[report.Row]:
    registry = bench.registry("tiny")
    script = bodies.json_script(bench.work, "tiny", SHAPES["tiny"])
    rows = bodies.rows_script(bench.work, "tiny", SHAPES["tiny"])
    scored = bodies.scoring_script(bench.work, "tiny", SHAPES["tiny"])
    titles = (
        ("ours", "FastAPI", "HTTP JSON tiny, 64 x 1: rate / FastAPI", 10),
        ("/v1", "ours", "HTTP JSON tiny, 64 x 1: /v1 by rows / Open Inference Protocol", 0.8),
        (
            "MLflow's form",
            "ours",
            "HTTP JSON tiny, 64 x 1: MLflow's form / Open Inference Protocol",
            0.8,
        ),
    )
    why: LeftOutError | None = None
    with ExitStack() as stack:
        ours = stack.enter_context(Gateway(registry, bench.folder()))
        asked = [
            ("ours", ours.http_port, script, PATH),
            ("/v1", ours.http_port, rows, V1_PATH),
            ("MLflow's form", ours.http_port, scored, SCORING_PATH),
        ]
        try:
            theirs = stack.enter_context(FastApi(registry, bench.folder()))
            asked.append(("FastAPI", theirs.http_port, script, PATH))
        except LeftOutError as error:
            why = error
        runs = {
            name: partial(wrk, port, body, path, 64, bench.seconds)
            for name, port, body, path in asked
        }
        loads = interleaved(bench.rounds, runs)
    rates = {name: [load.rate for load in done] for name, done in loads.items()}
    for name, other, title, target in titles:
        if other not in rates:
            yield report.left_out(3, title, why)
            continue
        detail = f"{report.spread(rates[name])} / {report.spread(rates[other])} req/s"
        figure = ratio(rates[name], rates[other])
        yield report.at_least(3, title, figure, target, detail=detail)
    yield _mlflow(bench, registry, scored)


def _mlflow(bench: Bench, registry: Path, script: Path) -> report.Row:
    title = "HTTP JSON tiny, 64 x 1: MLflow's form: rate / mlflow models serve"
    try:
        with ExitStack() as stack:
            model = registry / "tiny" / "1" / "model.onnx"
            theirs = stack.enter_context(MlflowServe(model, bench.folder(), bench.cache.parent))
            ours = stack.enter_context(Gateway(registry, bench.folder()))
            runs = {
                "ours": partial(wrk, ours.http_port, script, SCORING_PATH, 64, bench.seconds),
                "MLflow": partial(wrk, theirs.http_port, script, "/invocations", 64, bench.seconds),
            }
            loads = interleaved(bench.rounds, runs)
    except LeftOutError as why:
        return report.left_out(3, title, why)
    rates = {name: [load.rate for load in done] for name, done in loads.items()}
    detail = f"{report.spread(rates['ours'])} / {report.spread(rates['MLflow'])} req/s"
    figure = ratio(rates["ours"], rates["MLflow"])
    return report.at_least(3, title, figure, 20, detail=detail)
