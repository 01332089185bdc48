"""Gates on a real gateway: what a person may do, and what settings change. Bad versions behind them
are those of ``tests/bad_versions``.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.bad_versions.models import SIDE, X, Y, bent, softmax
from tests.clients import forked
from tests.clients.gateway import Gateway, wait_until
from tests.small_models import TINY_WEIGHTS, tiny, write

ACCURATE = """gates:
  p99_factor: 0
  evaluation:
    data: e.npz
    label: y
    thresholds: {accuracy: {at_least: 0.9, worse_by: 0.01}, log_loss: {worse_by: 0.2}}
"""


def status(gateway: Gateway) -> Any:
    return gateway.get("/api/v1/models/m", port=gateway.admin_port).json()


def verdict(gateway: Gateway, version: int) -> Any:
    found = [v for v in status(gateway)["versions"] if v["version"] == version]
    return found[0]["verdict"] if found else None


def infer(gateway: Gateway, row: Any, version: str = "") -> tuple[int, str]:
    """The status, and the version that answered."""
    x = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": np.asarray(row).tolist()}
    path = f"/v2/models/m{f'/versions/{version}' if version else ''}/infer"
    body = json.dumps({"inputs": [x]}).encode()
    request = urllib.request.Request(f"http://{gateway.http}{path}", body)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)["model_version"]
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.fixture
def lay(repository: Path) -> Callable[..., None]:
    def lay(yaml: str) -> None:
        write(repository, "m", tiny(), yaml=yaml)
        np.savez(repository / "m" / "e.npz", x=X, y=Y, side=SIDE)

    return lay


def serving(gateway: Gateway, *arguments: str) -> str:
    done = forked.run(*arguments, "--admin-url", f"http://{gateway.admin}")
    assert done.returncode == 0, done.stderr
    return done.stdout


def judged(gateway: Gateway, version: int) -> Any:
    return wait_until(lambda: verdict(gateway, version), 120, f"version {version} is judged")


def failed(said: Any) -> list[str]:
    return [f"{c['name']} {c['slice']}".strip() for c in said["checks"] if not c["passed"]]


@pytest.mark.slow
def test_a_version_that_is_less_accurate_is_blessed_by_a_person_only(
    start_gateway: Any, repository: Path, lay: Callable[..., None]
) -> None:
    """By scikit-learn's metrics."""
    lay(ACCURATE)
    gateway = start_gateway(repository)
    first = judged(gateway, 1)
    assert (first["verdict"], first["examples"]) == ("BLESSED", 0)
    assert "the first version of its model" in first["notes"][0]
    write(repository, "m", bent(), 2)
    said = judged(gateway, 2)
    assert failed(said) == ["accuracy"]
    assert infer(gateway, X[0]) == (200, "1")
    assert "done; version 2 answers" in serving(
        gateway, "models", "bless", "m", "2", "--reason", "we know"
    )
    assert infer(gateway, X[0]) == (200, "2")
    said = verdict(gateway, 2)
    assert (said["verdict"], said["reason"]) == ("BLESSED", "we know")
    assert "BLESSED" in serving(gateway, "models", "history", "m")


def asked(gateway: Gateway, kept: int) -> None:
    """Thirty requests were answered, and so many of them are kept, at least."""
    for at in range(30):
        infer(gateway, X[at])
    count = partial(gateway.metric, "serving_gates_replay_requests", model="m")
    wait_until(lambda: not kept or count() >= kept, 20, f"{kept} requests are kept")


@pytest.mark.slow
def test_fault_75_each_setting_of_gates_changes_what_is_seen(
    start_gateway: Any, repository: Path, tmp_path: Path
) -> None:
    write(repository, "m", tiny())
    np.savez(tmp_path / "e.npz", x=X[:60])
    file = tmp_path / "gates.yaml"
    file.write_text("models: {m: {evaluation: {data: e.npz, thresholds: {agreement: 0.9}}}}\n")
    few = {"gates.file": str(file), "gates.min_examples": "61"}
    plain = start_gateway(repository)
    assert verdict(plain, 1) is None
    plain.stop()
    safe = start_gateway(repository, {"gates.safe_to_serve": "true", "gates.p99_factor": "0"})
    asked(safe, 30)
    write(repository, "m", softmax(TINY_WEIGHTS * 1.01), 2)
    said = judged(safe, 2)
    assert "p99_s" not in {check["name"] for check in said["checks"]}
    assert said["requests"] == 30
    safe.stop()
    small = {"gates.safe_to_serve": "true", "gates.replay_requests": "3"}
    none = {"gates.safe_to_serve": "true", "gates.replay": "false"}
    tight = {"gates.safe_to_serve": "true", "gates.replay_bytes": "400"}
    quick = {"gates.safe_to_serve": "true", "gates.timeout_s": "0.001"}
    strict = {"gates.safe_to_serve": "true", "gates.p99_factor": "0.000001"}
    wanted: dict[int, tuple[dict[str, str], int, Callable[[Any], object]]] = {
        4: (few, 30, lambda said: failed(said) == ["examples"]),
        5: (small, 3, lambda said: said["requests"] == 3),
        6: (none, 0, lambda said: "no request of version" in said["notes"][0]),
        7: (tight, 1, lambda said: 0 < said["requests"] <= 25),
        8: (quick, 0, lambda said: failed(said) == ["time"]),
        9: (strict, 30, lambda said: failed(said) == ["p99_s"]),
    }
    for version, (settings, kept, seen) in wanted.items():
        gateway = start_gateway(repository, settings)
        asked(gateway, kept)
        write(repository, "m", softmax(TINY_WEIGHTS * (1 + version / 1000)), version)
        assert seen(judged(gateway, version)), judged(gateway, version)
        gateway.stop()
