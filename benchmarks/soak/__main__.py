"""Swap versions under steady load, and count what went wrong: nothing may.

python -m benchmarks.soak                    100 swaps, at least 100,000 requests
python -m benchmarks.soak --isolated         models in child processes, which are killed
python -m benchmarks.soak --swaps 1000       longer

The exit status is 1 when a request failed, an answer was no version's, or memory grew.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from benchmarks.servers import Gateway
from benchmarks.soak.registry import Model
from benchmarks.soak.witness import Tally, Target, Witnesses

SETTINGS = {
    "REGISTRY__SETTLE_S": "0.3",
    "REGISTRY__SCAN_INTERVAL_S": "0.5",
    "ROLLOUT__KEEP_PREVIOUS_S": "2",
}
# Resident memory at the end against after a fifth of the swaps.
MOST_GROWTH = 0.15


class Soak:
    """The order of events. Each returns how many times the answering version changed."""

    def __init__(self, models: list[Model], kill: Callable[[], int]) -> None:
        self._models = models
        self._kill = kill
        self._random = random.Random(7)
        self.killed = 0

    def turn(self, number: int) -> int:
        events = (self.publish, self.break_, self.roll_back, self.delete, self.reload)
        swaps = events[number % len(events)](self._models[number % len(self._models)])
        self.killed += self._kill()
        return swaps

    def publish(self, model: Model) -> int:
        model.wait_default(model.publish())
        return 1

    def break_(self, model: Model) -> int:
        """A broken version changes nothing; the good one after it does."""
        broken = model.publish_broken()
        model.wait_state(broken, "FAILED")
        model.wait_default(model.publish())
        model.delete(broken)
        return 1

    def roll_back(self, model: Model) -> int:
        newest = model.publish()
        model.wait_default(newest)
        model.tell("rollback")
        if model.status()["default"] == newest:
            raise RuntimeError(f"{model.name}: still version {newest} after a rollback")
        model.tell("default", {"version": "auto"})
        model.wait_default(newest)
        return 3

    def delete(self, model: Model) -> int:
        """The newest goes, and the one before answers; then all the old ones go."""
        before = model.status()["default"]
        newest = model.publish()
        model.wait_default(newest)
        model.delete(newest)
        model.wait_default(before)
        last = model.publish()
        model.wait_default(last)
        model.delete_all_but({last})
        return 3

    def reload(self, model: Model) -> int:
        """Files changed under the version that answers, picked up when told."""
        version = model.status()["default"]
        model.overwrite(version)
        time.sleep(0.5)
        model.tell("load", {"version": version})
        model.wait_default(version)
        return 1


def main() -> None:
    arguments = _parse()
    with tempfile.TemporaryDirectory(prefix="serving-soak-") as work:
        sys.exit(run(Path(work), arguments))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--swaps", type=int, default=100)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--rate", type=float, default=500, help="requests a second and model")
    parser.add_argument("--clients", type=int, default=4, help="of each door and model")
    parser.add_argument("--weights", type=int, default=4, help="MiB that each version carries")
    parser.add_argument("--isolated", action="store_true", help="in children, which are killed")
    return parser.parse_args()


def run(work: Path, arguments: argparse.Namespace) -> int:
    registry = work / "registry"
    names = ("north", "south")
    for name in names:
        (registry / name).mkdir(parents=True)
        if arguments.isolated:
            (registry / name / "model.yaml").write_text("isolation: process\n")
    with Gateway(registry, work, SETTINGS) as server:
        weights = arguments.weights << 20
        models = [Model(registry, name, server.admin_port, weights) for name in names]
        for model in models:
            model.wait_default(model.publish())
        targets = [
            Target(model.name, server.http_port, server.grpc_port, model.factor) for model in models
        ]
        kill = (lambda: kill_a_child(server)) if arguments.isolated else (lambda: 0)
        soak = Soak(models, kill)
        memory: list[int] = []
        rate, clients = arguments.rate, arguments.clients
        with Witnesses(targets, rate, clients, tolerate=arguments.isolated) as witnesses:
            swaps, seconds = _swap(soak, witnesses, server, memory, arguments)
        return report(witnesses.tally, swaps, soak.killed, memory, seconds)


def _swap(
    soak: Soak,
    witnesses: Witnesses,
    server: Gateway,
    memory: list[int],
    arguments: argparse.Namespace,
) -> tuple[int, float]:
    start, swaps, turn = time.monotonic(), 0, 0
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("swaps", total=arguments.swaps)
        while swaps < arguments.swaps or witnesses.tally.answered < arguments.requests:
            if swaps < arguments.swaps:
                swaps += soak.turn(turn)
                turn += 1
                memory.append(resident(server))
                words = f"swaps, {witnesses.tally.answered:,} requests"
                progress.update(task, completed=swaps, description=words)
            else:
                time.sleep(0.2)
    return swaps, time.monotonic() - start


def children(server: Gateway) -> list[int]:
    listed = Path(f"/proc/{server.pid}/task")
    pids = [(thread / "children").read_text().split() for thread in listed.iterdir()]
    return [int(pid) for line in pids for pid in line]


def kill_a_child(server: Gateway) -> int:
    """Any child: one that runs a model, most of the time, or one that tries a version."""
    found = children(server)
    if found:
        os.kill(random.choice(found), signal.SIGKILL)
    return len(found[:1])


def resident(server: Gateway) -> int:
    """Bytes of the server and its children together."""
    page = os.sysconf("SC_PAGE_SIZE")
    total = server.resident_bytes()
    for pid in children(server):
        try:
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page
        except OSError:
            continue  # it ended meanwhile
    return total


def report(tally: Tally, swaps: int, killed: int, memory: list[int], seconds: float) -> int:
    fifth = max(1, len(memory) // 5)
    early = statistics.median(memory[fifth : 2 * fifth] or memory)
    late = statistics.median(memory[-fifth:])
    growth = late / early - 1
    slowest = sorted(tally.seconds)
    p99 = slowest[int(len(slowest) * 0.99)] if slowest else float("nan")
    print(
        f"swaps                {swaps} in {seconds:.0f} s, {len(tally.versions)} versions answered"
    )
    print(f"requests             {tally.answered:,}, {len(tally.failures)} failed")
    print(f"children killed      {killed}, {tally.asked_again} requests asked again")
    print(f"p99, longest         {p99 * 1e3:.1f} ms, {slowest[-1] * 1e3:.0f} ms")
    print(f"resident memory      {early / 2**20:.0f} MiB, then {late / 2**20:.0f} ({growth:+.1%})")
    for words in tally.failures[:20]:
        print(f"failed: {words}")
    return int(bool(tally.failures) or growth > MOST_GROWTH)


if __name__ == "__main__":
    main()
