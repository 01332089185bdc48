"""Which versions a real gateway loads and which one answers, under load and across restarts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.clients.gateway import Gateway, wait_until
from tests.clients.load import BODY, Load
from tests.clients.oip import grpc_request
from tests.clients.triton import channel, stub
from tests.small_models import scale, write


def order(gateway: Gateway, verb: str, body: object = None, model: str = "m") -> Any:
    """A command on the admin port, carried out when this returns."""
    path = f"/api/v1/models/{model}/{verb}?timeout=30"
    answer = gateway.get(path, json.dumps(body or {}).encode(), "POST", port=gateway.admin_port)
    assert answer.status == 200, answer
    return answer.json()


def answers(gateway: Gateway, model: str = "m") -> str:
    reply = gateway.get(f"/v2/models/{model}/infer", BODY, "POST")
    assert reply.status == 200, reply
    return str(reply.json()["model_version"])


def states(gateway: Gateway, model: str = "m") -> dict[str, str]:
    return {v: entry.get("state", "") for (m, v), entry in gateway.index().items() if m == model}


def kept_state(tmp_path: Path, **more: str) -> dict[str, str]:
    return {"state_dir": str(tmp_path / "kept"), **more}


def test_rollback_and_default_swap_under_load_without_a_failed_request(
    start_gateway, repository
) -> None:
    write(repository, "m", scale(1), 1)
    gateway = start_gateway(repository, {"rollout.keep_previous_s": "0"})
    with Load(gateway, "m") as load:
        write(repository, "m", scale(2), 2)
        wait_until(lambda: load.versions["2"] > 20, 20, "version 2 answers")
        wait_until(lambda: "1" not in states(gateway), 10, "version 1 left")
        for _ in range(3):
            order(gateway, "rollback")
            assert answers(gateway) == "1"
            order(gateway, "default", {"version": 2})
            assert answers(gateway) == "2"
    assert not load.failures
    assert not load.refused
    gateway.assert_clean_log()


@pytest.mark.parametrize("mode", ["poll", "both"])
def test_fault_101_a_pin_outlives_a_kill_and_a_newer_version(
    start_gateway, repository, tmp_path: Path, mode: str
) -> None:
    for version in (1, 2):
        write(repository, "m", scale(version), version)
    settings = kept_state(tmp_path, model_control=mode)
    first = start_gateway(repository, settings)
    assert answers(first) == "2"
    order(first, "default", {"version": 1})
    first.process.kill()
    first.process.wait()
    write(repository, "m", scale(3), 3)
    second = start_gateway(repository, settings)
    assert answers(second) == "1"
    order(second, "default", {"version": "auto"})
    assert answers(second) == "3"


def test_in_both_what_was_unloaded_stays_out_across_a_restart(
    start_gateway, repository, tmp_path: Path
) -> None:
    """Fault 83: the server stays ready, the model does not."""
    write(repository, "m", scale(1))
    settings = kept_state(tmp_path, model_control="both")
    first = start_gateway(repository, settings)
    order(first, "unload")
    assert first.ready()
    assert first.get("/v2/models/m/ready").status != 200
    assert first.stop() == 0
    second = start_gateway(repository, settings)
    assert second.get("/v2/models/m/infer", BODY, "POST").status == 503
    order(second, "load")
    assert answers(second) == "1"


def test_explicit_loads_what_is_named_and_a_load_picks_up_changed_files(
    start_gateway, repository
) -> None:
    for model in ("a", "b"):
        write(repository, model, scale(1))
    arguments = ("--model-control", "explicit", "--load-model", "a")
    gateway = start_gateway(repository, arguments=arguments)
    assert answers(gateway, "a") == "1"
    assert gateway.get("/v2/models/b/infer", BODY, "POST").status == 503
    order(gateway, "load", model="b")
    assert answers(gateway, "b") == "1"
    with Load(gateway, "a", clients=1):
        (repository / "a" / "config.pbtxt").write_text("max_batch_size: 4\ndynamic_batching {}\n")
        order(gateway, "load", model="a")
    assert gateway.get("/v2/models/a/config").json()["max_batch_size"] == 4


def test_fault_5_after_an_unload_a_model_off_the_disk_is_not_found(
    start_gateway, repository
) -> None:
    write(repository, "m", scale(1))
    gateway = start_gateway(repository)
    shutil.rmtree(repository / "m")
    order(gateway, "unload")
    assert gateway.get("/v2/models/m/infer", BODY, "POST").status == 404


def test_a_version_policy_changes_while_running(start_gateway, repository) -> None:
    for version in (1, 2):
        write(repository, "m", scale(version), version)
    gateway = start_gateway(repository, {"rollout.keep_previous_s": "0"})
    assert states(gateway) == {"2": "READY"}
    with Load(gateway, "m", clients=1) as load:
        for policy, expected in (
            ("{ all {} }", {"1": "READY", "2": "READY"}),
            ("{ specific { versions: [1] } }", {"1": "READY"}),
            ("{ latest { num_versions: 1 } }", {"2": "READY"}),
        ):
            (repository / "m" / "config.pbtxt").write_text(f"version_policy: {policy}\n")
            wait_until(lambda want=expected: states(gateway) == want, 15, policy)
    assert not load.failures


@pytest.mark.parametrize("readiness", ["settled", "any"])
def test_fault_33_a_broken_model_does_not_hold_readiness_back(
    start_gateway, repository, readiness: str
) -> None:
    write(repository, "good", scale(1))
    write(repository, "broken", b"no model at all")
    assert start_gateway(repository, {"readiness": readiness}).ready()


def test_fault_33_under_strict_a_broken_model_holds_readiness_back_until_it_heals(
    start_gateway, repository
) -> None:
    write(repository, "good", scale(1))
    write(repository, "broken", b"no model at all")
    gateway = start_gateway(repository, {"readiness": "strict"}, wait=False)
    wait_until(lambda: '"event": "listening"' in gateway.log(), 30, "the doors are open")
    assert gateway.get("/v2/health/live").status == 200
    wait_until(lambda: states(gateway, "broken").get("1") == "UNAVAILABLE", 30, "it has failed")
    wait_until(lambda: states(gateway, "good").get("1") == "READY", 30, "the good one is ready")
    assert answers(gateway, "good") == "1"
    assert not gateway.ready()
    (repository / "broken" / "1" / "model.onnx").write_bytes(scale(2).SerializeToString())
    wait_until(gateway.ready, 15, "ready once it healed")
    write(repository, "broken", b"no model again", 2)
    wait_until(lambda: states(gateway, "broken").get("2") == "UNAVAILABLE", 15, "2 is reported")
    assert gateway.ready()


def test_a_models_name_may_have_spaces_at_every_door(start_gateway, repository) -> None:
    """Triton takes a folder's name as it is, a URL has %20 there, and a label may hold any text."""
    name, quoted = "my model", "my%20model"
    for version in (1, 2):
        write(repository, name, scale(version), version)
    gateway = start_gateway(repository)
    assert answers(gateway, quoted) == "2"
    with channel(gateway) as open_channel:
        request = grpc_request(name, {"X": np.ones((1, 2), np.float32)})
        assert stub(open_channel).ModelInfer(request, timeout=20).model_name == name
    pinned = order(gateway, "default", {"version": 1}, model=quoted)
    assert "serving models default 'my model' auto" in pinned["model"]["reason"], "it can be pasted"
    assert answers(gateway, quoted) == "1"
    assert (name, "1") in gateway.index()
    assert gateway.metric("serving_request_total", model=name, protocol="grpc") == 1
