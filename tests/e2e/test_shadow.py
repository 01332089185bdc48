"""Shadows: versions that run copies of requests, answer nobody, and cost nobody anything."""

from __future__ import annotations

import http.client
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.clients import forked, oip
from tests.clients.gateway import Gateway, wait_until
from tests.clients.triton import stub
from tests.small_models import TINY_WEIGHTS, scale, tiny, write

BODY = {"inputs": [{"name": "X", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}
# Of a draw's number: more would be once in a million runs.
SIGMAS = 5.0
OF_ONE = "version_policy: {specific: [1]}\n"
SAFE = "gates: {safe_to_serve: true, p99_factor: 0}\n"


def nan() -> onnx.ModelProto:
    model = tiny()
    weights = np.full_like(TINY_WEIGHTS, np.nan)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, "w"))
    return model


def infer(gateway: Gateway, model: str = "m", body: Any = BODY, **headers: str) -> Any:
    answer = gateway.get(
        f"/v2/models/{model}/infer", json.dumps(body).encode(), "POST", headers=headers
    )
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


def admin(gateway: Gateway, path: str, body: Any = None, status: int = 200) -> Any:
    data = None if body is None else json.dumps(body).encode()
    verb = "GET" if body is None else "POST"
    answer = gateway.get(f"/api/v1/models/{path}", data, verb, port=gateway.admin_port)
    assert answer.status == status, answer.body
    return json.loads(answer.body)


def shadow(gateway: Gateway, version: int = 2, model: str = "m") -> Any:
    return admin(gateway, f"{model}/shadows/{version}")


def states(gateway: Gateway) -> set[str]:
    return {one["state"] for one in admin(gateway, "m/shadows")["shadows"]}


def settled(report: Mapping[str, Any]) -> int:
    """Copies of which it is known what became of them."""
    ends = [report["dropped"], report["failed"], report["uncompared"]]
    return int(report["compared"]) + sum(sum(one.values()) for one in ends)


def wait_settled(gateway: Gateway, version: int = 2, copies: int = 1) -> Any:
    wait_until(lambda: settled(shadow(gateway, version)) >= copies, 20, "all copies have ended")
    return shadow(gateway, version)


