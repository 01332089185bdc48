"""The wheel as the image's build step makes it, and environments that hold only it."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.clients.gateway import ROOT, free_ports
from tests.package import constraints

DOCKER = ROOT / "deploy" / "docker"


def build(folder: Path) -> Path:
    """The wheel, with the profile that the tests' own core was built with."""
    run([DOCKER / "build.sh", folder], PROFILE="dev")
    (wheel,) = folder.glob("serving-*.whl")
    return wheel


def install(wheel: Path, prefix: Path) -> Path:
    """A new environment at ``prefix`` with the wheel, onnxruntime, and nothing else."""
    # Where the checkout's own packages are locked (`make lock`), so are these.
    locked = {"PIP_CONSTRAINT": str(constraints.FILE)} if os.environ.get("LOCKED") else {}
    run([DOCKER / "install.sh", wheel.parent, prefix], **locked)
    return prefix


def run(command: Sequence[str | Path], **environment: str) -> str:
    """Run to the end with a clean Python environment; its output, or a failure with it."""
    done = subprocess.run(
        [str(part) for part in command],
        env={**clean_environment(), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


def clean_environment() -> dict[str, str]:
    """This one's, without what would let the checkout or its environment shine through."""
    hidden = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "ORT_DISABLE_TELEMETRY")
    return {
        key: value
        for key, value in os.environ.items()
        if key not in hidden and not key.startswith("SERVING_")
    }


@contextmanager
def serving(
    command: Sequence[str | Path], folder: Path, environment: Mapping[str, str]
) -> Iterator[dict[str, int]]:
    """Run a gateway until the block ends; its ``http``, ``grpc`` and ``admin`` ports.

    It must become ready, end with exit status 0, and leave no stack trace.
    """
    ports = dict(zip(("http", "grpc", "admin"), free_ports(3), strict=True))
    settings = {f"SERVING_{door.upper()}_PORT": str(port) for door, port in ports.items()}
    settings["SERVING_SHUTDOWN__DRAIN_DELAY_S"] = "0.1"
    log = folder / "serving.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=folder,
            env={**clean_environment(), **settings, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_ready(process, ports["http"], log)
        yield ports
        process.terminate()
        assert process.wait(30) == 0, log.read_text()
        assert "Traceback" not in log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _wait_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + 60
    while True:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            assert time.monotonic() < end, f"not ready:\n{log.read_text()}"
            time.sleep(0.1)


def settled_copy(source: Path, target: Path) -> Path:
    """A registry that somebody else may read, whoever owns the checkout."""
    shutil.copytree(source, target)
    for path in (target, *target.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return target
