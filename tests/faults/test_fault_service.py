"""Faults 4, 16, 22, 25, 82, 84, 96, 99: what goes on serving, whatever comes and goes."""

from __future__ import annotations

import json
import random
import shutil
import signal
import statistics
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http

import serving
from tests.clients import oip
from tests.clients.gateway import wait_until
from tests.clients.load import Load
from tests.small_models import UNBATCHED, identity, scale, slow, write

ODD = np.array([[np.nan, np.inf], [-np.inf, -0.0]], np.float32)


def _published(repository: Path, model: str, factor: float, version: int, tmp_path: Path) -> None:
    file = tmp_path / f"{model}-{version}.onnx"
    file.write_bytes(scale(factor).SerializeToString())
    serving.publish(file, repository, model, version=version)


def test_faults_4_and_84_a_hot_swap_under_load_fails_no_request(
    start_gateway, repository, tmp_path
) -> None:
    """Each answer is wholly one version's (the load checks it), new is up before old goes."""
    _published(repository, "m", 1, 1, tmp_path)
    gateway = start_gateway(repository, {"rollout.keep_previous_s": "0"})
    with Load(gateway, "m", clients=2) as load:
        for version in range(2, 8):
            _published(repository, "m", version, version, tmp_path)
            before = load.versions[str(version)]
            wait_until(
                lambda v=version, b=before: load.versions[str(v)] > b + 20,
                20,
                f"version {version} answers",
            )
            assert not load.failures
    assert not load.failures
    assert [load.versions[str(version)] > 0 for version in range(1, 8)] == [True] * 7


def test_fault_16_without_a_directory_to_write_to_the_gateway_serves(
    start_gateway, repository, tmp_path
) -> None:
    write(repository, "m", scale(3))
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    settings = {"state_dir": str(blocked / "state"), "loading.trial": "on"}
    gateway = start_gateway(repository, settings)
    answer = gateway.infer("m", {"inputs": [oip.json_input("X", np.ones((1, 2), np.float32))]})
    assert oip.json_arrays(answer.json())["Y"].tolist() == [[3, 3]]
    pin = b'{"version": 1}'
    path = "/api/v1/models/m/default?wait=true"
    pinned = gateway.get(path, pin, "POST", port=gateway.admin_port)
    assert pinned.status == 200, pinned
    assert gateway.log().count("state_not_written") == 1


def test_fault_22_nan_and_infinities_come_back_as_they_went_through_common_clients(
    start_gateway, repository
) -> None:
    write(repository, "m", identity("FP32", ("n", 2)))
    gateway = start_gateway(repository)
    with triton_http.InferenceServerClient(gateway.http) as client:
        for binary in (True, False):
            tensor = triton_http.InferInput("X", list(ODD.shape), "FP32")
            tensor.set_data_from_numpy(ODD, binary_data=True)
            output = triton_http.InferRequestedOutput("Y", binary_data=binary)
            answer = client.infer("m", [tensor], outputs=[output]).as_numpy("Y")
            np.testing.assert_array_equal(answer, ODD)
            assert np.signbit(answer[1, 1])
    with triton_grpc.InferenceServerClient(gateway.grpc) as client:
        tensor = triton_grpc.InferInput("X", list(ODD.shape), "FP32")
        tensor.set_data_from_numpy(ODD)
        np.testing.assert_array_equal(client.infer("m", [tensor]).as_numpy("Y"), ODD)
    # As JSON both ways, with the literals that Python's own parser knows.
    body = {"inputs": [{"name": "X", "datatype": "FP32", "shape": [2, 2], "data": ODD.tolist()}]}
    data = json.loads(gateway.post("/v2/models/m/infer", body).body)["outputs"][0]["data"]
    np.testing.assert_array_equal(np.array(data, np.float32).reshape(2, 2), ODD)


def test_fault_25_a_slow_model_sheds_at_once_and_its_neighbour_does_not_notice(
    start_gateway, repository
) -> None:
    write(repository, "slow", slow(0.3), config=UNBATCHED)
    write(repository, "m", scale(2))
    settings = {"batching.max_queue_requests": "4", "threads.permits": "2"}
    gateway = start_gateway(repository, settings)
    body = {"inputs": [oip.json_input("X", np.ones((1, 1), np.float32))]}
    done: list[tuple[int, float]] = []

    def ask() -> None:
        start = time.monotonic()
        status = gateway.infer("slow", body).status
        done.append((status, time.monotonic() - start))

    callers = [threading.Thread(target=ask) for _ in range(24)]
    for caller in callers:
        caller.start()
    neighbour = {"inputs": [oip.json_input("X", np.ones((1, 2), np.float32))]}
    answered = 0
    while any(caller.is_alive() for caller in callers):
        assert gateway.infer("m", neighbour).status == 200
        answered += 1
    for caller in callers:
        caller.join()
    shed = [took for status, took in done if status == 503]
    served = [took for status, took in done if status == 200]
    assert len(shed) + len(served) == 24
    # One runs and four wait: the others learn it long before a run could have ended.
    assert len(served) >= 4
    assert len(shed) >= 10
    assert statistics.median(shed) < 0.1
    assert answered > 20


