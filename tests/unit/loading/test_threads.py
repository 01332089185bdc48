"""How many threads a session gets where nobody said: a table, and what the kernel says of runs."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from onnx import ModelProto, helper

from serving.execution.onnx_nodes import Model, read_nodes
from serving.loading import threads
from serving.loading.batching.analysis import Analysis
from serving.loading.batching.verdict import BatchingVerdict
from serving.loading.trial.findings import Findings
from serving.model_config.schema import ModelConfig, SessionOptions
from serving.settings import load_settings
from serving.signature import Signature, Tensor
from tests.unit import graphs

FOUND = Findings(Analysis("proven"), one_thread=True)
BATCHED = BatchingVerdict(True, "proven", 64)
ALONE = BatchingVerdict(False, "coupled", 0)
SIGNATURE = Signature((Tensor("x", "FP32", (-1, 4)),), (Tensor("y", "FP32", (-1, 4)),))


@pytest.mark.parametrize(
    ("found", "config", "settings", "expected"),
    [
        (FOUND, ModelConfig(), {}, 1),
        (None, ModelConfig(), {}, None),
        (replace(FOUND, one_thread=False), ModelConfig(), {}, None),
        # What it makes follows requests' values: no run that was measured is the largest.
        (replace(FOUND, grows="Range"), ModelConfig(), {}, None),
        (FOUND, ModelConfig(session=SessionOptions(intra_op_threads=3)), {}, 3),
        (FOUND, ModelConfig(), {"threads.intra_op": 2}, None),
        (FOUND, ModelConfig(), {"threads.shared_pool": True}, None),
    ],
)
def test_one_thread_where_no_run_uses_more_and_nobody_said(
    found: Findings | None, config: ModelConfig, settings: dict[str, Any], expected: int | None
) -> None:
    given = load_settings(settings, None, {})[0]
    assert threads.in_force(config, given, found).session.intra_op_threads == expected


@pytest.mark.parametrize(
    ("shape", "datatype", "verdict", "measured", "expected"),
    [
        ((-1, 4), "FP32", BATCHED, (1, 64), True),
        # Larger batches may be shared.
        ((-1, 4), "FP32", BATCHED, (1, 32), False),
        # Alone, or uncut, a request may have any number of rows.
        ((-1, 4), "FP32", replace(BATCHED, may_cut=False), (1, 64), False),
        ((-1, 4), "FP32", ALONE, (1,), False),
        ((1, 4), "FP32", ALONE, (1,), True),
        ((1, 4), "FP32", ALONE, (), False),
        # Another axis, and texts, have any length.
        ((-1, -1), "FP32", BATCHED, (1, 64), False),
        ((-1, 1), "BYTES", BATCHED, (1, 64), False),
    ],
)
def test_what_was_measured_says_it_all_where_no_request_can_be_larger(
    shape: tuple[int, ...],
    datatype: str,
    verdict: BatchingVerdict,
    measured: tuple[int, ...],
    expected: bool,
) -> None:
    signature = replace(SIGNATURE, inputs=(Tensor("x", datatype, shape),))
    seconds = dict.fromkeys(measured, 1e-5)
    assert threads.says_it_all(signature, verdict, seconds) is expected


ALONE_AND_NOT = """
import threading, time
from serving.loading.warmup import Crew

def burn(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass

wake, done = threading.Event(), threading.Event()
def help():
    wake.wait()
    done.set()
    threading.Event().wait()

threading.Thread(target=help, daemon=True).start()
time.sleep(0.2)
alone, helped = Crew(), Crew()
for _ in range(20):
    with alone:
        burn(0.001)
with helped:
    wake.set()
    burn(0.001)
done.wait()
time.sleep(0.2)
with helped:
    burn(0.001)
print(alone.one_thread, helped.one_thread)
"""


def test_a_thread_that_is_woken_is_seen_once_and_for_all_and_one_that_sleeps_is_not() -> None:
    """In a process that nothing else goes on in."""
    command = [sys.executable, "-c", ALONE_AND_NOT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "True False\n"


NOT_YET_AT_REST = """
import hashlib, threading
from serving.loading import warmup

data, begun = bytes(50_000_000), threading.Event()
def work():  # as a thread that a busy machine has not let begin: it has no need of Python's lock
    begun.set()
    hashlib.sha256(data)
    threading.Event().wait()

def at_work_for_good():
    while True:
        hashlib.sha256(data)

threading.Thread(target=work, daemon=True).start()
begun.wait()
with warmup.Crew() as rested:
    sum(range(1000))
threading.Thread(target=at_work_for_good, daemon=True).start()
warmup._REST_S = 0.1
with warmup.Crew() as never:
    sum(range(1000))
print(rested.one_thread, never.one_thread, flush=True)
"""


def test_threads_that_come_to_rest_are_waited_for_and_one_that_never_does_works_too() -> None:
    command = [sys.executable, "-c", NOT_YET_AT_REST]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "True False\n"


def test_what_a_branch_computes_was_not_measured() -> None:
    def parsed(made: ModelProto) -> Model:
        return read_nodes(made.SerializeToString())

    inner = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["z"])],
        "branch",
        [],
        [helper.make_tensor_value_info("z", graphs.FLOAT, [1, 4])],
    )
    chosen = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    value = ("x", graphs.FLOAT, [1, 4]), ("c", graphs.BOOL, [])
    made = graphs.model([chosen], value, [("y", graphs.FLOAT, [1, 4])])
    assert threads.has_branches(parsed(made))
    assert not threads.has_branches(parsed(graphs.softmax()))
