"""Trials through a real gateway: what crashes a loader never touches who is served."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from tests.clients import oip
from tests.clients.gateway import Gateway, wait_until
from tests.clients.processes import children_of
from tests.small_models import TINY_WEIGHTS, looping, tiny, tiny_expected, write
from tests.unit import graphs
from tests.unit.loading.batching.test_live_proof import picky
from tests.unit.loading.trial.test_trial import dies_while_loading, unfolds

ON = {"loading.trial": "on", "log.level": "info"}
X = [[1.0, 2.0, 3.0, 4.0]]
ASK = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": X}]}


def answers(gateway: Gateway) -> bool:
    reply = gateway.infer("tiny", ASK)
    if reply.status != 200:
        return False
    found = reply.json()["outputs"][0]["data"]
    np.testing.assert_allclose(found, tiny_expected(np.array(X, np.float32))[0], rtol=1e-5)
    return True


def children(gateway: Gateway) -> list[psutil.Process]:
    return psutil.Process(gateway.process.pid).children()


def trials_started(gateway: Gateway) -> int:
    return len(re.findall("trial_process_started", gateway.log()))


def test_fault_14_a_file_that_crashes_the_loader_fails_alone(start_gateway, repository) -> None:
    write(repository, "tiny", tiny())
    write(repository, "crash", dies_while_loading())
    gateway = start_gateway(repository, ON)
    entry = gateway.index()["crash", "1"]
    assert entry["state"] == "UNAVAILABLE"
    assert entry["reason"] == "its trial ended with SIGFPE while it was loaded"
    assert answers(gateway)
    assert gateway.get("/v2/models/crash/ready").status == 503


def test_fault_2_a_new_version_that_crashes_leaves_the_old_one_serving(
    start_gateway, repository
) -> None:
    write(repository, "tiny", tiny())
    gateway = start_gateway(repository, ON)
    assert answers(gateway)
    write(repository, "tiny", dies_while_loading(), 2)
    wait_until(
        lambda: "SIGFPE" in gateway.index().get(("tiny", "2"), {}).get("reason", ""),
        30,
        "the new version has failed",
    )
    assert answers(gateway)


def test_fault_15_a_model_that_eats_memory_fails_alone(start_gateway, repository) -> None:
    """A few hundred bytes that take 800 MB; the server never grows for it."""
    write(repository, "tiny", tiny())
    write(repository, "hungry", unfolds(20_000, 10_000))
    settings = {**ON, "loading.model_memory_bytes": str(300_000_000)}
    gateway = start_gateway(repository, settings)
    reason = gateway.index()["hungry", "1"]["reason"]
    assert reason == "it needs more memory than the 300 MB that it may take"
    assert answers(gateway)
    assert gateway.rss() < 500_000_000


def test_a_restart_repeats_only_the_trials_that_failed(
    start_gateway, repository, tmp_path: Path
) -> None:
    write(repository, "tiny", tiny())
    write(repository, "crash", dies_while_loading())
    settings = {**ON, "state_dir": str(tmp_path / "state")}
    first = start_gateway(repository, settings)
    assert answers(first)
    assert trials_started(first) >= 1
    first.finish()
    (document,) = (tmp_path / "state" / "trials").iterdir()
    before = document.stat().st_mtime_ns
    again = start_gateway(repository, settings)
    assert answers(again)
    assert "SIGFPE" in again.index()["crash", "1"]["reason"]
    outcomes = {o: again.metric("serving_trial_total", outcome=o) for o in ("kept", "refused")}
    assert outcomes == {"kept": 1, "refused": 1}
    assert document.stat().st_mtime_ns == before


def test_a_gateway_killed_while_a_load_goes_on_repeats_no_trial_that_had_ended(
    start_gateway, repository, tmp_path: Path
) -> None:
    write(repository, "tiny", tiny())
    write(repository, "endless", looping(2**60))
    settings = {**ON, "state_dir": str(tmp_path / "state")}
    first = start_gateway(repository, settings, wait=False)
    documents = tmp_path / "state" / "trials"
    wait_until(lambda: any(documents.glob("*.json")), 30, "what the first trial found is kept")
    assert first.index()["endless", "1"]["state"] == "LOADING"
    first.process.kill()
    first.process.wait()
    again = start_gateway(repository, settings, wait=False)
    wait_until(lambda: _is_live(again), 30, "the doors are open")
    wait_until(lambda: again.get("/v2/models/tiny/ready").status == 200, 30, "tiny is ready")
    assert again.metric("serving_trial_total", outcome="kept") == 1
    assert again.metric("serving_trial_total", outcome="passed") == 0


def test_what_the_trial_kept_holds_no_path_and_is_plain(
    start_gateway, repository, tmp_path: Path
) -> None:
    write(repository, "tiny", tiny())
    gateway = start_gateway(repository, {**ON, "state_dir": str(tmp_path / "state")})
    gateway.finish()
    (document,) = (tmp_path / "state" / "trials").iterdir()
    text = document.read_text()
    assert str(tmp_path) not in text
    (found,) = json.loads(text)["findings"].values()
    assert found["analysis"]["kind"] == "proven"


def test_the_trials_child_goes_when_there_is_nothing_to_try(start_gateway, repository) -> None:
    write(repository, "tiny", tiny())
    gateway = start_gateway(repository, ON)
    # That from which it was forked stays longer.
    wait_until(lambda: not children_of(gateway.process.pid), 30, "the child has ended")
    assert answers(gateway)


def test_fault_32_no_child_outlives_a_gateway_that_is_killed(start_gateway, repository) -> None:
    for name in "abcdefgh":
        write(repository, name, tiny())
    gateway = start_gateway(repository, ON, wait=False)
    left = wait_until(lambda: children(gateway), 30, "a trial has begun")
    gateway.process.kill()
    gateway.process.wait()
    _, alive = psutil.wait_procs(left, 10)
    assert not alive


def test_cost_and_memory_are_metrics(start_gateway, repository) -> None:
    write(repository, "tiny", tiny())
    gateway = start_gateway(repository, ON)
    labels = {"model": "tiny", "version": "1"}
    assert gateway.metric("serving_model_memory_bytes", **labels) >= TINY_WEIGHTS.nbytes
    assert gateway.metric("serving_model_best_batch_rows", **labels) == 0, "nobody has asked yet"
    x = np.ones((1, 4), np.float32)
    assert gateway.infer("tiny", {"inputs": [oip.json_input("x", x)]}).status == 200
    cost = gateway.metric("serving_model_cost_fixed_seconds", **labels)
    cost += gateway.metric("serving_model_cost_per_row_seconds", **labels)
    assert 0 < cost < 1
    assert gateway.metric("serving_model_best_batch_rows", **labels) >= 8


def test_the_memory_of_all_versions_together_is_bounded_and_may_come_back(
    start_gateway, repository
) -> None:
    """The second has no room while the first is there, and is tried again when it left."""
    weights = np.ones((4, 2_500_000), np.float32)
    values = [("x", graphs.FLOAT, ["n", 4])], [("y", graphs.FLOAT, ["n", 2_500_000])]
    made = graphs.one("MatMul", *values, {"w": weights})
    write(repository, "first", made, config="max_batch_size: 0\n")
    settings = {
        "loading.memory_bytes": str(60_000_000),
        "loading.retry_first_s": "0.2",
        "loading.retry_max_s": "0.5",
        "model_control": "both",
    }
    gateway = start_gateway(repository, settings)
    write(repository, "second", made, config="max_batch_size: 0\n")
    wait_until(
        lambda: "no room" in gateway.index().get(("second", "1"), {}).get("reason", ""),
        20,
        "the second has no room",
    )
    assert gateway.get("/v2/models/first/ready").status == 200
    assert gateway.post("/v2/repository/models/first/unload", {}).status == 200
    wait_until(
        lambda: gateway.get("/v2/models/second/ready").status == 200, 20, "the second is there"
    )


def test_a_gateway_stops_at_once_while_a_trial_goes_on(start_gateway, repository) -> None:
    """A model whose run never ends is being tried when SIGTERM comes."""
    write(repository, "endless", looping(2**60))
    gateway = start_gateway(repository, ON, wait=False)
    wait_until(lambda: _is_live(gateway), 30, "the doors are open")
    wait_until(lambda: gateway.index().get(("endless", "1")), 30, "the version is seen")
    left = wait_until(lambda: children(gateway), 30, "a trial has begun")
    assert gateway.stop(15) == 0
    _, alive = psutil.wait_procs(left, 5)
    assert not alive


def test_what_real_requests_showed_holds_after_a_restart(
    start_gateway, repository, tmp_path: Path
) -> None:
    write(repository, "picky", picky())
    settings = {**ON, "state_dir": str(tmp_path / "state"), "batching.open": "tested"}
    gateway = start_gateway(repository, settings)
    assert "real requests may test it" in _version(gateway)["batching"]
    for value in range(1000, 1004):
        ask = {"inputs": [{"name": "i", "shape": [1], "datatype": "INT64", "data": [value]}]}
        assert gateway.infer("picky", ask).json()["outputs"][0]["data"] == [value - 1000]
    tested = "batched, up to 64 rows: tested, not proven"
    wait_until(lambda: _version(gateway)["batching"].startswith(tested), 20, "requests test it")
    assert _version(gateway)["max_rows"] == 0, "what clients see stays"
    gateway.finish()
    again = _version(start_gateway(repository, settings))
    assert again["batching"].startswith(tested)
    assert again["max_rows"] == 64


def _version(gateway: Gateway) -> dict[str, Any]:
    (model,) = gateway.models()["models"]
    return dict(model["versions"][0])


def _is_live(gateway: Gateway) -> bool:
    try:
        return gateway.get("/v2/health/live", timeout=2).status == 200
    except OSError:
        return False