def test_fault_82_a_load_does_not_hold_up_a_neighbour(start_gateway, repository, tmp_path) -> None:
    """While versions of another model are loaded, tried and warmed, no request waits for one."""
    write(repository, "m", scale(1))
    _published(repository, "other", 1, 1, tmp_path)
    gateway = start_gateway(repository, {"loading.trial": "on"})
    with Load(gateway, "m", clients=2) as load:
        for version in range(2, 6):
            _published(repository, "other", version, version, tmp_path)
            seen = []

            def loaded(v: int = version, seen: list[int] = seen) -> bool:
                before = load.versions["1"]
                time.sleep(0.1)
                seen.append(load.versions["1"] - before)
                states = {one["version"]: one["state"] for one in _versions(gateway, "other")}
                return states.get(v) == "READY"

            wait_until(loaded, 20, f"version {version} of the other is ready", every=0)
            # Answers went on in every tenth of a second of the load.
            assert all(seen), seen
    assert not load.failures


def _versions(gateway, model: str) -> list[dict]:
    (found,) = [one for one in gateway.models()["models"] if one["name"] == model]
    return found["versions"]


@pytest.mark.parametrize("isolation", ["none", "process"])
def test_fault_96_sigterm_under_load_fails_no_request_wherever_the_model_runs(
    start_gateway, repository, isolation: str
) -> None:
    write(repository, "m", scale(1))
    (repository / "m" / "model.yaml").write_text(f"isolation: {isolation}\n")
    gateway = start_gateway(repository, {"shutdown.drain_delay_s": "0.5"})
    with Load(gateway, "m", clients=2) as load:
        wait_until(lambda: load.versions["1"] > 50, 10, "load runs")
        gateway.signal(signal.SIGTERM)
        assert gateway.process.wait(20) == 0
    assert not load.failures
    assert load.refused == 4


@pytest.mark.slow
def test_fault_99_changing_shapes_leave_no_memory_behind(start_gateway, repository) -> None:
    write(repository, "m", identity("FP32", ("n", "m")))
    gateway = start_gateway(repository)
    draw = random.Random(11)

    def ask(times: int) -> None:
        with triton_grpc.InferenceServerClient(gateway.grpc) as client:
            for _ in range(times):
                x = np.zeros((draw.randint(1, 40), draw.randint(1, 2000)), np.float32)
                tensor = triton_grpc.InferInput("X", list(x.shape), "FP32")
                tensor.set_data_from_numpy(x)
                assert client.infer("m", [tensor]).as_numpy("Y").shape == x.shape

    ask(400)
    sizes = []
    for _ in range(6):
        ask(250)
        sizes.append(gateway.rss())
    slope = np.polyfit(range(len(sizes)), sizes, 1)[0]
    # 250 requests move some 40 MB; what stays of them is noise.
    assert slope < 2 << 20, sizes


def test_fault_1_a_folder_of_nonsense_is_one_models_trouble(start_gateway, repository) -> None:
    good = write(repository, "m", scale(1))
    content = (good if good.is_file() else good / "model.onnx").read_bytes()
    for name, nonsense in {
        "empty": b"",
        "garbage": b"\x00\xff" * 5000,
        "half": content[: len(content) // 2],
        "text": b"<html>not found</html>",
    }.items():
        path = repository / name / "1" / "model.onnx"
        path.parent.mkdir(parents=True)
        path.write_bytes(nonsense)
    gateway = start_gateway(repository, {"loading.trial": "on"})
    index = gateway.index()
    for name in ("empty", "garbage", "half", "text"):
        entry = index[name, "1"]
        assert entry["state"] == "UNAVAILABLE"
        assert "model" in entry["reason"], entry
        assert str(repository) not in entry["reason"]
        assert gateway.infer(name, {"inputs": []}).status == 503
    answer = gateway.infer("m", {"inputs": [oip.json_input("X", np.ones((1, 2), np.float32))]})
    assert answer.status == 200
    shutil.rmtree(repository / "half")
    wait_until(lambda: ("half", "1") not in gateway.index(), 10, "what went is forgotten")
