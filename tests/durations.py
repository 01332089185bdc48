"""A run fails where a test that is not marked as slow was slow.

What others made it wait for does not count: time in which something in the machine wanted a
core and had none, as the kernel tells (``/proc/pressure/cpu``).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PRESSURE = Path("/proc/pressure/cpu")
LONG_MARKS = ("slow", "mlflow", "kserve")
KEY = "own_seconds"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("longest_test_s", "What a test may take that has no mark for it.", default="10")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(TooLong(float(config.getini("longest_test_s"))))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    began, stalled = time.monotonic(), _stalled_s()
    try:
        return (yield)
    finally:
        own = time.monotonic() - began - (_stalled_s() - stalled)
        item.user_properties.append((KEY, own))


def _stalled_s(pressure: Path = PRESSURE) -> float:
    """How long somebody has waited for a core since the start; 0 where the kernel doesn't say."""
    try:
        some = pressure.read_text().splitlines()[0]
    except (OSError, IndexError):
        return 0.0
    return int(some.rpartition("total=")[2]) / 1e6


class TooLong:
    """Where the reports of all processes come together."""

    def __init__(self, longest_s: float) -> None:
        self.longest_s = longest_s
        self.found: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        own = dict(report.user_properties).get(KEY)
        if report.when != "call" or not isinstance(own, float) or own <= self.longest_s:
            return
        if not any(mark in report.keywords for mark in LONG_MARKS):
            self.found[report.nodeid] = own

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.found and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.found:
            terminalreporter.section("longer than a test may be that is not marked slow", red=True)
        for nodeid, own in sorted(self.found.items(), key=lambda one: -one[1]):
            terminalreporter.line(f"{own:6.1f} s  {nodeid}")
