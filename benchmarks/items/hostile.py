"""12: what do forty hostile clients cost a good one? (HTTP tiny at a tenth of its peak)"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import bodies, report
from benchmarks.bench import SHAPES, Bench
from benchmarks.load import aside, foremost, pinned, wrk
from benchmarks.pairs import interleaved, ratio
from benchmarks.servers import ROOT, Gateway
from tests.clients import hostile

PATH = "/v2/models/tiny/infer"
# Time-outs short enough that a run meets them.
SETTINGS = {
    "LIMITS__PROCESS_BYTES": str(256 << 20),
    "LIMITS__HEAD_TIMEOUT_S": "1",
    "LIMITS__BODY_TIMEOUT_S": "2",
    "LIMITS__IDLE_TIMEOUT_S": "5",
}
LEAST_SECONDS = 8.0
# Until hostile clients have come into their stride.
WARMING_S = 2.0
# As many as the good client, in Python, sends without waiting for itself.
MOST_RATE = 2000.0
MOST = 2.0


def measure(bench: Bench) -> Iterator[report.Row]:
    """Hostile clients, and the gateway that they attack in the other's stead, share the load's
    core with the good client, which goes before them: what that costs it is the machine's part."""
    body = bodies.json_script(bench.work, "tiny", SHAPES["tiny"]).with_suffix(".body")
    registry = bench.registry("tiny")
    hostile.lay(registry)
    first = Gateway(registry, bench.folder(), SETTINGS)
    other = Gateway(registry, bench.folder(), SETTINGS, before=aside())
    with first, other:
        rate = min(MOST_RATE, _peak(bench, first) / 10)
        seconds = max(LEAST_SECONDS, bench.seconds)
        p99 = partial(_p99, body=body, rate=rate, seconds=seconds)
        runs: dict[str, Callable[[], float]] = {
            "alone": partial(p99, first, nullcontext()),
            "control": partial(_attacked, p99, first, other),
            "attacked": partial(_attacked, p99, first, first),
            "no texts": partial(_attacked, p99, first, first, "many_texts"),
        }
        results = interleaved(bench.rounds, runs)
    alone = results["alone"]
    at = f"ms at {rate:,.0f} req/s"
    yield report.Row(12, "HTTP tiny: p99 alone", float(np.median(alone)), "ms", detail=at)
    for name, words in (
        ("control", "forty hostile to another gateway"),
        ("attacked", "forty hostile clients"),
        ("no texts", "the same, but for those who send 200,000 texts at once"),
    ):
        figure = ratio(results[name], alone)
        detail = f"{report.spread(results[name], '.2f')} / {report.spread(alone, '.2f')} {at}"
        yield report.at_most(12, f"p99 beside {words} / alone", figure, MOST, detail=detail)


def _peak(bench: Bench, server: Gateway) -> float:
    script = bodies.json_script(bench.work, "tiny", SHAPES["tiny"])
    return wrk(server.http_port, script, PATH, 64, 2).rate


def _p99(
    server: Gateway,
    beside: AbstractContextManager[None],
    body: Path,
    rate: float,
    seconds: float,
) -> float:
    """Milliseconds."""
    client = [*pinned(), *foremost(), sys.executable, "-m", "benchmarks.steady"]
    asked = [str(server.http_port), PATH, str(body), "--rate", str(rate)]
    command = [*client, *asked, "--seconds", str(seconds)]
    with beside:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the good client: {done.stderr.strip().splitlines()[-1]}")
    return float(np.percentile(json.loads(done.stdout), 99))


def _attacked(
    p99: Callable[..., float], server: Gateway, victim: Gateway, without: str = ""
) -> float:
    return p99(server, _attack(victim, without))


@contextmanager
def _attack(server: Gateway, without: str) -> Iterator[None]:
    ports = [str(port) for port in (server.http_port, server.grpc_port, server.admin_port)]
    command = [*aside(), sys.executable, "-m", "tests.clients.hostile", *ports]
    command += ["--seconds", "3600", "--without", without]
    attackers = subprocess.Popen(command, cwd=ROOT)
    try:
        time.sleep(WARMING_S)
        yield
    finally:
        attackers.terminate()
        attackers.wait()
