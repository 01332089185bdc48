"""Models in an S3 bucket: published there, followed under load, and never served in part, whatever
the network does."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.clients.gateway import ROOT, Gateway, wait_until
from tests.clients.load import BODY, Load
from tests.clients.moto_environment import Proxy, Spoiling, s3_server, variables
from tests.small_models import scale, write

# The first time, moto and what it needs are installed.
pytestmark = [pytest.mark.object_store, pytest.mark.slow, pytest.mark.timeout(900)]


_BUCKETS = itertools.count()


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_server(tmp_path_factory.mktemp("moto")) as url:
        yield url


@pytest.fixture
def bucket(moto: str) -> Iterator[tuple[Proxy, str]]:
    """A proxy in front of it, and the URL of a place in a bucket of the test's own."""
    name = f"bucket{next(_BUCKETS)}"
    requests.put(f"{moto}/{name}", timeout=10).raise_for_status()
    proxy = Proxy(moto)
    try:
        yield proxy, f"s3://{name}/models"
    finally:
        proxy.close()


def publish(proxy: Proxy, url: str, folder: Path, factor: float, *more: str) -> Any:
    file = folder / f"scale{factor}.onnx"
    file.write_bytes(scale(factor).SerializeToString())
    command = (sys.executable, "-m", "serving", "publish", str(file), "--to", url)
    return subprocess.run(
        [*command, "--model", "m", "--json", *more],
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables(proxy.url)},
        capture_output=True,
        text=True,
        check=False,
    )


def start(start_gateway: Any, repository: Path, proxy: Proxy, url: str, **more: str) -> Gateway:
    settings = {"registry.store_poll_s": "0.5", "registry.store_timeout_s": "2", **more}
    settings |= {"loading.retry_first_s": "0.3", "loading.retry_max_s": "0.3"}
    gateway: Gateway = start_gateway(
        repository, settings, arguments=(url,), environment=variables(proxy.url)
    )
    return gateway


def answers(gateway: Gateway, model: str, version: int) -> None:
    def answered() -> bool:
        answer = gateway.get(f"/v2/models/{model}/infer", BODY, "POST")
        return answer.status == 200 and answer.json()["model_version"] == str(version)

    wait_until(answered, 60, f"version {version} of {model} answers")


def reason(gateway: Gateway, version: int) -> str:
    return gateway.index().get(("m", str(version)), {}).get("reason", "")


def test_versions_that_are_published_there_come_under_load(
    start_gateway: Any, repository: Path, tmp_path: Path, bucket: tuple[Proxy, str]
) -> None:
    proxy, url = bucket
    (tmp_path / "data.jsonl").write_text('{"X": [1, 2]}\n')
    done = publish(proxy, url, tmp_path, 1, "--training-data", str(tmp_path / "data.jsonl"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["path"] == f"{url}/m/1"
    again = publish(proxy, url, tmp_path, 1, "--version", "1")
    assert (again.returncode, "version 1 exists already" in again.stderr) == (1, True)
    write(repository, "local", scale(1))
    gateway = start(start_gateway, repository, proxy, url)
    answers(gateway, "m", 1)
    answers(gateway, "local", 1)
    (view,) = gateway.get("/api/v1/models/m", port=gateway.admin_port).json()["versions"]
    assert view["baseline"] == "baseline.pb"
    with Load(gateway, "m", clients=1, limit_s=300) as load:
        assert publish(proxy, url, tmp_path, 2).returncode == 0
        wait_until(lambda: load.versions["2"] > 10, 60, "version 2 answers")
        # A manifest is the last thing that is written.
        puts = [path for method, path in proxy.asked if method == "PUT" and "/m/2/" in path]
        assert puts[-1].endswith("serving_manifest.json")
        proxy.spoiling = Spoiling(status=503)
        wait_until(lambda: "can't be asked since" in gateway.log(), 60, "the log says so")
        assert gateway.post("/v2/repository/index", {}).status == 200
        proxy.spoiling = Spoiling()
        assert publish(proxy, url, tmp_path, 3).returncode == 0
        wait_until(lambda: load.versions["3"] > 10, 60, "version 3 answers")
    assert not load.failures
    assert not load.refused


@pytest.mark.parametrize("spoiling", [Spoiling(cut=30), Spoiling(flip=True), Spoiling(delay_s=4)])
def test_what_the_network_spoils_is_not_served_and_comes_later(
    start_gateway: Any,
    repository: Path,
    tmp_path: Path,
    bucket: tuple[Proxy, str],
    spoiling: Spoiling,
) -> None:
    proxy, url = bucket
    direct = Proxy(proxy.target)
    assert publish(direct, url, tmp_path, 1).returncode == 0
    gateway = start(start_gateway, repository, proxy, url)
    answers(gateway, "m", 1)
    proxy.spoiling = spoiling
    assert publish(direct, url, tmp_path, 2).returncode == 0
    if spoiling.delay_s:
        wait_until(lambda: "can't be asked since" in gateway.log(), 60, "the log says so")
    else:
        wait_until(lambda: reason(gateway, 2), 60, "version 2 fails")
    assert gateway.get("/v2/models/m/infer", BODY, "POST").status == 200
    assert gateway.get("/v2/models/m/versions/2/infer", BODY, "POST").status != 200
    proxy.spoiling = Spoiling()
    answers(gateway, "m", 2)


def test_fault_17_a_start_without_the_bucket_serves_the_last_copies(
    start_gateway: Any, repository: Path, tmp_path: Path, bucket: tuple[Proxy, str]
) -> None:
    proxy, url = bucket
    assert publish(proxy, url, tmp_path, 1).returncode == 0
    state = {"state_dir": str(tmp_path / "state")}
    gateway = start(start_gateway, repository, proxy, url, **state)
    answers(gateway, "m", 1)
    assert gateway.stop() == 0
    proxy.spoiling = Spoiling(status=503)
    alone = start(start_gateway, repository, proxy, url, **state)
    answers(alone, "m", 1)
    proxy.spoiling = Spoiling()
    assert publish(proxy, url, tmp_path, 2).returncode == 0
    answers(alone, "m", 2)