def run(gateway: Gateway, *command: object, code: int = 0) -> str:
    environment = {"SERVING_ADMIN_URL": f"http://{gateway.admin}"}
    done = forked.run("rollout", *command, environment=environment)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_shadow_runs_copies_and_its_differences_are_told(
    start_gateway: Any, repository: Path, tmp_path: Path
) -> None:
    for number, factor in ((1, 2.0), (2, 3.0)):
        write(repository, "m", scale(factor), number, yaml=OF_ONE)
    log = tmp_path / "requests"
    settings = {"log.access_rate": "1", "request_log.path": str(log), "request_log.rate": "1"}
    gateway = start_gateway(repository, settings)
    run(gateway, "shadow", "m", 2, "--share", "100%", "--reason", "how is 2")
    infer(gateway, **{"x-request-id": "the-one"})
    with grpc.insecure_channel(gateway.grpc) as channel:
        request = oip.grpc_request("m", {"X": np.array([[1, 2]], np.float32)})
        assert int(stub(channel).ModelInfer(request, timeout=20).model_version) == 1
        [told] = stub(channel).ModelStreamInfer(iter([request]), timeout=20)
        assert told.infer_response.model_version == "1"
    rows = json.dumps({"instances": [[1, 2]]}).encode()
    assert gateway.get("/v1/models/m:predict", rows, "POST").status == 200
    table = json.dumps({"inputs": [[1, 2]]}).encode()
    assert gateway.get("/models/m/invocations", table, "POST").status == 200
    infer(gateway, "m/versions/1")
    report = wait_settled(gateway, copies=5)
    assert (report["copies"], report["compared"], report["different"]) == (5, 5, 5)
    assert (report["share"], report["state"]) == (1.0, "READY")
    [output] = report["outputs"]
    assert (output["name"], output["different"], output["different_elements"]) == ("Y", 5, 10)
    assert (output["max_difference"], output["mean_difference"]) == (2.0, 1.5)
    assert (output["rows"], output["classes"]) == (5, 0)
    example = report["examples"][-1]
    assert (example["request_id"], example["version"]) == ("the-one", 1)
    assert [example[key][0]["data"] for key in ("inputs", "given", "shadow")] == [
        [1.0, 2.0],
        [2.0, 4.0],
        [3.0, 6.0],
    ]
    # What is told of requests tells nothing of copies.
    metrics = gateway.get("/metrics", port=gateway.admin_port).body.decode()
    assert 'serving_shadow_copies_total{model="m",version="2"} 5' in metrics
    assert 'serving_shadow_different_total{model="m",version="2"} 5' in metrics
    assert 'serving_execution_total{model="m",version="2"}' not in metrics
    statistics = json.loads(gateway.get("/v2/models/m/versions/2/stats").body)
    assert statistics["model_stats"][0]["execution_count"] == 0
    text = run(gateway, "differences", "m", 2)
    assert "5 answers compared, 5 different (100 %)" in text
    assert "the-one" in text
    assert "100 %" in run(gateway, "show", "m")
    assert "shadows 2=100%" in run(gateway, "history", "m")
    gateway.finish()
    text = "".join(file.read_text() for file in log.glob("*.jsonl"))
    assert [json.loads(line)["version"] for line in text.splitlines()] == [1] * 6
    assert gateway.log().count('"the-one"') == 2, "the access log's line, and the event's"
    assert len(gateway.events("shadow_differs")) == 1


def test_how_answers_are_compared_and_what_is_kept_and_told_is_as_the_settings_say(
    start_gateway: Any, repository: Path
) -> None:
    for number, factor in ((1, 2.0), (2, 3.0)):
        write(repository, "m", scale(factor), number, yaml=OF_ONE)
    settings = {"absolute_tolerance": "1.5", "relative_tolerance": "0.2", "examples": "2"}
    settings |= {"example_bytes": "1", "event_every_s": "0"}
    gateway = start_gateway(repository, {f"shadow.{key}": said for key, said in settings.items()})
    run(gateway, "shadow", "m", 2, "--share", "100%")
    # 1 and 2 apart, which neither tolerance allows alone.
    infer(gateway)
    # 10 and 20, which they do not allow together.
    for copies in (2, 3, 4):
        infer(gateway, body={"inputs": [{**BODY["inputs"][0], "data": [10, 20]}]})
        report = wait_settled(gateway, copies=copies)
    assert (report["compared"], report["different"]) == (4, 3)
    assert [one["inputs"] for one in report["examples"]] == [[], []]
    gateway.finish()
    assert len(gateway.events("shadow_differs")) == 3


@pytest.mark.parametrize(
    ("setting", "said", "why"), [("bytes", "1", "memory"), ("timeout_s", "0.000001", "late")]
)
def test_copies_that_hold_more_or_wait_longer_than_the_settings_allow_are_dropped(
    setting: str, said: str, why: str, start_gateway: Any, repository: Path
) -> None:
    for number, factor in ((1, 2.0), (2, 3.0)):
        write(repository, "m", scale(factor), number, yaml=OF_ONE)
    gateway = start_gateway(repository, {f"shadow.{setting}": said})
    run(gateway, "shadow", "m", 2, "--share", "100%")
    infer(gateway)
    report = wait_settled(gateway)
    assert (report["compared"], report["dropped"]) == (0, {why: 1})


