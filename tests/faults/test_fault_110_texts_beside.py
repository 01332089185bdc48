"""Fault 110: whoever sends many texts holds no interpreter that others need."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from tests.clients import oip
from tests.clients.gateway import Gateway, wait_until
from tests.clients.processes import arguments_of, children_of, gone
from tests.clients.triton import channel, stub
from tests.small_models import identity, write

# A child takes a second to start, several where much else runs.
pytestmark = pytest.mark.slow

MOST = 500
ODD = ["", "a\0b", "žluť 🐎", "x" * 1000, "end"]
MANY = np.array([[ODD[i % 5] + str(i) * (i % 3)] for i in range(4 * MOST)], object)
FEW = np.array([["a"], ["é"]], object)


def _gateway(folder: Path, **settings: str) -> Gateway:
    repository = folder / "repository"
    repository.mkdir()
    for name in ("many", "few"):
        write(repository, name, identity("BYTES"), config="max_batch_size: 5000\n")
    chosen = {
        "isolation.texts": str(MOST),
        **{k.replace("__", "."): v for k, v in settings.items()},
    }
    return Gateway(repository, folder / "gateway", settings=chosen)


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    gateway = _gateway(tmp_path_factory.mktemp("texts"))
    try:
        yield gateway.wait_ready()
    finally:
        gateway.finish()


def raw(gateway: Gateway, x: np.ndarray[Any, Any], model: str = "many") -> np.ndarray[Any, Any]:
    return _grpc(gateway, x, model, typed=False)


def typed(gateway: Gateway, x: np.ndarray[Any, Any], model: str = "many") -> np.ndarray[Any, Any]:
    return _grpc(gateway, x, model, typed=True)


def _grpc(
    gateway: Gateway, x: np.ndarray[Any, Any], model: str, *, typed: bool
) -> np.ndarray[Any, Any]:
    with channel(gateway) as one:
        request = oip.grpc_request(model, {"X": x}, typed=typed)
        return oip.grpc_arrays(stub(one).ModelInfer(request, timeout=60))["Y"]


def as_json(gateway: Gateway, x: np.ndarray[Any, Any], model: str = "many") -> Any:
    answer = gateway.infer(model, {"inputs": [oip.json_input("X", x)]})
    assert answer.status == 200, answer.body
    return oip.json_arrays(answer.json())["Y"]


def binary(gateway: Gateway, x: np.ndarray[Any, Any], model: str = "many") -> Any:
    body, headers = oip.binary_body({"X": x})
    answer = gateway.get(f"/v2/models/{model}/infer", body, "POST", headers)
    assert answer.status == 200, answer.body
    return oip.binary_arrays(answer.body, answer.headers)["Y"]


def texts_children(gateway: Gateway) -> dict[str, int]:
    """Of each version that has one, by its name in the process list."""
    assert gateway.process is not None
    found = {}
    for pid in children_of(gateway.process.pid):
        with contextlib.suppress(OSError):
            name = arguments_of(pid)[-1]
            if name.endswith(" texts"):
                found[name.removesuffix(" texts")] = pid
    return found


def wait_for_child(gateway: Gateway) -> int:
    """One that serves, whatever was before."""

    def serves() -> bool:
        raw(gateway, MANY)
        return "serving_isolated_process_up" in gateway.metrics_text() and bool(
            gateway.metric("serving_isolated_process_up", model="many")
        )

    wait_until(serves, 60, "a process for many texts")
    return texts_children(gateway)["many:1"]


def cpu(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


@pytest.mark.parametrize("ask", [raw, typed, as_json, binary])
def test_fault_110_many_texts_are_answered_beside_as_they_are_within(
    beside: Gateway, ask: Any
) -> None:
    pid = wait_for_child(beside)
    for x in (MANY, MANY.repeat(20, axis=0), FEW, np.full((0, 1), "", object)):
        np.testing.assert_array_equal(ask(beside, x), ask(beside, x, "few") if len(x) < 9 else x)
    assert texts_children(beside) == {"many:1": pid}, "few texts have started a child"


def test_fault_110_few_texts_stay_within(beside: Gateway) -> None:
    pid = wait_for_child(beside)
    before = psutil.Process(pid).num_ctx_switches().voluntary
    for _ in range(20):
        np.testing.assert_array_equal(raw(beside, FEW), FEW)
    after = psutil.Process(pid).num_ctx_switches().voluntary
    assert after - before < 10, "the child was asked"


def test_fault_110_the_child_gives_way_and_the_version_says_that_it_is_there(
    beside: Gateway,
) -> None:
    pid = wait_for_child(beside)
    assert beside.process is not None
    assert psutil.Process(pid).nice() > psutil.Process(beside.process.pid).nice()
    assert "its runs of many texts are in a process of their own" in str(beside.models())
    assert beside.metric("serving_model_isolated", model="many") == 0


def test_fault_110_a_child_that_is_killed_costs_nobody_an_answer(beside: Gateway) -> None:
    large = MANY.repeat(50, axis=0)
    for pause in (0.0, 0.05, 0.1):
        pid = wait_for_child(beside)
        with channel(beside) as one:
            request = oip.grpc_request("many", {"X": large})
            answer = stub(one).ModelInfer.future(request, timeout=60)
            time.sleep(pause)
            os.kill(pid, signal.SIGKILL)
            np.testing.assert_array_equal(oip.grpc_arrays(answer.result())["Y"], large)
        assert gone(pid)
    assert wait_for_child(beside) != pid


def test_fault_110_no_child_outlives_its_version(tmp_path: Path) -> None:
    gateway = _gateway(tmp_path, model_control="explicit", load_models="many")
    try:
        gateway.wait_ready()
        pid = wait_for_child(gateway)
        assert gateway.get("/v2/repository/models/many/unload", b"{}", "POST").status == 200
        assert gone(pid, 20)
        assert texts_children(gateway) == {}
    finally:
        gateway.finish()


@pytest.mark.parametrize(
    "settings", [{"isolation__texts": "0"}, {"isolation__mode": "none"}], ids=str
)
def test_fault_110_where_nobody_wants_children_there_are_none(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    gateway = _gateway(tmp_path, **settings)
    try:
        gateway.wait_ready()
        for _ in range(3):
            np.testing.assert_array_equal(raw(gateway, MANY), MANY)
        assert texts_children(gateway) == {}
    finally:
        gateway.finish()
