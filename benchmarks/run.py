"""Measure how fast the gateway is, and print one table.

python -m benchmarks.run                 the short form, under twenty minutes
python -m benchmarks.run --full          longer runs, more rounds
python -m benchmarks.run --only 1 --only 4
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import report
from benchmarks.bench import Bench
from benchmarks.items import (
    client_cpu,
    enforcing,
    footprint,
    grpc_rate,
    hostile,
    http_json,
    isolation,
    large,
    latency,
    many_models,
    observing,
    outage,
    overload,
    real_work,
    tail,
)
from benchmarks.load import cores
from benchmarks.models import LeftOutError
from benchmarks.servers import ROOT

ITEMS: dict[int, Callable[[Bench], Iterator[report.Row]]] = {
    1: grpc_rate.measure,
    2: latency.measure,
    3: http_json.measure,
    4: real_work.measure,
    5: large.measure,
    6: tail.measure,
    7: overload.measure,
    8: footprint.measure,
    9: isolation.measure,
    10: observing.measure,
    11: outage.measure,
    12: hostile.measure,
    13: many_models.measure,
    14: client_cpu.measure,
    15: enforcing.measure,
}


def main() -> None:
    arguments = parse()
    # This process and the load generators leave the server's core alone.
    os.sched_setaffinity(0, {cores()[1]})
    cache = ROOT / ".cache" / "benchmarks"
    cache.mkdir(parents=True, exist_ok=True)
    rows: list[report.Row] = []
    with tempfile.TemporaryDirectory(prefix="serving-bench-") as work:
        bench = Bench(Path(work), cache, arguments.seconds, arguments.rounds, arguments.full)
        for item in arguments.only or ITEMS:
            start = time.monotonic()
            print(f"{item}: {(ITEMS[item].__module__.rpartition('.')[2])}", end=" ", flush=True)
            rows += measured(item, bench)
            print(f"{time.monotonic() - start:.0f} s", flush=True)
    report.show(rows)
    print(f"kept in {report.save(rows, ROOT / 'benchmarks' / 'results').relative_to(ROOT)}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--full", action="store_true", help="runs of 8 s, 9 rounds")
    parser.add_argument("--only", action="append", type=int, choices=sorted(ITEMS))
    parser.add_argument("--seconds", type=float, help="of each run")
    parser.add_argument("--rounds", type=int, help="of interleaved runs")
    arguments = parser.parse_args()
    arguments.seconds = arguments.seconds or (8.0 if arguments.full else 2.0)
    arguments.rounds = arguments.rounds or (9 if arguments.full else 5)
    return arguments


def measured(item: int, bench: Bench) -> list[report.Row]:
    """The item's rows; one that can't be had, or breaks, leaves the others alone."""
    rows: list[report.Row] = []
    try:
        rows.extend(ITEMS[item](bench))
    except LeftOutError as why:
        rows.append(report.left_out(item, ITEMS[item].__module__.rpartition(".")[2], why))
    except (RuntimeError, OSError) as error:
        print(error, flush=True)
        rows.append(report.left_out(item, "failed", str(error).splitlines()[0]))
    return rows


if __name__ == "__main__":
    main()
