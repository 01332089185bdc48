"""Control of a real gateway: Triton's clients on the doors, our own API and commands."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.grpc import service_pb2 as pb
from tritonclient.utils import InferenceServerException

from tests.clients import forked
from tests.clients.gateway import Gateway, wait_until
from tests.clients.triton import channel, refusal, stub
from tests.small_models import UNBATCHED, scale, slow_to_load, write

BASE = "/api/v1/models"
X = [[1.0, 2.0]]


def client(gateway: Gateway, door: str) -> Any:
    if door == "http":
        return tritonclient.http.InferenceServerClient(gateway.http)
    return tritonclient.grpc.InferenceServerClient(gateway.grpc)


def index(one: Any, door: str) -> dict[tuple[str, str], str]:
    """(name, version) -> state."""
    if door == "http":
        entries = one.get_model_repository_index()
    else:
        entries = one.get_model_repository_index(as_json=True).get("models", [])
    return {(e["name"], e.get("version", "")): e.get("state", "") for e in entries}


def answer_of(gateway: Gateway, model: str, version: int | None = None) -> tuple[str, float]:
    """The version that answered, and by what it scales."""
    body = {"inputs": [{"name": "X", "datatype": "FP32", "shape": [1, 2], "data": X}]}
    reply = gateway.infer(model, body, version)
    assert reply.status == 200, reply
    found = reply.json()
    return found["model_version"], found["outputs"][0]["data"][0]


def admin(
    gateway: Gateway, verb: str, body: object = None, model: str = "m", **query: object
) -> Any:
    asked = "&".join(f"{key}={value}" for key, value in query.items())
    return gateway.get(
        f"{BASE}/{model}/{verb}?{asked}",
        json.dumps(body or {}).encode(),
        "POST",
        port=gateway.admin_port,
    )


def status(gateway: Gateway, model: str = "m") -> Any:
    return gateway.get(f"{BASE}/{model}", port=gateway.admin_port).json()


@pytest.fixture
def explicit(start_gateway: Any, repository: Path) -> Gateway:
    write(repository, "m", scale(1))
    write(repository, "other", scale(5))
    write(repository, "broken", b"not a model")
    settings = {"model_control": "explicit", "control.uploads": "true", "load_models": "other"}
    started: Gateway = start_gateway(repository, settings)
    return started


@pytest.fixture(params=["http", "grpc"])
def triton(request: pytest.FixtureRequest, explicit: Gateway) -> Iterator[tuple[Any, str]]:
    one = client(explicit, request.param)
    try:
        yield one, request.param
    finally:
        one.close()


def test_tritons_client_loads_and_unloads(explicit: Gateway, triton: tuple[Any, str]) -> None:
    one, door = triton
    assert index(one, door)["other", "1"] == "READY"
    assert not one.is_model_ready("m")
    one.load_model("m")
    assert one.is_model_ready("m"), "the load's answer comes once it is done"
    assert index(one, door)["m", "1"] == "READY"
    assert answer_of(explicit, "m") == ("1", 1.0)
    one.load_model("m")
    one.unload_model("m")
    one.unload_model("other", unload_dependents=True)
    for name in ("m", "other"):
        admin(explicit, "unload", model=name)
        assert not one.is_model_ready(name)
    assert "READY" not in index(one, door).values()


def test_a_load_does_not_wait_for_the_settle_time(start_gateway: Any, repository: Path) -> None:
    """With the default waits, whoever asks; what nobody asks for has to settle."""
    waits = {"registry.settle_s": "3", "registry.scan_interval_s": "1"}
    gateway = start_gateway(repository, {"model_control": "both", **waits})
    doors = {door: client(gateway, door) for door in ("http", "grpc")}
    loads = {
        "http": doors["http"].load_model,
        "grpc": doors["grpc"].load_model,
        "admin": lambda name: admin(gateway, "load", model=name),
    }
    write(repository, "unasked", scale(1))
    for name, load in loads.items():
        write(repository, name, scale(2), yaml="max_batch_size: 4\n")
        begun = time.monotonic()
        load(name)
        assert time.monotonic() - begun < 1.0, name
        assert answer_of(gateway, name) == ("1", 2.0)
    for one in doors.values():
        one.close()
    assert status(gateway, "unasked")["default"] is None


def test_a_load_may_bring_its_configuration(explicit: Gateway, triton: tuple[Any, str]) -> None:
    one, _ = triton
    one.load_model("m", config='{"max_batch_size": "4", "instance_group": [{"count": 2}]}')
    given = explicit.get("/v2/models/m/config").json()
    assert (given["max_batch_size"], given["instance_group"][0]["count"]) == (4, 2)
    one.load_model("m")
    assert explicit.get("/v2/models/m/config").json()["max_batch_size"] != 4


def test_a_load_may_bring_its_files(
    explicit: Gateway, triton: tuple[Any, str], tmp_path: Path
) -> None:
    one, _ = triton
    model = write(tmp_path, "sent", scale(3)) / "model.onnx"
    content = model.read_bytes()
    one.load_model("m")
    one.load_model("m", config="{}", files={"file:7/model.onnx": content})
    assert answer_of(explicit, "m") == ("7", 3.0)
    one.load_model("new", config="{}", files={"file:1/model.onnx": content})
    assert answer_of(explicit, "new") == ("1", 3.0)
    one.load_model("m")
    assert answer_of(explicit, "m") == ("1", 1.0)
    assert not list(explicit.repository.glob("new*")), "the registry is the publisher's"


def test_failures_come_in_tritons_words(explicit: Gateway, triton: tuple[Any, str]) -> None:
    one, _ = triton
    cases = [
        ("nowhere", None, "failed to load 'nowhere'", "404", "StatusCode.NOT_FOUND"),
        ("broken", None, "load failed for model 'broken'", "400", "StatusCode.INVALID_ARGUMENT"),
        ("m", "{", "failed to load 'm'", "400", "StatusCode.INVALID_ARGUMENT"),
        ("m", '{"max_batch_sise": 1}', "failed to load 'm'", "400", "StatusCode.INVALID_ARGUMENT"),
    ]
    for name, config, words, http_status, grpc_status in cases:
        with pytest.raises(InferenceServerException, match=words) as caught:
            one.load_model(name, config=config)
        assert caught.value.status() in (http_status, grpc_status, None)
        assert str(explicit.repository) not in str(caught.value)


def test_a_load_waits_no_longer_than_its_caller(start_gateway: Any, repository: Path) -> None:
    write(repository, "m", slow_to_load(0.3), config=UNBATCHED)
    settings = {"model_control": "explicit", "limits.request_timeout_s": "0.4"}
    gateway = start_gateway(repository, settings)
    late = gateway.post("/v2/repository/models/m/load", {})
    assert late.status == 504
    with channel(gateway) as one:
        request = pb.RepositoryModelLoadRequest(model_name="m")
        error = refusal(stub(one).RepositoryModelLoad, request, timeout=0.2)
        assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert gateway.get("/v2/models").status == 200, "no thread is held up"
    assert admin(gateway, "load", timeout=60).status == 200, "the load went on"


def test_versions_are_pinned_rolled_back_and_freed(start_gateway: Any, repository: Path) -> None:
    write(repository, "m", scale(1), 1, config="version_policy: { latest: { num_versions: 2 } }")
    write(repository, "m", scale(2), 2)
    gateway = start_gateway(repository)
    assert answer_of(gateway, "m")[0] == "2"
    pinned = admin(gateway, "default", {"version": 1})
    assert (pinned.status, pinned.json()["default"]) == (200, 1)
    assert answer_of(gateway, "m") == ("1", 1.0)
    assert (status(gateway)["pinned"], status(gateway)["previous"]) == (1, 2)
    assert admin(gateway, "default", {"version": 1}).status == 200, "asked twice, done once"
    assert admin(gateway, "rollback").json()["default"] == 2
    assert answer_of(gateway, "m") == ("2", 2.0)
    assert admin(gateway, "default", {"version": "auto"}).json()["default"] == 2
    assert status(gateway)["pinned"] is None
    unknown = admin(gateway, "default", {"version": 9})
    assert (unknown.status, set(unknown.json())) == (404, {"error"})
    assert answer_of(gateway, "m") == ("2", 2.0)
    events = gateway.get(f"{BASE}/m/history", port=gateway.admin_port).json()["events"]
    assert {(e["version"], e["state"]) for e in events} >= {(1, "READY"), (2, "READY")}


def test_commands_do_what_the_api_does(start_gateway: Any, repository: Path) -> None:
    write(repository, "m", scale(1), 1)
    write(repository, "m", scale(2), 2)
    gateway = start_gateway(repository)

    def serving(*arguments: object) -> str:
        environment = {"SERVING_ADMIN_URL": f"http://{gateway.admin}"}
        done = forked.run("models", *arguments, environment=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert serving("default", "m", 1) == (
        "m: done; version 1 answers unnamed requests (pinned); before it: version 2\n"
        "  version 2 is held back: the model is pinned to version 1"
        " (to let go of the pin: serving models default m auto)\n"
    )
    assert answer_of(gateway, "m") == ("1", 1.0)
    assert "version 2 answers" in serving("rollback", "m")
    assert answer_of(gateway, "m") == ("2", 2.0)
    assert "no version answers" in serving("unload", "m")
    assert gateway.get("/v2/models/m/ready").status != 200
    serving("load", "m")
    shown = serving("status", "m")
    assert "CPUExecutionProvider" in shown
    assert "memory" in shown
    assert "READY" in serving("history", "m")


def test_fault_18_a_storm_of_loads_and_unloads_ends_in_its_last_command(
    explicit: Gateway,
) -> None:
    """32 threads over both doors; what is said last, after all of them, counts."""
    assert admin(explicit, "load").status == 200
    # Threads come with the first request.
    assert answer_of(explicit, "m") == ("1", 1.0)
    assert answer_of(explicit, "other") == ("1", 5.0)
    before = _threads(explicit)

    def storm(number: int) -> None:
        loads = [(number + turn) % 3 > 0 for turn in range(25)]
        if number % 2:
            with channel(explicit) as one:
                answers.extend(_over_grpc(stub(one), load) for load in loads)
        else:
            answers.extend(_over_http(explicit, load) for load in loads)

    answers: list[tuple[str, str]] = []
    workers = [threading.Thread(target=storm, args=(number,)) for number in range(32)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert not worker.is_alive(), "a call was never answered"
    assert len(answers) == 32 * 25
    # Superseded loads and a full line are answers; nothing else is.
    odd = [a for a in answers if a[0] not in {"200", "503", "UNAVAILABLE", "RESOURCE_EXHAUSTED"}]
    assert not odd, odd[:3]
    for _ in range(2):
        assert admin(explicit, "unload").status == 200
        assert explicit.get("/v2/models/m/ready").status != 200
        assert admin(explicit, "load").status == 200
        assert answer_of(explicit, "m") == ("1", 1.0)
    assert answer_of(explicit, "other") == ("1", 5.0)
    versions = status(explicit)["versions"]
    assert [(v["version"], v["state"]) for v in versions] == [(1, "READY")]
    # The admin port's own worker threads go when they have been idle for a while.
    wait_until(lambda: _threads(explicit) <= before + 1, 30, "no thread was left behind")


def _over_grpc(rpc: Any, load: bool) -> tuple[str, str]:
    """The code and the words."""
    name = "RepositoryModelLoad" if load else "RepositoryModelUnload"
    try:
        getattr(rpc, name)(getattr(pb, f"{name}Request")(model_name="m"), timeout=60)
    except grpc.RpcError as error:
        return error.code().name, error.details()
    return "200", ""


def _over_http(gateway: Gateway, load: bool) -> tuple[str, str]:
    reply = gateway.post(f"/v2/repository/models/m/{'load' if load else 'unload'}", {})
    return str(reply.status), reply.body.decode()


def _threads(gateway: Gateway) -> int:
    import psutil

    return int(psutil.Process(gateway.process.pid).num_threads())
