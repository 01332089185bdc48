"""MLflow's own client, and MLflow's own server of the same folders: their answers are ours."""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.clients import mlflow_environment
from tests.clients.gateway import ROOT, Gateway, free_ports, wait_until
from tests.small_models import IR_VERSION, OPSET, identity, scale

# The first time, MLflow and what it scores with are installed.
pytestmark = [pytest.mark.mlflow, pytest.mark.timeout(1200)]

CALLS = ROOT / "tests" / "clients" / "mlflow_calls.py"
KINDS = ("tensor", "halves", "columns")
START_S = 120.0


def _sums() -> bytes:
    """``Y``: the sum of each row of ``X`` [n, 3]. A matrix its server answers by the element."""
    node = helper.make_node("ReduceSum", ["X", "axes"], ["Y"], keepdims=0)
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node],
        "graph",
        [value("X", TensorProto.FLOAT, ["n", 3])],
        [value("Y", TensorProto.FLOAT, ["n"])],
        [numpy_helper.from_array(np.array([1]), "axes")],
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    return bytes(model.SerializeToString())


def _run(home: Path, *arguments: str) -> str:
    done = subprocess.run(
        [str(mlflow_environment.scoring_python()), str(CALLS), *arguments],
        env=mlflow_environment.scoring_environment(home),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models, saved by MLflow."""
    folder = tmp_path_factory.mktemp("saved")
    (folder / "tensor.onnx").write_bytes(scale(2, ["n", 3]).SerializeToString())
    (folder / "halves.onnx").write_bytes(identity("FP16", ["n", 3]).SerializeToString())
    (folder / "columns.onnx").write_bytes(_sums())
    _run(folder, "save", str(folder))
    return folder


def _pings(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture(scope="module")
def theirs(saved: Path) -> Iterator[dict[str, int]]:
    """``mlflow models serve`` of each: kind -> port."""
    ports = dict(zip(KINDS, free_ports(len(KINDS)), strict=True))
    python = str(mlflow_environment.scoring_python())
    environment = mlflow_environment.scoring_environment(saved)
    started = []
    for kind, port in ports.items():
        command = [python, "-m", "mlflow", "models", "serve", "--model-uri", str(saved / kind)]
        command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
        with (saved / f"{kind}.log").open("wb") as log:
            started.append(
                subprocess.Popen(
                    command, env=environment, stdout=log, stderr=log, start_new_session=True
                )
            )
    try:
        for port in ports.values():
            wait_until(lambda port=port: _pings(port), START_S, "MLflow's server answers", 0.2)
        yield ports
    finally:
        for process in started:
            mlflow_environment.end(process, signal.SIGKILL)


@pytest.fixture(scope="module")
def seen(
    saved: Path, theirs: dict[str, int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, tuple[dict[str, Any], dict[str, Any]]]]:
    """What the client made of our answers, and of theirs."""
    folder = tmp_path_factory.mktemp("gateways")
    ours = {kind: Gateway(saved / kind, folder / kind) for kind in KINDS}
    try:
        ports = {kind: one.wait_ready().http_port for kind, one in ours.items()}
        urls = [
            f"{kind}=http://127.0.0.1:{side[kind]}" for side in (ports, theirs) for kind in KINDS
        ]
        found = json.loads(_run(saved, "ask", *urls).splitlines()[-1])
        yield {kind: (found[at], found[at + len(KINDS)]) for at, kind in enumerate(KINDS)}
    finally:
        for one in ours.values():
            one.finish()


@pytest.mark.parametrize("kind", KINDS)
def test_mlflows_client_gets_from_us_what_it_gets_from_mlflow(
    seen: dict[str, tuple[dict[str, Any], dict[str, Any]]], kind: str
) -> None:
    ours, theirs = seen[kind]
    assert ours.keys() == theirs.keys()
    answered = 0
    for name, found in theirs.items():
        if isinstance(found, dict) and "error" in found:
            assert _refusal(ours[name]) == _refusal(found), name
        else:
            # FP32 is printed here by its own digits, and there by FP64's.
            _assert_close(ours[name], found)
            answered += 1
    assert answered > len(theirs) // 2


def _refusal(found: dict[str, Any]) -> tuple[str, str, str]:
    """The status, the code and the class in the text of the client's error."""
    head, _, body = found["error"].partition("response: ")
    said = json.loads(body.rstrip().removesuffix(")"))
    return head, said["error_code"], said["error_class"]


def _assert_close(ours: Any, theirs: Any) -> None:
    assert type(ours) is type(theirs)
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        for key, value in theirs.items():
            _assert_close(ours[key], value)
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            _assert_close(one, other)
    else:
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
