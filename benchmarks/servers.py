"""Servers as processes on their own core."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from benchmarks.load import cores, tool
from benchmarks.models import LeftOutError

ROOT = Path(__file__).resolve().parent.parent
READY_WITHIN_S = 60.0
_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")


def _ticks(pid: int, at: int) -> int:
    """Of a process: a figure for user time, and the one for system time behind it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[at]) + int(fields[at + 1])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    """True when something accepts connections."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def wait_for(
    ready: Callable[[], bool], process: subprocess.Popen[bytes], within_s: float = READY_WITHIN_S
) -> None:
    """Raises RuntimeError when it never is, or the process ended."""
    end = time.monotonic() + within_s
    while not ready():
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError("did not start")
        time.sleep(0.02)


class Server:
    """One process pinned to the server's core, from start to end."""

    def __init__(
        self,
        command: Sequence[str | Path],
        environment: Mapping[str, str],
        log: Path,
        before: Sequence[str] = (),
    ) -> None:
        pinned = [*(before or (tool("taskset"), "-c", str(cores()[0]))), *map(str, command)]
        python_path = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                pinned,
                cwd=log.parent,
                env={
                    **os.environ,
                    "PYTHONPATH": python_path,
                    "ORT_DISABLE_TELEMETRY": "1",
                    # What is installed has compiled modules, whatever the caller's variables say.
                    "PYTHONDONTWRITEBYTECODE": "",
                    **environment,
                },
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def wait(self, ready: Callable[[], bool], within_s: float = READY_WITHIN_S) -> Self:
        """Wait until ``ready``. Raises RuntimeError with the log when it never is."""
        try:
            wait_for(ready, self._process, within_s)
        except RuntimeError as error:
            self.__exit__()
            raise RuntimeError(f"{error}:\n{self._log.read_text()[-3000:]}") from None
        return self

    @property
    def pid(self) -> int:
        return self._process.pid

    def say(self, line: str) -> None:
        """Write a line to the process's standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        return _ticks(self.pid, 11) * _TICK_S

    def cpu_seconds_of_children(self) -> float:
        """Of those that have ended, and of those that are there."""
        there = sum(_ticks(child, 11) for child in self._children())
        return (_ticks(self.pid, 13) + there) * _TICK_S

    def _children(self) -> set[int]:
        tasks = Path(f"/proc/{self.pid}/task").glob("*/children")
        return {int(child) for task in tasks for child in task.read_text().split()}

    def resident_bytes(self) -> int:
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


class Gateway(Server):
    """Ours, on a registry; ready when every model there is loaded or has failed."""

    def __init__(
        self,
        registry: Path,
        folder: Path,
        settings: Mapping[str, str] | None = None,
        entry: Sequence[str] = ("-m", "serving"),
        before: Sequence[str] = (),
        within_s: float = READY_WITHIN_S,
    ) -> None:
        self.http_port, self.grpc_port, self.admin_port = (free_port() for _ in range(3))
        chosen = {
            "HTTP_PORT": self.http_port,
            "GRPC_PORT": self.grpc_port,
            "ADMIN_PORT": self.admin_port,
            "STATE_DIR": folder / "state",
            "SHUTDOWN__DRAIN_DELAY_S": "0",
            "LOG__LEVEL": "warning",
            **(settings or {}),
        }
        super().__init__(
            [sys.executable, *entry, "start", registry],
            {f"SERVING_{key}": str(value) for key, value in chosen.items()},
            folder / "gateway.log",
            before,
        )
        self.wait(self._ready, within_s)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(self.url("/v2/health/ready"), timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.http_port}{path}"

    def stats(self, model: str) -> dict[str, Any]:
        """The model's entry of the statistics extension."""
        with urllib.request.urlopen(self.url(f"/v2/models/{model}/stats")) as answer:
            found: dict[str, Any] = json.load(answer)["model_stats"][0]
        return found

    def scrape(self) -> bytes:
        """The Prometheus text."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}/metrics") as answer:
            return bytes(answer.read())


class GrpcAio(Server):
    """A hand-written ``grpc.aio`` server over the same registry."""

    def __init__(self, registry: Path, folder: Path) -> None:
        self.grpc_port = free_port()
        script = "benchmarks.baselines.grpc_aio"
        arguments = (str(registry), str(self.grpc_port))
        log = folder / "grpc_aio.log"
        super().__init__([sys.executable, "-m", script, *arguments], {}, log)
        self.wait(lambda: answers(self.grpc_port))


class FastApi(Server):
    """A hand-written FastAPI server over the same registry. Raises LeftOutError without it."""

    def __init__(self, registry: Path, folder: Path) -> None:
        missing = [name for name in ("fastapi", "uvloop") if find_spec(name) is None]
        if missing:
            words = "is not installed: 'make bench' does that, or pip install 'serving[bench]'"
            raise LeftOutError(f"{' and '.join(missing)} {words}")
        self.http_port = free_port()
        script = "benchmarks.baselines.fastapi_app"
        arguments = (str(registry), str(self.http_port))
        log = folder / "fastapi.log"
        super().__init__([sys.executable, "-m", script, *arguments], {}, log)
        self.wait(lambda: answers(self.http_port))


class MlflowServe(Server):
    """``mlflow models serve`` of one model, by the Python that ``MLFLOW_PYTHON`` names (it has
    mlflow-skinny, fastapi, uvicorn, onnx, onnxruntime and pandas), else by the one that the tests
    have made in ``cache``. Raises LeftOutError without."""

    def __init__(self, model: Path, folder: Path, cache: Path) -> None:
        python = os.environ.get("MLFLOW_PYTHON") or _scoring_python(cache)
        if not python:
            raise LeftOutError(
                "there is no MLflow: run the tests marked mlflow once (python -m pytest -m mlflow"
                " tests/e2e/test_mlflow_models_serve.py installs it in .cache/), or name a Python"
                " that has mlflow-skinny, fastapi, uvicorn, onnx, onnxruntime and pandas in"
                " MLFLOW_PYTHON"
            )
        self.http_port = free_port()
        saved = folder / "saved"
        save = "from mlflow.onnx import save_model; import onnx, sys; "
        save += "save_model(onnx.load(sys.argv[1]), sys.argv[2])"
        subprocess.run([python, "-c", save, str(model), str(saved)], check=True)
        serve = ("-m", "mlflow", "models", "serve", "--env-manager", "local", "--model-uri", saved)
        environment = {
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "PYTHONPATH": "",
            "PATH": f"{Path(python).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        }
        port = ("--port", str(self.http_port))
        super().__init__([python, *serve, *port], environment, folder / "mlflow.log")
        self.wait(lambda: answers(self.http_port), 2 * READY_WITHIN_S)


def _scoring_python(cache: Path) -> str | None:
    """``cache``: what the tests, and the benchmarks, have fetched and made."""
    found = sorted(cache.glob("mlflow-skinny-*/whole"))
    return str(found[-1].parent / "bin" / "python") if found else None


class Nghttpd(Server):
    """nghttp2's server with one small static file: what the wire alone costs."""

    path = "/answer"

    def __init__(self, folder: Path) -> None:
        self.grpc_port = free_port()
        root = folder / "static"
        root.mkdir()
        (root / "answer").write_bytes(bytes(60))
        command = [tool("nghttpd"), "--no-tls", "-d", str(root), str(self.grpc_port)]
        super().__init__(command, {}, folder / "nghttpd.log")
        self.wait(lambda: answers(self.grpc_port))


