"""Programs that an example runs on this machine: a gateway, Prometheus, MLflow."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

ALERTS = Path(__file__).resolve().parents[1] / "deploy" / "monitoring" / "alerts.yaml"
STOP_S = 20.0


class StoryError(Exception):
    """What keeps an example from going on, in words for its user."""


@dataclass
class Service:
    """One that was started here. ``url``: where it answers."""

    name: str
    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def ended(self) -> bool:
        return self.process.poll() is not None

    def stop(self) -> None:
        """By SIGTERM, as an operator would; by force, with all that it started, if that does not
        end it."""
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def start(name: str, url: str, command: Sequence[str], folder: Path, **more: str) -> Service:
    """In a session of its own, so that Ctrl-C reaches only who started it. ``more``: variables."""
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment(**more),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Service(name, url, process, log)


def environment(**more: str) -> dict[str, str]:
    """Without settings of the gateway or of MLflow that somebody has for other purposes."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SERVING_", "MLFLOW_"))}
    return {**kept, **more}


def wait_ready(service: Service, path: str, timeout_s: float) -> None:
    """Raises StoryError where it ends, or does not answer, before."""

    def up() -> bool:
        if service.ended():
            last = service.log.read_text(errors="replace").strip().splitlines()[-5:]
            raise StoryError("\n".join([f"{service.name} ended at its start:", *last]))
        try:
            with urllib.request.urlopen(service.url + path, timeout=2):
                return True
        except OSError:
            return False

    wait_for(up, timeout_s, f"{service.name} answers at {service.url}")


def wait_for(look: Callable[[], T | None], timeout_s: float, what: str) -> T:
    """What ``look`` gives first that counts as true. Raises StoryError."""
    end = time.monotonic() + timeout_s
    while not (found := look()):
        if time.monotonic() > end:
            raise StoryError(f"not within {timeout_s:g} s: {what}")
        time.sleep(0.2)
    return found


def ask(url: str, query: Mapping[str, str] | None = None) -> Any:
    """The JSON that is there. Raises StoryError."""
    full = f"{url}?{urllib.parse.urlencode(query)}" if query else url
    try:
        with urllib.request.urlopen(full, timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise StoryError(
            f"{full}: {error.code} {error.read(300).decode(errors='replace')}"
        ) from None
    except (OSError, ValueError) as error:
        raise StoryError(f"{full}: {error}") from None


def free_port() -> int:
    """Of the loopback interface, free at this moment."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def start_prometheus(folder: Path, target: str) -> Service | None:
    """With the alert rules that the gateway comes with, where they are beside this file. None
    where Prometheus is not installed."""
    program = shutil.which("prometheus")
    if program is None:
        return None
    url = f"127.0.0.1:{free_port()}"
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(ALERTS)] if ALERTS.exists() else [],
        "scrape_configs": [{"job_name": "serving", "static_configs": [{"targets": [target]}]}],
    }
    # JSON is YAML, too.
    (folder / "prometheus.yaml").write_text(json.dumps(config, indent=2))
    options = (
        "--config.file=prometheus.yaml",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address={url}",
    )
    one = start("prometheus", f"http://{url}", [program, *options], folder)
    return _ready(one, "/-/ready", 60)


def start_mlflow(folder: Path) -> Service | None:
    """A tracking server on SQLite. None where MLflow is not installed."""
    program = shutil.which("mlflow")
    if importlib.util.find_spec("mlflow") is not None:
        command = [sys.executable, "-m", "mlflow"]
    elif program is not None:
        command = [program]
    else:
        return None
    port = str(free_port())
    options = (
        *("server", "--host", "127.0.0.1", "--port", port, "--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"),
    )
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    one = start("mlflow", f"http://127.0.0.1:{port}", [*command, *options], folder, **quiet)
    return _ready(one, "/health", 180)


def start_gateway(folder: Path, settings: Mapping[str, str]) -> tuple[Service, dict[str, str]]:
    """On the models below ``folder / "models"``. The service's url is its HTTP port's; addresses
    of its ports, HOST:PORT each."""
    ports = {name: str(free_port()) for name in ("http", "grpc", "admin")}
    chosen = [f"--{name}-port={port}" for name, port in ports.items()]
    others = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    command = [sys.executable, "-m", "serving", "start", "models", "--state-dir", "state"]
    addresses = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    token = os.environ.get("MLFLOW_TRACKING_TOKEN", "")
    more = {"SERVING_TRACKING__MLFLOW__TOKEN": token} if token else {}
    whole = [*command, *chosen, *others]
    one = start("gateway", f"http://{addresses['http']}", whole, folder, **more)
    return _ready(one, "/v2/health/ready", 60), addresses


def _ready(service: Service, path: str, timeout_s: float) -> Service:
    try:
        wait_ready(service, path, timeout_s)
    except BaseException:
        service.stop()
        raise
    return service
