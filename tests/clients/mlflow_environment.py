"""An environment that holds MLflow, made once in ``.cache/``, and servers out of it.

The whole package (850 MB with what it needs, four minutes to install on two slow cores): the
slim one has no server.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from tests.clients import environments
from tests.clients.gateway import free_ports, wait_until

REQUIREMENT = "mlflow==3.17.2"
START_TIMEOUT_S = 180.0


def python() -> Path:
    """The environment's interpreter; skips the test, loudly, only when the package index is
    out of reach (with ``CI=true`` that is a failure)."""
    return environments.interpreter(REQUIREMENT, 1500)


# MLflow without its tracking server, and what scoring ONNX models takes: a quarter of the whole.
SCORING = "mlflow-skinny==3.17.2"
_NEEDED = ("fastapi", "onnx", "onnxruntime", "pandas", "pyarrow", "scipy", "uvicorn")


def scoring_python() -> Path:
    """As ``python``, of the environment that scores."""
    return environments.interpreter(SCORING, 900, (SCORING, *_NEEDED))


def scoring_environment(home: Path) -> dict[str, str]:
    """For processes of it."""
    return _environment(scoring_python(), home)


def _environment(interpreter: Path, home: Path) -> dict[str, str]:
    """Nothing of ours, and nothing sent anywhere. MLflow starts uvicorn by name."""
    inherited = environments.variables()
    kept = {key: value for key, value in inherited.items() if not key.startswith("MLFLOW_")}
    path = f"{interpreter.parent}:{kept.get('PATH', '')}"
    told = {"HOME": str(home), "MLFLOW_DISABLE_TELEMETRY": "true", "ORT_DISABLE_TELEMETRY": "1"}
    return {**kept, "PATH": path, **told}


def end(process: subprocess.Popen[bytes], number: int) -> None:
    """A process that leads a session, with all that it has started."""
    os.killpg(process.pid, number)
    process.wait()


@dataclass
class MlflowServer:
    """``mlflow server`` on SQLite in a folder; the port and the data outlive its processes.
    ``more``: variables of its own."""

    folder: Path
    more: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.port,) = free_ports(1)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> MlflowServer:
        interpreter = python()
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(str(interpreter), "-m", "mlflow", "server"),
                    *("--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db"),
                    *("--artifacts-destination", str(self.folder / "artifacts")),
                    *("--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"),
                ],
                env={
                    **_environment(interpreter, self.folder),
                    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
                    **self.more,
                },
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(self._up, START_TIMEOUT_S, "MLflow answers", every=0.2)
        return self

    def kill(self) -> None:
        """SIGKILL to the server and its workers."""
        if self.process is not None:
            self._signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def hang(self) -> None:
        """Connections are taken by the system, and nobody answers."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def post(self, path: str, body: object) -> Any:
        answer = requests.post(f"{self.uri}/api/2.0/mlflow/{path}", json=body, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def get(self, path: str, **query: str) -> Any:
        url = f"{self.uri}/api/2.0/mlflow/{path}"
        answer = requests.get(url, params=query, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def runs(self, experiment: str = "serving") -> list[dict[str, Any]]:
        """Of the experiment, oldest first; none while there is no such experiment."""
        url = f"{self.uri}/api/2.0/mlflow/experiments/get-by-name"
        found = requests.get(url, params={"experiment_name": experiment}, timeout=30)
        if found.status_code == 404:
            return []
        number = found.json()["experiment"]["experiment_id"]
        asked = {
            "experiment_ids": [number],
            "max_results": 1000,
            "order_by": ["attributes.start_time ASC"],
        }
        return list(self.post("runs/search", asked).get("runs", []))

    def history(self, run_id: str, key: str) -> list[dict[str, Any]]:
        """All points of a curve, by step."""
        answer = self.get("metrics/get-history", run_id=run_id, metric_key=key, max_results="10000")
        return sorted(answer.get("metrics", []), key=lambda point: int(point.get("step", 0)))

    def _signal(self, number: int) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, number)

    def _up(self) -> bool:
        assert self.process is not None
        log = self.folder / "server.log"
        assert self.process.poll() is None, log.read_text(errors="replace")[-4000:]
        try:
            return requests.get(f"{self.uri}/health", timeout=5).status_code == 200
        except requests.RequestException:
            return False
