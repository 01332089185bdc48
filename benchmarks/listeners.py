"""Who is told what the gateway notes: on the load's core, away from the server's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Self

from benchmarks.load import pinned
from benchmarks.servers import ROOT, answers, free_port, wait_for

_STARTS_WITHIN_S = 180.0


class Listener:
    """A process that listens on a port of its own, which it keeps when it is started again."""

    def __init__(
        self,
        name: str,
        command: Callable[[int], list[str]],
        folder: Path,
        environment: dict[str, str],
    ) -> None:
        self.port = free_port()
        self._command = [*pinned(), *command(self.port)]
        self._folder = folder
        self._log = folder / f"{name}.log"
        self._environment = {**os.environ, **environment, "HOME": str(folder)}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Returns when it listens. Raises RuntimeError where it never does."""
        with self._log.open("ab") as log:
            process = self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_for(lambda: answers(self.port), process, _STARTS_WITHIN_S)

    def kill(self) -> None:
        """With its workers; nothing of it is kept."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """From now on it takes connections and answers nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None, "it was not started"
        os.killpg(self._process.pid, number)


def sink(folder: Path) -> Listener:
    """Takes spans, and counts their bytes."""

    def command(port: int) -> list[str]:
        return [sys.executable, "-m", "benchmarks.baselines.sink", str(port)]

    return Listener("sink", command, folder, {"PYTHONPATH": str(ROOT)})


def mlflow(cache: Path, folder: Path) -> Listener | None:
    """An MLflow server on SQLite, from the environment that the tests have made; None where
    they have not. ``cache``: the benchmarks' own."""
    # The slim package, mlflow-skinny, has no server.
    found = sorted(cache.parent.glob("mlflow-[0-9]*/whole"))
    if not found:
        return None
    python = found[-1].parent / "bin" / "python"
    store = f"sqlite:///{folder}/mlflow.db"

    def command(port: int) -> list[str]:
        server = (str(python), "-m", "mlflow", "server", "--backend-store-uri", store)
        return [*server, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]

    environment = {
        "PYTHONPATH": "",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # It starts uvicorn by name.
        "PATH": f"{python.parent}:{os.environ['PATH']}",
    }
    return Listener("mlflow", command, folder, environment)
