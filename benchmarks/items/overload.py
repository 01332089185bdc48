"""7: what happens at three times the load that it can do? (gRPC, every request with a deadline)

``steady`` costs some milliseconds a row and gains nothing by batching, so the peak is
sharp. Requests come at fixed times whatever the answers, from one client process.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import grpc
import numpy as np

from benchmarks import bodies, report
from benchmarks.bench import SHAPES, Bench, expect_right_answer
from benchmarks.servers import Gateway

SETTINGS = {"BATCHING__MAX_QUEUE_REQUESTS": "32", "BATCHING__MAX_ROWS": "8"}
# In turns. The queue takes longer than the short one, so those must expire in it, unrun.
DEADLINES_S = (0.15, 0.015)
IN_FLIGHT_AT_PEAK = 24
OVER = 3.0


@dataclass
class Outcome:
    """Answers by status, seconds from first to last, and how long refusals took."""

    counts: Counter[str] = field(default_factory=Counter)
    refusals: list[float] = field(default_factory=list)
    seconds: float = 0.0
    executed: int = 0

    @property
    def good_rate(self) -> float:
        return self.counts["OK"] / self.seconds


def measure(bench: Bench) -> Iterator[report.Row]:
    registry = bench.registry("steady")
    peaks, overs = [], []
    with Gateway(registry, bench.folder(), SETTINGS) as server:
        expect_right_answer(server.grpc_port, registry, "steady")
        for _ in range(bench.rounds):
            peak = asyncio.run(at_peak(server.grpc_port, bench.seconds))
            peaks.append(peak.good_rate)
            before = executed(server)
            over = asyncio.run(beyond(server.grpc_port, OVER * peak.good_rate, bench.seconds))
            over.executed = executed(server) - before
            overs.append(over)
    kept = [over.good_rate / peak for over, peak in zip(overs, peaks, strict=True)]
    both = report.spread([over.good_rate for over in overs]), report.spread(peaks)
    detail = f"{both[0]} / {both[1]} req/s"
    yield report.at_least(7, "3x overload: answers in time / peak", median(kept), 0.9, "", detail)

    waits = [float(np.percentile(over.refusals, 99)) * 1e3 for over in overs if over.refusals]
    shares = Counter[str]()
    for over in overs:
        shares.update(over.counts)
    total = shares.total()
    detail = ", ".join(f"{name} {number / total:.0%}" for name, number in shares.most_common())
    if waits:
        yield report.at_most(7, "3x overload: p99 of a refusal", median(waits), 100, "ms", detail)
    # What expires while it runs can't be called back; what expired before must not start.
    vain = [max(0, over.executed - over.counts["OK"]) / max(1, over.executed) for over in overs]
    detail = "run, but answered after the deadline; none may start after it"
    yield report.Row(7, "3x overload: share of runs in vain", median(vain), detail=detail)


def executed(server: Gateway) -> int:
    """Requests that reached onnxruntime so far."""
    stats: dict[str, Any] = server.stats("steady")["inference_stats"]
    return int(stats["compute_infer"]["count"])


async def at_peak(port: int, seconds: float) -> Outcome:
    """As many as it can do: a fixed number in flight, no deadline."""
    outcome = Outcome()
    content = bodies.message("steady", SHAPES["steady"])
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        infer = channel.unary_unary(bodies.INFER)
        start = time.monotonic()

        async def ask() -> None:
            while time.monotonic() - start < seconds:
                await send(infer, content, None, outcome)

        await asyncio.gather(*(ask() for _ in range(IN_FLIGHT_AT_PEAK)))
        outcome.seconds = time.monotonic() - start
    return outcome


async def beyond(port: int, rate: float, seconds: float) -> Outcome:
    """Requests at fixed times, each with a deadline."""
    outcome = Outcome()
    content = bodies.message("steady", SHAPES["steady"])
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        infer = channel.unary_unary(bodies.INFER)
        start = time.monotonic()
        waiting = []
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, start + number / rate - time.monotonic()))
            one = send(infer, content, DEADLINES_S[number % len(DEADLINES_S)], outcome)
            waiting.append(asyncio.create_task(one))
        outcome.seconds = time.monotonic() - start
        await asyncio.gather(*waiting)
    return outcome


async def send(infer: Any, content: bytes, deadline: float | None, outcome: Outcome) -> None:
    start = time.monotonic()
    try:
        await infer(content, timeout=deadline)
        outcome.counts["OK"] += 1
    except grpc.aio.AioRpcError as error:
        name = error.code().name
        outcome.counts[name] += 1
        if name == "RESOURCE_EXHAUSTED":
            outcome.refusals.append(time.monotonic() - start)