class Spike(Server):
    """The throw-away proof of the split: no validation, no limits, no versions."""

    def __init__(self, library: Path, registry: Path, folder: Path) -> None:
        self.grpc_port = free_port()
        modules = folder / "modules"
        modules.mkdir()
        shutil.copy(library, modules / "core_spike.so")
        script = "benchmarks.baselines.spike_server"
        super().__init__(
            [sys.executable, "-m", script, registry, str(self.grpc_port)],
            {"PYTHONPATH": f"{ROOT}{os.pathsep}{modules}"},
            folder / "spike.log",
        )
        self.wait(lambda: answers(self.grpc_port))


def spike_library(cache: Path) -> Path:
    """The spike's extension: ``SPIKE_SO``, or built once from ``SPIKE_DIR``.

    Raises LeftOutError when neither is given or the build fails.
    """
    if given := os.environ.get("SPIKE_SO"):
        return Path(given)
    source = os.environ.get("SPIKE_DIR")
    if not source or not Path(source).is_dir():
        raise LeftOutError("the throw-away core is not here: SPIKE_DIR names no folder of it")
    copy = cache / "spike"
    library = copy / "target" / "release" / "libcore_spike.so"
    if not library.is_file():
        shutil.copytree(source, copy, dirs_exist_ok=True, copy_function=shutil.copyfile)
        for folder in (copy, *copy.rglob("*/")):
            # The original may be read-only.
            folder.chmod(0o755)
        print("building the spike", flush=True)
        done = subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=copy, check=False)
        if done.returncode != 0:
            raise LeftOutError("the spike did not build (it needs protoc)")
    return library
