"""A model's own configuration changes how it is served, and says so."""

from __future__ import annotations

import time

import grpc
import numpy as np
import pytest

from tests.clients import oip
from tests.clients.busy import line
from tests.clients.gateway import Gateway, wait_until
from tests.clients.triton import channel, refusal, stub
from tests.small_models import optional_input, scale, slow, tiny, write

ROW = np.ones((1, 4), np.float32)
SLOW = np.ones((1, 1), np.float32)
INSTANCES = {
    "config.pbtxt": {"config": "max_batch_size: 0\ninstance_group { count: 2 }\n"},
    "model.yaml": {"yaml": "max_batch_size: 0\ninstances: 2\n"},
}


@pytest.mark.parametrize("form", INSTANCES)
def test_instances_run_beside_each_other(start_gateway, repository, form: str) -> None:
    write(repository, "slow", slow(0.4), **INSTANCES[form])
    gateway = start_gateway(repository, {"threads.permits": "2"})
    (group,) = gateway.get("/v2/models/slow/config").json()["instance_group"]
    assert group["count"] == 2
    with channel(gateway) as one:
        request, futures = oip.grpc_request("slow", {"X": SLOW}), []

        def two_run() -> bool:
            waiting = sum(not future.done() for future in futures)
            futures.extend(
                stub(one).ModelInfer.future(request, timeout=30) for _ in range(4 - waiting)
            )
            return gateway.metric("serving_executing_batches") == 2

        wait_until(two_run, 30, "two run", 0.01)
        for future in futures:
            future.result()


BOUNDS = {
    "config.pbtxt": {
        "config": "max_batch_size: 1\n"
        "dynamic_batching { default_queue_policy { max_queue_size: 1 } }\n"
    },
    "model.yaml": {"yaml": "max_batch_size: 1\nbatching: {max_queue_requests: 1}\n"},
}


@pytest.mark.parametrize("form", BOUNDS)
def test_a_models_own_queue_bound(start_gateway, repository, form: str) -> None:
    write(repository, "slow", slow(0.4), **BOUNDS[form])
    gateway = start_gateway(repository)
    request = oip.grpc_request("slow", {"X": SLOW})
    with line(gateway, "slow", request, 1, called_off=True), channel(gateway) as one:
        assert refusal(stub(one).ModelInfer, request).code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_models_own_default_timeout(start_gateway, repository) -> None:
    config = "dynamic_batching { default_queue_policy { default_timeout_microseconds: 50000 } }\n"
    write(repository, "slow", slow(0.4), config="max_batch_size: 1\n" + config)
    gateway = start_gateway(repository)
    with channel(gateway) as one:
        request = oip.grpc_request("slow", {"X": SLOW})
        futures = [stub(one).ModelInfer.future(request, timeout=30) for _ in range(3)]
        codes = {future.exception().code() for future in futures if future.exception()}
    assert codes == {grpc.StatusCode.DEADLINE_EXCEEDED}


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("configured")
    repository = folder / "repository"
    repository.mkdir()
    write(repository, "off", tiny(), yaml="batching: false\n")
    write(repository, "eight", tiny(), yaml="max_batch_size: 8\n")
    write(repository, "level", tiny(), config="optimization { graph { level: 2 } }\n")
    write(repository, "all", scale(1), 1, yaml="version_policy: all\n")
    write(repository, "all", scale(2), 2)
    warm = "warmup:\n  - inputs: {x: {datatype: FP32, shape: [1, 4], fill: zero}}\n"
    write(repository, "warm", tiny(), yaml=warm)
    write(
        repository,
        "cold",
        tiny(),
        yaml="warmup:\n  - inputs: {q: {datatype: FP32, shape: [1, 4]}}\n",
    )
    write(repository, "optional", optional_input())
    write(repository, "wrong", tiny(), yaml="inputs:\n  - {name: x, datatype: INT64}\n")
    write(repository, "unknown", tiny(), yaml="inputs:\n  - {name: nothing}\n")
    write(repository, "misspelt", tiny(), yaml="instanses: 2\n")
    write(repository, "elsewhere", tiny(), yaml="aliases: {}\n")
    one = Gateway(repository, folder / "gateway")
    try:
        yield one.wait_ready()
    finally:
        one.finish()


def test_batching_off_and_maximum(configured: Gateway) -> None:
    def size(name: str) -> int:
        return int(configured.get(f"/v2/models/{name}/config").json()["max_batch_size"])

    assert size("off") == 0
    assert size("eight") == 8
    with channel(configured) as one:
        for name in ("off", "eight"):
            x = np.ones((20, 4), np.float32)
            stub(one).ModelInfer(oip.grpc_request(name, {"x": x}), timeout=10)
    sizes = {name: configured.stats(name)["batch_stats"] for name in ("off", "eight")}
    assert max(one["batch_size"] for one in sizes["eight"]) == 8
    assert configured.stats("off")["execution_count"] == 1


def test_versions_and_levels(configured: Gateway) -> None:
    assert sorted(configured.get("/v2/models/all").json()["versions"]) == ["1", "2"]
    level = configured.get("/v2/models/level/config").json()["optimization"]["graph"]["level"]
    assert level == 2


def test_optional_inputs_show(configured: Gateway) -> None:
    inputs = configured.get("/v2/models/optional/config").json()["input"]
    assert {one["name"]: one["optional"] for one in inputs} == {"X": False, "factor": True}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cold", ["q"]),
        ("wrong", ["x", "INT64", "FP32"]),
        ("unknown", ["nothing"]),
        ("misspelt", ["instanses", "instances"]),
        ("elsewhere", ["unknown key 'aliases'", "it is route.aliases"]),
    ],
)
def test_what_does_not_fit_fails_that_model_in_words(
    configured: Gateway, name: str, words: list[str]
) -> None:
    entry = configured.index()[name, "1"]
    assert entry["state"] == "UNAVAILABLE"
    for word in words:
        assert word in entry["reason"], entry
    assert configured.index()["warm", "1"]["state"] == "READY"


def test_a_corrected_configuration_is_picked_up(start_gateway, repository) -> None:
    write(repository, "m", scale(1), yaml="instanses: 2\n")
    gateway = start_gateway(repository)
    assert gateway.index()["m", "1"]["state"] == "UNAVAILABLE"
    time.sleep(0.1)
    (repository / "m" / "model.yaml").write_text("instances: 2\n")
    wait_until(lambda: gateway.index()["m", "1"].get("state") == "READY", 10, "it is ready")
