"""Load generators on their own core, and what they measured."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.bodies import INFER
from benchmarks.models import LeftOutError

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


@dataclass(frozen=True)
class Load:
    """One run: requests answered, per second, and their latency in seconds."""

    requests: int
    rate: float
    mean: float
    latencies: np.ndarray[tuple[int], np.dtype[np.float64]] | None = None

    def p99(self) -> float:
        """Seconds; needs a run that kept each request's latency."""
        assert self.latencies is not None
        return float(np.percentile(self.latencies, 99))


@cache
def cores() -> tuple[int, int]:
    """The server's core and the load's. Raises LeftOutError on a machine with one."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        raise LeftOutError("two cores are needed, one for the server and one for the load")
    return usable[0], usable[-1]


def tool(name: str) -> str:
    """The path of a load generator. Raises LeftOutError without it."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if path is None:
        package = {"h2load": "nghttp2-client", "nghttpd": "nghttp2-server"}.get(name, name)
        raise LeftOutError(f"{name} is not installed (Debian's package {package})")
    return path


def h2load(
    port: int,
    body: Path | None,
    clients: int,
    streams: int,
    seconds: float,
    *,
    path: str = INFER,
    rate_per_client: float | None = None,
    keep_latencies: bool = False,
) -> Load:
    """gRPC over cleartext HTTP/2: ``clients`` connections of ``streams`` requests in flight."""
    command = [*pinned(), tool("h2load"), "-c", str(clients), "-m", str(streams)]
    command += ["-D", f"{seconds:g}s"]
    if body is not None:
        command += ["-d", str(body), "-H", "content-type: application/grpc", "-H", "te: trailers"]
    if rate_per_client is not None:
        command += ["--rps", f"{rate_per_client:g}"]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        if keep_latencies:
            command += ["--log-file", str(log)]
        text = _run([*command, f"http://127.0.0.1:{port}{path}"], seconds)
        latencies = _latencies(log) if keep_latencies else None
    succeeded, failed = _counts(text)
    if failed or not succeeded:
        raise RuntimeError(f"{failed} of {succeeded + failed} requests failed:\n{text}")
    return Load(succeeded, succeeded / seconds, _h2load_mean(text), latencies)


def wrk(port: int, script: Path, path: str, connections: int, seconds: float) -> Load:
    """HTTP/1.1, one request in flight on each connection."""
    command = [*pinned(), tool("wrk"), "-t", "1", "-c", str(connections)]
    command += ["-d", f"{max(1, round(seconds))}s", "-s", str(script)]
    text = _run([*command, f"http://127.0.0.1:{port}{path}"], seconds)
    if "Non-2xx" in text or "Socket errors" in text:
        raise RuntimeError(f"some requests failed:\n{text}")
    rate = float(_find(r"Requests/sec:\s+([\d.]+)", text)[0])
    requests = int(_find(r"(\d+) requests in", text)[0])
    return Load(requests, rate, _seconds(*_find(r"Latency\s+([\d.]+)(us|ms|s)", text)))


def pinned() -> list[str]:
    """The prefix that puts a command onto the load's core."""
    return [tool("taskset"), "-c", str(cores()[1])]


def aside() -> list[str]:
    """The prefix for what shares the load's core with a load that should not feel it."""
    return pinned() if foremost() else [*pinned(), tool("nice"), "-n", "19"]


@cache
def foremost() -> list[str]:
    """What lets a command run as soon as it can, whoever computes; nothing where it may not."""
    realtime = [tool("chrt"), "--fifo", "1"]
    allowed = subprocess.run([*realtime, "true"], capture_output=True, check=False)
    return realtime if allowed.returncode == 0 else []


def _run(command: list[str], seconds: float) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds * 3 + 60, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command[3]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def _counts(text: str) -> tuple[int, int]:
    found = _find(r"(\d+) succeeded, (\d+) failed", text)
    return int(found[0]), int(found[1])


def _h2load_mean(text: str) -> float:
    """The third figure of "time for request: min max mean sd +/- sd"."""
    return _seconds(*_find(r"time for request:\s+\S+\s+\S+\s+([\d.]+)(us|ms|s)", text))


def _latencies(log: Path) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    columns = np.loadtxt(log, usecols=(1, 2), ndmin=2)
    return np.asarray(columns[columns[:, 0] == 200, 1] * 1e-6)


def _find(pattern: str, text: str) -> tuple[str, ...]:
    match = re.search(pattern, text)
    if match is None:
        raise RuntimeError(f"no {pattern!r} in the output:\n{text}")
    return match.groups()


def _seconds(number: str, unit: str) -> float:
    return float(number) * _UNITS[unit]
