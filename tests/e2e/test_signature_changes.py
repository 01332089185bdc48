"""A version with another signature on a real gateway, as its clients and its operator see it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http

from tests.clients import forked
from tests.clients.gateway import Gateway, wait_until
from tests.small_models import identity, write

DIFFERS = "input 'X' is INT64, was FP32"


@contextmanager
def clients(gateway: Gateway) -> Iterator[list[tuple[Any, Any]]]:
    """A client of each door with its package."""
    both: list[tuple[Any, Any]] = [
        (tritonclient.http.InferenceServerClient(gateway.http), tritonclient.http),
        (tritonclient.grpc.InferenceServerClient(gateway.grpc), tritonclient.grpc),
    ]
    try:
        yield both
    finally:
        for one, _ in both:
            one.close()


def asked(gateway: Gateway, datatype: str, version: str = "") -> set[str]:
    """Which version answers an ``X`` of this type, on both doors."""
    dtype = {"FP32": np.float32, "INT64": np.int64}[datatype]
    found = set()
    with clients(gateway) as both:
        for one, package in both:
            tensor = package.InferInput("X", [1, 2], datatype)
            tensor.set_data_from_numpy(np.ones((1, 2), dtype))
            answer = one.infer("m", [tensor], model_version=version)
            assert answer.as_numpy("Y").dtype == dtype
            response = answer.get_response()
            named = response["model_version"] if isinstance(response, dict) else None
            found.add(named or response.model_version)
    return found


def described(gateway: Gateway) -> list[str]:
    """The input's datatype in the metadata that names no version, on both doors."""
    with clients(gateway) as both:
        over_http, over_grpc = (one.get_model_metadata("m") for one, _ in both)
    return [over_http["inputs"][0]["datatype"], over_grpc.inputs[0].datatype]


def serving(gateway: Gateway, *arguments: str) -> str:
    done = forked.run(*arguments, "--admin-url", f"http://{gateway.admin}")
    assert done.returncode == 0, done.stderr
    return done.stdout


def status(gateway: Gateway) -> Any:
    return gateway.get("/api/v1/models/m", port=gateway.admin_port).json()


def held_back(gateway: Gateway, version: int) -> bool:
    return any(v["version"] == version and v["held_back"] for v in status(gateway)["versions"])


def test_a_version_with_another_datatype_waits_until_it_is_accepted(
    start_gateway: Any, repository: Path, tmp_path: Path
) -> None:
    write(repository, "m", identity("FP32"))
    state = {"state_dir": str(tmp_path / "state")}
    gateway = start_gateway(repository, state)
    assert asked(gateway, "FP32") == {"1"}
    write(repository, "m", identity("INT64"), 2)
    wait_until(lambda: held_back(gateway, 2), 20, "version 2 is held back")
    assert DIFFERS in serving(gateway, "models")
    for again in (False, True):
        if again:
            assert gateway.stop() == 0
            gateway = start_gateway(repository, state)
        assert asked(gateway, "FP32") == {"1"}
        assert asked(gateway, "INT64", "2") == {"2"}
        assert described(gateway) == ["FP32", "FP32"]
        assert DIFFERS in gateway.index()["m", "2"]["reason"]
        assert gateway.metric("serving_model_held_back", model="m", version="2") == 1
        assert gateway.log().count("signature_held_back") == 1
    history = gateway.get("/api/v1/models/m/history", port=gateway.admin_port).json()
    assert any(DIFFERS in event["reason"] for event in history["events"])
    assert "version 2 answers unnamed requests" in serving(gateway, "models", "accept", "m", "2")
    assert asked(gateway, "INT64") == {"2"}
    assert described(gateway) == ["INT64", "INT64"]
    assert (status(gateway)["pinned"], status(gateway)["reason"]) == (None, "")
    assert gateway.metric("serving_model_held_back", model="m") == 0
    assert gateway.log().count("signature_accepted") == 1


def test_a_load_is_done_and_says_what_is_held_back(start_gateway: Any, repository: Path) -> None:
    write(repository, "m", identity("FP32"))
    settings = {"model_control": "explicit", "control.uploads": "true"}
    gateway = start_gateway(repository, settings)
    with clients(gateway) as both:
        for one, _ in both:
            one.load_model("m")
        write(repository, "m", identity("INT64"), 2)
        for one, _ in both:
            one.load_model("m")
            assert asked(gateway, "FP32") == {"1"}
            assert asked(gateway, "INT64", "2") == {"2"}
        assert DIFFERS in serving(gateway, "models", "load", "m")
        config = json.dumps({"max_batch_size": 4})
        for (one, _), datatype in zip(both, ("FP64", "INT32"), strict=True):
            sent = identity(datatype).SerializeToString()
            one.load_model("m", config=config, files={"file:3/model.onnx": sent})
            assert described(gateway) == [datatype] * 2, "who sends it whole means it"


@pytest.mark.slow
def test_a_configuration_that_changes_the_signature_is_held_back_too(
    start_gateway: Any, repository: Path
) -> None:
    """Under the same number the former one goes on answering."""
    write(repository, "m", identity("FP32", ["n", 2]), yaml="max_batch_size: 4\n")
    gateway = start_gateway(repository)
    before = gateway.get("/v2/models/m").json()["inputs"]
    tensor = '[{ name: "%s" data_type: TYPE_FP32 dims: [1, 2] }]'
    fixed = f"max_batch_size: 0\ninput {tensor % 'X'}\noutput {tensor % 'Y'}\n"
    (repository / "m" / "model.yaml").unlink()
    (repository / "m" / "config.pbtxt").write_text(fixed)
    words = "input 'X' has shape [1,2], had [-1,2]"
    wait_until(lambda: words in gateway.index()["m", "1"].get("reason", ""), 20, words)
    assert gateway.get("/v2/models/m").json()["inputs"] == before
    accept = "/api/v1/models/m/accept"
    taken = gateway.get(accept, b'{"version": 1}', "POST", port=gateway.admin_port)
    assert (taken.status, taken.json()["default"]) == (200, 1)
    assert gateway.get("/v2/models/m").json()["inputs"][0]["shape"] == [1, 2]
    assert asked(gateway, "FP32") == {"1"}


@pytest.mark.slow
def test_a_reshape_that_goes_is_held_back_for_clients_see_another_shape(
    start_gateway: Any, repository: Path
) -> None:
    tensor = '[{ name: "%s" data_type: TYPE_FP32 dims: [2, 2] reshape { shape: [4] } }]'
    shown = f"max_batch_size: 0\ninput {tensor % 'X'}\noutput {tensor % 'Y'}\n"
    write(repository, "m", identity("FP32", [4]), config=shown)
    gateway = start_gateway(repository)
    (repository / "m" / "config.pbtxt").unlink()
    words = "input 'X' has shape [4], had [2,2]"
    wait_until(lambda: words in gateway.index()["m", "1"].get("reason", ""), 20, words)
    with clients(gateway) as both:
        for one, package in both:
            tensor = package.InferInput("X", [2, 2], "FP32")
            tensor.set_data_from_numpy(np.ones((2, 2), np.float32))
            assert one.infer("m", [tensor]).as_numpy("Y").shape == (2, 2)
