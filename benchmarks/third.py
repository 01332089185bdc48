"""The latency of gRPC requests that come at a third of the rate that a server can do."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import median

from benchmarks.load import h2load

CLIENTS = 16

# What goes on meanwhile.
Beside = Callable[[], AbstractContextManager[object]]


class ThirdOfPeak:
    """Measures the peak when it is made. ``rate``: requests a second of the runs after."""

    def __init__(self, port: int, body: Path, seconds: float) -> None:
        self._port, self._body, self._seconds = port, body, seconds
        self.rate = median(h2load(port, body, 4, 16, 1).rate for _ in range(3)) / 3

    def p99(self, beside: Beside) -> float:
        """Milliseconds, of a run of ``seconds``."""
        with beside():
            load = h2load(
                self._port,
                self._body,
                CLIENTS,
                8,
                self._seconds,
                rate_per_client=self.rate / CLIENTS,
                keep_latencies=True,
            )
        return load.p99() * 1e3
