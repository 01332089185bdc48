"""8: what does it cost to be there? (start, memory, idle, being scraped)"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks import models, report
from benchmarks.bench import Bench, expect_right_answer
from benchmarks.load import pinned
from benchmarks.models import lay
from benchmarks.servers import ROOT, Gateway

VERSIONS = 100
SCRAPES = 20


def measure(bench: Bench) -> Iterator[report.Row]:
    registry = bench.registry("tiny", "mlp")
    starts, memory = [], []
    bare = [_bare_process(registry) for _ in range(3)]
    for _ in range(bench.rounds):
        start = time.monotonic()
        with Gateway(registry, bench.folder()) as server:
            expect_right_answer(server.grpc_port, registry, "tiny")
            starts.append(time.monotonic() - start)
            memory.append(server.resident_bytes())
    detail = f"{report.spread(starts, '.2f')} s, two models"
    yield report.Row(8, "start to first answer", median(starts), "s", detail=detail)
    ours, theirs = median(memory) / 2**20, median(bare) / 2**20
    detail = f"{ours:.0f} / {theirs:.0f} MiB"
    question = "resident memory beyond Python, numpy, onnxruntime"
    yield report.Row(8, question, ours - theirs, "MiB", detail=detail)
    registry = many_versions(bench)
    yield idle(bench, registry)
    yield scrape(registry)


def many_versions(bench: Bench) -> Path:
    registry = bench.folder()
    for number in range(VERSIONS):
        lay(registry, f"tiny_{number}", models.tiny())
    return registry


def idle(bench: Bench, registry: Path) -> report.Row:
    """CPU with a hundred versions and nobody asking."""
    with Gateway(registry, bench.folder()) as server:
        time.sleep(5)
        seconds = 5 * bench.seconds
        before = server.cpu_seconds()
        time.sleep(seconds)
        share = (server.cpu_seconds() - before) / seconds * 100
    detail = f"over {seconds:g} s"
    return report.at_most(8, f"idle CPU with {VERSIONS} versions", share, 0.5, "%", detail)


def scrape(registry: Path) -> report.Row:
    """How long a scrape of a hundred versions can hold the GIL, all in all."""
    command = [*pinned(), sys.executable, "-m", "benchmarks.scrape_cost", str(registry)]
    done = subprocess.run(
        [*command, str(SCRAPES)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    detail = (
        f"{found['bytes'] / 2**20:.1f} MiB; the core's own {found['core'] * 1e3:.1f} ms need none;"
        f" another thread waits {found['gap'] * 1e3:.2f} ms at most,"
        f" {found['idle'] * 1e3:.2f} without a scrape"
    )
    question = f"scrape of {VERSIONS} versions: CPU that may hold the GIL"
    return report.at_most(8, question, found["held"] * 1e3, 5, "ms", detail)


def _bare_process(registry: Path) -> int:
    command = [sys.executable, "-m", "benchmarks.baselines.bare_process", str(registry)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout)
