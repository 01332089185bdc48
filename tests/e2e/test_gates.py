"""Bad versions behind gates, on a real gateway at steady load: none answers a single request."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.clients import forked
from tests.clients.gateway import Gateway, wait_until
from tests.small_models import TINY_WEIGHTS, tiny, write

RNG = np.random.default_rng(1)
X = RNG.normal(size=(400, 4)).astype(np.float32)
Y = np.argmax(X @ TINY_WEIGHTS, axis=1)
SIDE = np.where(X[:, 0] > 1, "right", "left")
SAFE = "gates: {safe_to_serve: true, p99_factor: 0}\n"
AGREES = """gates:
  p99_factor: 0
  evaluation:
    data: e.npz
    slices: [side]
    thresholds: {agreement: 0.55}
"""
ACCURATE = """gates:
  p99_factor: 0
  evaluation:
    data: e.npz
    label: y
    thresholds: {accuracy: {at_least: 0.9, worse_by: 0.01}, log_loss: {worse_by: 0.2}}
"""


def softmax(weights: Any) -> onnx.ModelProto:
    model = tiny()
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.asarray(weights, "f4"), "w"))
    return model


def bent() -> onnx.ModelProto:
    """The first feature counts the other way: that shows where there is much of it."""
    weights = TINY_WEIGHTS.copy()
    weights[0] *= -0.5
    return softmax(weights)


def nan() -> onnx.ModelProto:
    weights = TINY_WEIGHTS.copy()
    weights[0, 0] = np.nan
    return softmax(weights)


def wide() -> onnx.ModelProto:
    """Five scores, where the signature leaves open how many."""
    model = softmax(np.ones((4, 5)))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "k"
    return model


def failing() -> onnx.ModelProto:
    """Runs on small numbers only: it takes the first feature for an index."""
    table = numpy_helper.from_array(np.zeros((1, 3), np.float32), "table")
    column, squeezed = np.array([0]), np.array([1])
    nodes = [
        helper.make_node("Gather", ["x", "column"], ["first"], axis=1),
        helper.make_node("Squeeze", ["first", "axis"], ["flat"]),
        helper.make_node("Cast", ["flat"], ["index"], to=onnx.TensorProto.INT64),
        helper.make_node("Gather", ["table", "index"], ["y"], axis=0),
    ]
    model = tiny()
    graph = helper.make_graph(
        nodes,
        "graph",
        list(model.graph.input),
        list(model.graph.output),
        [
            table,
            numpy_helper.from_array(column, "column"),
            numpy_helper.from_array(squeezed, "axis"),
        ],
    )
    return helper.make_model(graph, opset_imports=list(model.opset_import), ir_version=8)


def slow() -> onnx.ModelProto:
    """Many times as long as it has to be."""
    model = tiny()
    eye = numpy_helper.from_array(np.eye(512, dtype=np.float32), "eye")
    zero = numpy_helper.from_array(np.zeros((4, 512), np.float32), "zero")
    back = numpy_helper.from_array(np.zeros((512, 4), np.float32), "back")
    nodes = [helper.make_node("MatMul", ["x", "zero"], ["s0"])]
    nodes += [helper.make_node("MatMul", [f"s{n}", "eye"], [f"s{n + 1}"]) for n in range(60)]
    nodes += [
        helper.make_node("MatMul", ["s60", "back"], ["nothing"]),
        helper.make_node("Add", ["x", "nothing"], ["same"]),
        helper.make_node("MatMul", ["same", "w"], ["z"]),
        helper.make_node("Softmax", ["z"], ["y"], axis=-1),
    ]
    initializers = [*model.graph.initializer, eye, zero, back]
    graph = helper.make_graph(
        nodes, "graph", list(model.graph.input), list(model.graph.output), initializers
    )
    return helper.make_model(graph, opset_imports=list(model.opset_import), ir_version=8)


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


@contextmanager
def steady_load(gateway: Gateway) -> Iterator[Counter[tuple[int, str]]]:
    """One user after the other, and who answered them."""
    seen: Counter[tuple[int, str]] = Counter()
    stop = threading.Event()

    def go() -> None:
        at = 0
        while not stop.wait(0.01):
            at += 1
            seen[infer(gateway, X[at % len(X)])] += 1

    thread = threading.Thread(target=go)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


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


def recorded(gateway: Gateway, seen: Counter[tuple[int, str]]) -> None:
    """Enough requests of users are kept, of every kind that they send."""
    kept = partial(gateway.metric, "serving_gates_replay_requests", model="m")
    wait_until(lambda: seen[200, "1"] > 40 and kept() > 40, 60, "users are served")


def test_bad_versions_answer_no_user_and_a_good_one_does(
    start_gateway: Any, repository: Path, lay: Callable[..., None], tmp_path: Path
) -> None:
    lay(AGREES)
    state = {"state_dir": str(tmp_path / "state")}
    gateway = start_gateway(repository, state)
    bad = {2: (nan, "finite"), 3: (wide, "shapes and datatypes"), 4: (failing, "runs")}
    with steady_load(gateway) as seen:
        recorded(gateway, seen)
        for version, (make, name) in bad.items():
            write(repository, "m", make(), version)
            said = judged(gateway, version)
            assert said["verdict"] == "NOT_BLESSED"
            assert name in failed(said), said
            assert said["requests"] > 0
        write(repository, "m", bent(), 5)
        assert failed(judged(gateway, 5)) == ["agreement side=right"]
        shown = serving(gateway, "models", "status", "m")
        assert "FAILED agreement of side=right" in shown
        assert "held against version 1" in shown
        code, words = infer(gateway, X[0], "5")
        assert (code, "kept from traffic by its gates" in words) == (503, True)
        write(repository, "m", softmax(TINY_WEIGHTS * 1.01), 6)
        assert judged(gateway, 6)["verdict"] == "BLESSED"
        wait_until(lambda: seen[200, "6"], 20, "version 6 answers")
    assert set(seen) == {(200, "1"), (200, "6")}
    assert gateway.stop() == 0
    again = start_gateway(repository, state)
    assert infer(again, X[0]) == (200, "6")
    assert again.log().count("gates_begin") == 0


@pytest.mark.slow
def test_a_version_that_is_three_times_as_slow_answers_no_user(
    start_gateway: Any, repository: Path, lay: Callable[..., None]
) -> None:
    lay("gates: {safe_to_serve: true, p99_factor: 2}\n")
    gateway = start_gateway(repository)
    with steady_load(gateway) as seen:
        recorded(gateway, seen)
        write(repository, "m", slow(), 2)
        assert failed(judged(gateway, 2)) == ["p99_s"]
    assert set(seen) == {(200, "1")}


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
