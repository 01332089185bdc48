"""A real gateway process: started, asked, stopped, and its log read."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.clients import forked

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 60.0

# Short waits, so that a suite of many gateways stays quick.
QUICK = {
    "registry.settle_s": "0.2",
    "registry.scan_interval_s": "0.2",
    "shutdown.drain_delay_s": "0.1",
    "shutdown.drain_timeout_s": "10",
    # A trial for each of a common repository's models takes seconds; tests of it switch it on.
    "loading.trial": "off",
    "log.format": "json",
}


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, nor will: each process that runs tests has a range of its
    own, and the system gives none of them to a socket that asks for any."""
    return [next(port for port in _PORTS if _is_free(port)) for _ in range(count)]


def _own_ports() -> Iterator[int]:
    """Round and round, from anywhere, so that another run's rarely come in between."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = 20_000 + worker % 6 * 2_000
    start = os.getpid() * 7 % 2_000
    return itertools.cycle(first + (start + step) % 2_000 for step in range(2_000))


def _is_free(port: int) -> bool:
    with socket.socket() as one:
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


_PORTS = _own_ports()


def variable(key: str) -> str:
    """The environment variable of a setting: ``limits.max_streams`` -> its ``SERVING_`` name."""
    return "SERVING_" + key.replace(".", "__").upper()


def wait_until(true: Callable[[], Any], timeout: float, what: str, every: float = 0.05) -> Any:
    deadline = time.monotonic() + timeout
    while True:
        if value := true():
            return value
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        time.sleep(every)


@dataclass
class HttpAnswer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Gateway:
    repository: Path
    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    # Where it is started; by default a folder of its own.
    cwd: Path | None = None
    # What starts it, put before its command.
    before: tuple[str, ...] = ()
    # A descriptor in place of its log, and of nothing to read.
    terminal: int | None = None

    def __post_init__(self) -> None:
        self.http_port, self.grpc_port, self.admin_port = free_ports(3)
        self.home = self.folder / "home"
        self.home.mkdir(parents=True)
        self.log_path = self.folder / "gateway.log"
        ports = {
            "http_port": str(self.http_port),
            "grpc_port": str(self.grpc_port),
            "admin_port": str(self.admin_port),
            "state_dir": str(self.folder / "state"),
        }
        chosen = {**QUICK, **ports, **self.settings}
        environment = {
            key: value
            for key, value in os.environ.items()
            # Telemetry stays unset on purpose: that it is off is the gateway's business.
            if key != "ORT_DISABLE_TELEMETRY" and not key.startswith(("SERVING_", "XDG_"))
        }
        environment |= {"HOME": str(self.home), "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
        # So that one that hangs can be asked where.
        environment["PYTHONFAULTHANDLER"] = "1"
        environment |= {variable(key): value for key, value in chosen.items()}
        environment |= self.environment
        self.process = self._start(environment)

    def _start(self, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        """What no setting says (a variable that is none, what starts it, a terminal) is nothing
        for a process that was forked."""
        command = ("start", str(self.repository), *self.arguments)
        cwd = self.cwd or self.folder
        settings_only = all(key.startswith("SERVING_") for key in self.environment)
        with self.log_path.open("wb") as log, Path(os.devnull).open("rb") as null:
            if settings_only and not self.before and self.terminal is None:
                streams = (null.fileno(), log.fileno(), log.fileno())
                return forked.start(command, environment, cwd, streams)
            return subprocess.Popen(
                [*self.before, sys.executable, "-m", "serving", *command],
                cwd=cwd,
                env=environment,
                stdin=null if self.terminal is None else self.terminal,
                stdout=log if self.terminal is None else self.terminal,
                stderr=subprocess.STDOUT,
            )

    # Addresses

    @property
    def http(self) -> str:
        return f"127.0.0.1:{self.http_port}"

    @property
    def grpc(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def admin(self) -> str:
        return f"127.0.0.1:{self.admin_port}"

    # Asking

    def host_of(self, port: int) -> str:
        """Of an address that it listens on."""
        del port
        return "127.0.0.1"

    def get(
        self,
        path: str,
        data: bytes | None = None,
        method: str | None = None,
        headers: Mapping[str, str] | None = None,
        port: int | None = None,
        timeout: float = 20.0,
    ) -> HttpAnswer:
        asked = port or self.http_port
        request = urllib.request.Request(
            f"http://{self.host_of(asked)}:{asked}{path}",
            data=data,
            method=method,
            headers={"Content-Type": "application/json", **(headers or {})},
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout) as reply:
                return HttpAnswer(reply.status, _lower(reply.headers), reply.read())
        except urllib.error.HTTPError as error:
            with error:
                return HttpAnswer(error.code, _lower(error.headers), error.read())

    def post(self, path: str, body: object, **headers: str) -> HttpAnswer:
        return self.get(path, json.dumps(body).encode(), "POST", headers)

    def infer(self, model: str, body: object, version: int | None = None) -> HttpAnswer:
        versions = f"/versions/{version}" if version is not None else ""
        return self.post(f"/v2/models/{model}{versions}/infer", body)

    def ready(self) -> bool:
        try:
            return self.get("/v2/health/ready", timeout=2).status == 200
        except OSError:
            return False

    def wait_ready(self, timeout: float = START_TIMEOUT_S) -> Gateway:
        def up() -> bool:
            code = self.process.poll()
            assert code is None, f"the gateway ended with {code}:\n{self.log()[-4000:]}"
            return self.ready()

        wait_until(up, timeout, "the gateway is ready")
        return self

    def index(self) -> dict[tuple[str, str], dict[str, str]]:
        """(name, version) -> the repository index's entry."""
        answer = self.get("/v2/repository/index", b"", "POST")
        return {(one["name"], one.get("version", "")): one for one in answer.json()}

    def stats(self, model: str, version: int = 1) -> dict[str, Any]:
        answer = self.get(f"/v2/models/{model}/versions/{version}/stats")
        assert answer.status == 200, answer
        return dict(answer.json()["model_stats"][0])

    def models(self) -> Any:
        return self.get("/api/v1/models", port=self.admin_port).json()

    def metrics_text(self) -> str:
        return self.get("/metrics", port=self.admin_port).body.decode()

    def metric(self, name: str, *, scraped: str | None = None, **labels: str) -> float:
        """The sum of a family's samples that carry these labels; 0 without any. ``scraped``: of
        these metrics, where several figures have to be of one moment.

        Read with a pattern: a whole parser takes 0.3 s for a scrape of forty models.
        """
        text = self.metrics_text() if scraped is None else scraped
        wanted = {f'{key}="{value}"' for key, value in labels.items()}
        total = 0.0
        for found in re.finditer(rf"^{name}(?:{{(.*)}})? (\S+)$", text, re.MULTILINE):
            if wanted <= set((found.group(1) or "").split(",")):
                total += float(found.group(2))
        return total

    # The process

    def rss(self) -> int:
        """Resident bytes."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def peak_rss(self) -> int:
        """The most resident bytes that there ever were."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024

    def cpu_seconds(self) -> float:
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def events(self, name: str) -> list[dict[str, Any]]:
        """The lines of the log with that event."""
        lines = [json.loads(one) for one in self.log().splitlines() if one.startswith("{")]
        return [one for one in lines if one["event"] == name]

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def stop(self, timeout: float = 30.0) -> int:
        """SIGTERM and the exit code; kills, and fails, what does not end in time."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"no exit in {timeout} s:\n{self.log()[-12000:]}") from None

    def assert_clean_log(self) -> None:
        text = self.log()
        bad = re.search(r"Traceback|panicked|RuntimeWarning|core dumped", text)
        assert bad is None, f"{bad.group() if bad else ''} in the log:\n{text[-4000:]}"

    def assert_home_untouched(self) -> None:
        left = [str(path.relative_to(self.home)) for path in self.home.rglob("*")]
        assert not left, f"the home directory was empty and now has {left}"

    def finish(self) -> None:
        """End as a good gateway ends: exit code 0, nothing ugly in the log, home untouched."""
        code = self.stop()
        assert code == 0, f"exit code {code}:\n{self.log()[-4000:]}"
        self.assert_clean_log()
        self.assert_home_untouched()


def _lower(headers: Any) -> dict[str, str]:
    return {key.lower(): value for key, value in headers.items()}
