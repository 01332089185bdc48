"""perf_analyzer, as its users run it, in short windows: it must be able to drive us."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import real_models
from tests.clients.gateway import Gateway

pytestmark = pytest.mark.slow

CLIENT = "tritonclient==2.51.0"
# A library that the binary wants and the wheel lacks.
BASE64 = "libb64-0d"
RUNTIME = "nvidia-cuda-runtime-cu12==12.6.77"
ANY_PYTHON = ("--python-version", "3.11", "--only-binary=:all:")
PLATFORM = (*ANY_PYTHON, "--platform", "manylinux1_x86_64", "--platform", "manylinux2014_x86_64")


def _member(wheel: Path, ending: str, folder: Path) -> Path:
    to = folder / Path(ending).name
    if not to.exists():
        with zipfile.ZipFile(wheel) as archive:
            (found,) = [one for one in archive.namelist() if one.endswith(ending)]
            folder.mkdir(parents=True, exist_ok=True)
            part = to.with_suffix(".part")
            part.write_bytes(archive.read(found))
            part.chmod(0o755)
            part.rename(to)
    return to


def _run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def _debian(package: str, folder: Path) -> None:
    """The package's shared libraries, unpacked beside the binary, not installed."""
    if any(folder.glob("libb64.so*")) or shutil.which("apt-get") is None:
        return
    with tempfile.TemporaryDirectory(dir=folder) as part:
        fetch = ["apt-get", "download", package]
        if subprocess.run(fetch, cwd=part, capture_output=True, check=False).returncode:
            return
        (file,) = Path(part).glob("*.deb")
        subprocess.run(["dpkg", "-x", file, part], check=True)
        for library in Path(part).rglob("libb64.so*"):
            shutil.copy(library, folder / library.name)


@pytest.fixture(scope="module")
def analyzer() -> tuple[Path, dict[str, str]]:
    if platform.machine() != "x86_64":
        pytest.skip("the wheel has an x86-64 binary only")
    folder = real_models.CACHE / "perf_analyzer"
    binary = _member(real_models.wheel(CLIENT, *PLATFORM), "/perf_analyzer", folder)
    _member(real_models.wheel(RUNTIME, *PLATFORM), "/libcudart.so.12", folder)
    _debian(BASE64, folder)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder)}
    probe = _run([str(binary), "--version"], environment)
    if "GLIBC" in probe.stderr or "cannot open shared object" in probe.stderr:
        pytest.skip(f"the binary does not run on this system: {probe.stderr.strip()[:200]}")
    return binary, environment


# Three windows of so many requests, whatever they say.
_SHORT = [
    *("--measurement-mode", "count_windows", "--measurement-request-count", "50"),
    *("-s", "999", "-r", "3"),
]

WAYS = {
    "grpc": ["-i", "grpc"],
    "grpc streaming": ["-i", "grpc", "--streaming"],
    "grpc compressed": ["-i", "grpc", "--grpc-compression-algorithm", "gzip"],
    "http binary": ["-i", "http"],
    "http json": ["-i", "http", "--input-tensor-format", "json", "--output-tensor-format", "json"],
}


@pytest.mark.parametrize(
    ("way", "model"),
    [*[(way, "tiny") for way in WAYS], ("grpc", "add_sub"), ("grpc", "cumulative")],
)
def test_perf_analyzer_measures_without_a_failure(
    analyzer: tuple[Path, dict[str, str]], gateway: Gateway, tmp_path: Path, way: str, model: str
) -> None:
    _measures(analyzer, gateway, tmp_path, way, model)


@pytest.mark.parametrize("way", ["grpc", "grpc streaming", "http binary"])
def test_perf_analyzer_measures_shared_memory(
    analyzer: tuple[Path, dict[str, str]],
    start_gateway: Callable[..., Gateway],
    common_repository: Path,
    tmp_path: Path,
    way: str,
) -> None:
    gateway = start_gateway(common_repository, {"shared_memory.enabled": "true"})
    shared = ("--shared-memory", "system", "--output-shared-memory-size", "1024")
    _measures(analyzer, gateway, tmp_path, way, "add_sub", *shared)
    assert '"event":"region_registered"' in gateway.log().replace(": ", ":")


@pytest.mark.parametrize("rows", [("-b", "4"), ("--shape", "x:1,4")], ids=["four", "one"])
@pytest.mark.parametrize("signature", [(), ("--model-signature-name", "serving_default")])
def test_perf_analyzer_measures_as_a_client_of_tensorflow_serving(
    analyzer: tuple[Path, dict[str, str]],
    gateway: Gateway,
    tmp_path: Path,
    rows: tuple[str, ...],
    signature: tuple[str, ...],
) -> None:
    binary, environment = analyzer
    command = [str(binary), "-m", "tiny", "-u", gateway.grpc, "-i", "grpc"]
    command += ["--service-kind", "tfserving", *rows, *signature, "--concurrency-range", "4"]
    command += [*_SHORT, "-f", str(tmp_path / "report.csv")]
    done = _run(command, environment)
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    # There are no statistics of the server's to be shown.
    assert_throughput(text)


def _measures(
    analyzer: tuple[Path, dict[str, str]],
    gateway: Gateway,
    tmp_path: Path,
    way: str,
    model: str,
    *more: str,
) -> None:
    binary, environment = analyzer
    url = gateway.grpc if "grpc" in way else gateway.http
    command = [str(binary), "-m", model, "-u", url, *WAYS[way], *more, "--concurrency-range", "4"]
    command += [*_SHORT, "--percentile=95", "-f", str(tmp_path / "report.csv")]
    if model == "cumulative":
        command += ["--shape", "X:5,2"]
    done = _run(command, environment)
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    assert_measured(text)


def assert_measured(text: str) -> None:
    assert_throughput(text)
    assert "Server:" in text, f"no server statistics were shown:\n{text}"


def assert_throughput(text: str) -> None:
    found = re.search(r"throughput: ([0-9.]+) infer/sec", text)
    assert found, text
    assert float(found.group(1)) > 0
    assert not re.search(r"Failed requests?: [1-9]|error", text, re.IGNORECASE), text


@pytest.mark.parametrize("way", ["grpc", "http binary"])
def test_perf_analyzer_collects_metrics_from_the_admin_port(
    analyzer: tuple[Path, dict[str, str]], gateway: Gateway, tmp_path: Path, way: str
) -> None:
    binary, environment = analyzer
    report = tmp_path / "report.csv"
    command = [str(binary), "-m", "tiny", "-u", gateway.grpc if way == "grpc" else gateway.http]
    command += [*WAYS[way], "--concurrency-range", "2", *_SHORT]
    command += ["--collect-metrics", "--metrics-url", f"{gateway.admin}/metrics"]
    command += ["--metrics-interval", "50", "-f", str(report)]
    done = _run(command, environment)
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    assert_measured(text)
    # It stands there only if it was answered.
    assert "Server Prometheus Metrics" in text, text
    assert report.stat().st_size > 0