def test_shares_are_drawn_within_binomial_bounds_and_survive_a_restart(
    start_gateway: Any, repository: Path, tmp_path: Path
) -> None:
    for number in (1, 2, 3):
        write(repository, "m", scale(2.0), number, yaml=OF_ONE)
    settings = {"state_dir": str(tmp_path / "state"), "shadow.copies": "1000"}
    gateway = start_gateway(repository, settings)
    run(gateway, "shadow", "m", 2, "--share", "0.3")
    run(gateway, "shadow", "m", 3, "--share", "10%")
    gateway.finish()
    gateway = start_gateway(repository, settings)
    wait_until(lambda: states(gateway) == {"READY"}, 20, "the shadows are loaded")
    count = 1500
    connection = http.client.HTTPConnection(gateway.http, timeout=20)
    data = json.dumps(BODY)
    for _ in range(count):
        connection.request("POST", "/v2/models/m/infer", data)
        assert connection.getresponse().read()
    connection.close()
    for version, share in ((2, 0.3), (3, 0.1)):
        report = shadow(gateway, version)
        away = SIGMAS * math.sqrt(count * share * (1 - share))
        assert abs(report["copies"] - share * count) < away
        report = wait_settled(gateway, version, report["copies"])
        assert (report["different"], report["failed"]) == (0, {})
    run(gateway, "shadow", "m", 2, "--clear")
    assert admin(gateway, "m/route")["shadows"] == {"3": 0.1}
    run(gateway, "shadow", "m", "--clear")
    assert admin(gateway, "m/route")["shadows"] == {}


def test_what_can_be_no_shadow_is_refused_in_words(start_gateway: Any, repository: Path) -> None:
    for number in (1, 2):
        write(repository, "m", scale(2.0), number, yaml=OF_ONE)
    write(repository, "m", scale(2.0, ("n", 3)), 3, yaml=OF_ONE)
    gateway = start_gateway(repository)
    for version, words in (
        (1, "a shadow is a version that doesn't"),
        (3, "held back for its signature"),
        (9, "in no model directory"),
    ):
        assert words in run(gateway, "shadow", "m", version, "--share", "1%", code=1)
        run(gateway, "shadow", "m", "--clear")
    assert "over 0 and at most 100%" in run(gateway, "shadow", "m", 2, "--share", "200%", code=2)
    run(gateway, "shadow", "m", 2, "--share", "5%")
    run(gateway, "weights", "m", "1=90", "2=10")
    assert admin(gateway, "m/route")["shadows"] == {}, "who has a weight answers"
    assert "has a weight" in run(gateway, "shadow", "m", 2, "--share", "5%", code=1)


def test_a_route_in_model_yaml_says_shadows_and_no_command_changes_them(
    start_gateway: Any, repository: Path
) -> None:
    yaml = OF_ONE + 'route: {shadows: {2: "50%"}}\n'
    for number in (1, 2):
        write(repository, "m", scale(2.0), number, yaml=yaml)
    gateway = start_gateway(repository)
    assert admin(gateway, "m/route")["shadows"] == {"2": 0.5}
    wait_until(lambda: states(gateway) == {"READY"}, 20, "the shadow is loaded")
    assert "model.yaml says the shadows" in run(gateway, "shadow", "m", "--clear", code=1)


def test_a_version_that_its_gates_keep_from_traffic_may_be_a_shadow(
    start_gateway: Any, repository: Path
) -> None:
    for number, model in ((1, tiny()), (2, nan())):
        write(repository, "m", model, number, yaml=OF_ONE + SAFE)
    gateway = start_gateway(repository)
    run(gateway, "shadow", "m", 2, "--share", "100%")
    row = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}
    wait_until(lambda: "FAILED" in states(gateway), 60, "its gates have not blessed it")
    infer(gateway, body={"inputs": [row]})
    report = wait_settled(gateway)
    assert (report["state"], report["different"]) == ("FAILED", 1)
    assert report["outputs"][0]["nonfinite"] == 3
    assert report["examples"][0]["shadow"][0]["data"] == ["NaN"] * 3
    assert gateway.infer("m", {"inputs": [row]}, 2).status == 503
