"""A test that is not marked as slow fails where it was slow.

What others made it wait for does not count: time in which something in the machine wanted a
core, or the disk, and had none, as the kernel tells (``/proc/pressure``). A slower machine, or one
whose cores others use by halves, gets as much longer as a fixed loop takes there at that moment.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

PRESSURE = tuple(Path("/proc/pressure") / of for of in ("cpu", "io"))
# The fixed loop, and the seconds it took where the limit was set.
ROUNDS, ROUNDS_S = 400_000, 0.016
LONG_MARKS = ("slow", "mlflow", "kserve")
BEGAN = pytest.StashKey[tuple[float, float]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("longest_test_s", "What a test may take that has no mark for it.", default="10")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    item.stash[BEGAN] = time.monotonic(), _stalled_s()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.passed and call.when == "call":
        began, stalled = item.stash[BEGAN]
        own = time.monotonic() - began - (_stalled_s() - stalled)
        if wrong := _too_long(item, own):
            report.outcome, report.longrepr = "failed", wrong
    return report


def _too_long(item: pytest.Item, own_s: float) -> str | None:
    longest_s = float(item.config.getini("longest_test_s"))
    if own_s <= longest_s or any(item.get_closest_marker(mark) for mark in LONG_MARKS):
        return None
    longest_s *= _slowness()
    if own_s <= longest_s:
        return None
    return f"took {own_s:.1f} s: one that takes longer than {longest_s:.3g} s is to be marked slow"


def _slowness() -> float:
    """How many times as long things take here and now, 1 at least."""
    return max(1.0, statistics.median(_loop_s() for _ in range(5)) / ROUNDS_S)


def _loop_s() -> float:
    began, total = time.thread_time(), 0
    for number in range(ROUNDS):
        total += number & 3
    assert total
    return time.thread_time() - began


def _stalled_s(pressures: tuple[Path, ...] = PRESSURE) -> float:
    """How long somebody has waited since the start, of what the kernel tells."""
    return sum(_waited_s(one) for one in pressures)


def _waited_s(pressure: Path) -> float:
    try:
        some = pressure.read_text().splitlines()[0]
    except (OSError, IndexError):
        return 0.0
    return int(some.rpartition("total=")[2]) / 1e6
