"""13: what do a thousand models cost? (start, restart, one more, commands, idle, a scrape)"""

from __future__ import annotations

import json
import os
import statistics
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import serving
from benchmarks import models, report
from benchmarks.bench import Bench
from benchmarks.bodies import row
from benchmarks.models import lay
from benchmarks.servers import Gateway

# Models in one registry; the last with --full only.
SHORT, FULL = (10, 100, 300, 1000), (10, 100, 300, 1000, 3000)
# What is to be reached at a thousand models.
AT = 1000
# Older than any settle time.
_OLD_S = 3600.0
_READY_WITHIN_S = 1800.0
_SCRAPES = 5
# Of ten commands, by turns among few and among many. The first also meets what the model that came
# before left to do, and one may meet a look through everything: the range tells of them, the median
# doesn't.
_ROUNDS = 31
_ONE_MORE = "one_more"


@dataclass(frozen=True)
class Figures:
    """Of one registry. Seconds from exec; ``cpu``: CPU seconds of the gateway's own process, and of
    its children, until then; ``commands_s``: that ten take, in each round, ``few_s``: among the
    fewest models."""

    first_s: float
    first_cpu: tuple[float, float]
    again_s: float
    again_cpu: tuple[float, float]
    one_more_s: float
    commands_s: Sequence[float]
    few_s: Sequence[float]
    idle_percent: float
    scrape_bytes: int
    scrape_s: float


def measure(bench: Bench) -> Iterator[report.Row]:
    few = _registry(bench, SHORT[0])
    for count in FULL if bench.full else SHORT:
        yield from rows(count, of_registry(bench, count, few))


def rows(count: int, found: Figures) -> Iterator[report.Row]:
    def row(what: str, figure: float, target: float, unit: str, detail: str = "") -> report.Row:
        question = f"{count} models: {what}"
        if count != AT:
            return report.Row(13, question, figure, unit, detail=detail)
        return report.at_most(13, question, figure, target, unit, detail)

    yield row("ready, first time", found.first_s, 20, "s", _cpu_words(found.first_cpu))
    yield row("ready, findings known", found.again_s, 7, "s", _cpu_words(found.again_cpu))
    yield row("one more answers", found.one_more_s, 1, "s", "after its files were whole")
    ratio = statistics.median(found.commands_s) / statistics.median(found.few_s)
    times = [[one * 1e3 for one in seconds] for seconds in (found.commands_s, found.few_s)]
    detail = " / ".join(map(report.spread, times)) + " ms"
    yield row("10 commands / among the fewest models", ratio, 2, "", detail)
    yield row("idle CPU", found.idle_percent, 0.5, "%")
    detail = f"{found.scrape_s * 1e3:.0f} ms"
    yield row("a scrape, nobody has asked yet", found.scrape_bytes / 2**20, 1, "MiB", detail)


def _cpu_words(cpu: tuple[float, float]) -> str:
    own, children = cpu
    return f"CPU {own:.1f} s, its children {children:.1f} s"


def of_registry(bench: Bench, count: int, few: Path) -> Figures:
    """``few``: a registry of the fewest, which it is compared with."""
    registry, folder = _registry(bench, count), bench.folder()
    start = time.monotonic()
    with _gateway(registry, folder) as server:
        first_s, first_cpu = time.monotonic() - start, _cpu(server)
    start = time.monotonic()
    with _gateway(registry, folder) as server:
        again_s, again_cpu = time.monotonic() - start, _cpu(server)
        scrape_bytes, scrape_s = _scrape(server)
        idle = _idle(server, bench.seconds)
        one_more_s = _one_more(server, registry, bench.folder())
        with _gateway(few, bench.folder()) as other:
            commands_s, few_s = _commands(server, other)
    return Figures(
        first_s=first_s,
        first_cpu=first_cpu,
        again_s=again_s,
        again_cpu=again_cpu,
        one_more_s=one_more_s,
        commands_s=commands_s,
        few_s=few_s,
        idle_percent=idle,
        scrape_bytes=scrape_bytes,
        scrape_s=scrape_s,
    )


def _registry(bench: Bench, count: int) -> Path:
    registry = bench.folder()
    for number in range(count):
        _make_old(lay(registry, f"tiny_{number:04}", models.tiny()))
    return registry


def _gateway(registry: Path, folder: Path) -> Gateway:
    """Default settings, on all cores."""
    cores = ",".join(str(core) for core in range(os.cpu_count() or 1))
    pinned = ("taskset", "-c", cores)
    return Gateway(registry, folder, before=pinned, within_s=_READY_WITHIN_S)


def _make_old(path: Path) -> None:
    then = time.time() - _OLD_S
    for one in (path, path.parent, path.parent.parent):
        os.utime(one, (then, then))


def _cpu(server: Gateway) -> tuple[float, float]:
    return server.cpu_seconds(), server.cpu_seconds_of_children()


def _idle(server: Gateway, seconds: float) -> float:
    """CPU in percent of a core, once what the start left to do is done."""
    time.sleep(5)
    before = server.cpu_seconds()
    time.sleep(3 * seconds)
    return (server.cpu_seconds() - before) / (3 * seconds) * 100


def _scrape(server: Gateway) -> tuple[int, float]:
    """Bytes, and the shortest time of a few."""
    times = []
    for _ in range(_SCRAPES):
        start = time.monotonic()
        text = server.scrape()
        times.append(time.monotonic() - start)
    return len(text), min(times)


def _one_more(server: Gateway, registry: Path, folder: Path) -> float:
    """Seconds until a model answers that was published, with a manifest: whole at once."""
    serving.publish(lay(folder, _ONE_MORE, models.tiny()), registry, _ONE_MORE)
    start = time.monotonic()
    while not _answers(server, _ONE_MORE):
        time.sleep(0.01)
        if time.monotonic() - start > _READY_WITHIN_S:
            raise RuntimeError("the model that came later never answered")
    return time.monotonic() - start


def _answers(server: Gateway, model: str) -> bool:
    values = np.frombuffer(row((4,)), "<f4")
    inputs = [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": values.tolist()}]
    try:
        _post(server.url(f"/v2/models/{model}/infer"), {"inputs": inputs})
    except urllib.error.HTTPError:
        return False
    return True


def _commands(*servers: Gateway) -> Sequence[Sequence[float]]:
    """Seconds that ten take, time and again, of each."""
    rounds = [[_ten_commands(server) for server in servers] for _ in range(_ROUNDS)]
    return list(zip(*rounds, strict=True))


def _ten_commands(server: Gateway) -> float:
    """Seconds that they take, one after the other, each until it has come to its end."""
    start = time.monotonic()
    for number in range(2):
        base = f"http://127.0.0.1:{server.admin_port}/api/v1/models/tiny_{number:04}"
        steps: tuple[tuple[str, Mapping[str, object]], ...] = (
            ("default", {"version": 1}),
            ("default", {"version": "auto"}),
            ("unload", {}),
            ("load", {}),
            ("default", {"version": 1}),
        )
        for what, body in steps:
            _post(f"{base}/{what}", body)
    return time.monotonic() - start


def _post(url: str, body: Mapping[str, object]) -> None:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        answer.read()
