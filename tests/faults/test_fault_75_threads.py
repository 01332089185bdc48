"""Fault 75 for the settings of threads: each is seen in what a running gateway does."""

from __future__ import annotations

import time
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from tests.clients.gateway import Gateway, wait_until
from tests.small_models import OPSET, scale, slow_to_load, write

BUSY = {"LOADING", "WARMING"}


def _threads(gateway: Gateway) -> int:
    return len(list(Path(f"/proc/{gateway.process.pid}/task").iterdir()))


def _most_at_once(gateway: Gateway, names: set[str]) -> int:
    """How many versions were loading at the same moment, at most, until all were ready."""
    most = 0
    deadline = time.monotonic() + 60
    while True:
        models = [one for one in gateway.models()["models"] if one["name"] in names]
        states = [version["state"] for one in models for version in one["versions"]]
        most = max(most, sum(state in BUSY for state in states))
        if states.count("READY") == len(names):
            return most
        assert time.monotonic() < deadline, states
        time.sleep(0.01)


@pytest.mark.parametrize("loads", [1, 2])
def test_fault_75_threads_load_is_how_many_versions_load_at_once(
    start_gateway, repository, loads: int
) -> None:
    """Warming three slow models takes a while; one or two of them at a time are seen in it."""
    write(repository, "first", scale(1))
    gateway = start_gateway(repository, {"threads.load": str(loads)})
    names = {f"slow_{i}" for i in range(3)}
    for name in sorted(names):
        write(repository, name, slow_to_load(0.15), config="max_batch_size: 0\n")
    wait_until(
        lambda: names & {one["name"] for one in gateway.models()["models"]}, 20, "one is found"
    )
    assert _most_at_once(gateway, names) == loads


PARALLEL = "session:\n  execution_mode: parallel\n"


def _fork() -> onnx.ModelProto:
    """``Y = -X + |X|``: two operators that may run at the same time."""
    value = helper.make_tensor_value_info
    nodes = [
        helper.make_node("Neg", ["X"], ["a"]),
        helper.make_node("Abs", ["X"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["Y"]),
    ]
    x, y = (value(name, TensorProto.FLOAT, ["n", 2]) for name in "XY")
    graph = helper.make_graph(nodes, "graph", [x], [y])
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def test_fault_75_threads_inter_op_are_threads_of_a_parallel_session(
    start_gateway, repository
) -> None:
    """onnxruntime counts the caller, so six threads across operators are five new ones."""
    write(repository, "fork", _fork(), yaml=PARALLEL)
    few, many = (
        _threads(start_gateway(repository, {"threads.inter_op": count, "threads.intra_op": "1"}))
        for count in ("2", "7")
    )
    assert many - few == 5


def test_fault_75_threads_calls_are_threads_that_answer(start_gateway, repository) -> None:
    write(repository, "m", scale(1))
    few, many = (_threads(start_gateway(repository, {"threads.calls": n})) for n in ("1", "6"))
    assert many - few == 5
