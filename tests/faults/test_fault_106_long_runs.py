"""Fault 106: a run that nobody waits for is ended, and one that goes on keeps nobody else waiting.

One permit throughout: whoever holds it for nothing would keep every other model from running.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import crash_models
from tests.clients import oip
from tests.clients.gateway import Gateway, HttpAnswer, wait_until
from tests.clients.processes import children_of, cpu_seconds
from tests.small_models import scale, slow_to_load, write

pytestmark = pytest.mark.alone

ONE_PERMIT = {"threads.permits": "1"}
OTHER = {"inputs": [oip.json_input("X", np.array([[1, 2]], np.float32))]}
ABANDONED, FAILED = "serving_execution_abandoned_total", "serving_execution_failed_total"


def endless(seconds: float, x: float = -1) -> dict[str, Any]:
    """A request that never ends, unless ``x`` is not negative, with a deadline."""
    inputs = [oip.json_input("X", np.array([[x]], np.float32))]
    return {"inputs": inputs, "parameters": {"timeout": int(seconds * 1e6)}}


def lay(repository: Path, isolation: str) -> None:
    yaml = f"isolation: {isolation}\nmax_batch_size: 0\n"
    write(repository, "endless", crash_models.endless(), yaml=yaml)
    write(repository, "other", scale(1))


@contextmanager
def waiting(gateway: Gateway, model: str, body: dict[str, Any]) -> Iterator[list[HttpAnswer]]:
    """While somebody waits for this; what was answered."""
    answers: list[HttpAnswer] = []
    thread = threading.Thread(target=lambda: answers.append(gateway.infer(model, body)))
    thread.start()
    wait_until(lambda: executing(gateway, model), 20, "it runs")
    yield answers
    thread.join(60)


@contextmanager
def endless_beside(gateway: Gateway) -> Iterator[None]:
    """While somebody waits for a run that never ends; it ends when they leave."""
    caller = http.client.HTTPConnection(gateway.http, timeout=20)
    caller.request("POST", "/v2/models/endless/infer", json.dumps(endless(60)))
    wait_until(lambda: executing(gateway, "endless"), 20, "it runs")
    yield
    assert executing(gateway, "endless") == 1
    caller.close()
    wait_until(lambda: not executing(gateway, "endless"), 20, "nothing runs any more")


def executing(gateway: Gateway, model: str) -> float:
    return gateway.metric("serving_executing_batches", model=model)


def used(gateway: Gateway) -> float:
    """CPU seconds of the gateway and its children."""
    return gateway.cpu_seconds() + sum(map(cpu_seconds, children_of(gateway.process.pid)))


@pytest.mark.parametrize("isolation", ["none", pytest.param("process", marks=pytest.mark.slow)])
def test_fault_106_a_run_ends_when_its_caller_is_late_or_has_left(
    start_gateway: Any, repository: Path, isolation: str
) -> None:
    lay(repository, isolation)
    gateway = start_gateway(repository, {**ONE_PERMIT, "threads.lend_permit_s": "0"})
    children = children_of(gateway.process.pid)
    assert gateway.infer("endless", endless(0.3)).status == 504
    assert gateway.infer("other", OTHER).status == 200
    with endless_beside(gateway):
        pass
    assert gateway.infer("other", OTHER).status == 200
    assert gateway.infer("endless", endless(20, x=5)).status == 200
    assert gateway.metric(ABANDONED, model="endless") == 2
    assert gateway.metric(FAILED) == 0
    assert children_of(gateway.process.pid) == children, "a child that obeys lives on"
    before = used(gateway)
    time.sleep(0.5)
    assert used(gateway) - before < 0.25, "something is still running"


def test_fault_106_a_run_that_goes_on_lends_its_permit(
    start_gateway: Any, repository: Path
) -> None:
    """Its caller waits all the while."""
    lay(repository, "none")
    gateway = start_gateway(repository, {**ONE_PERMIT, "threads.lend_permit_s": "0.2"})
    with endless_beside(gateway):
        for _ in range(5):
            assert gateway.infer("other", OTHER).status == 200


def test_fault_106_a_models_first_run_waits_as_its_warm_up_took(
    start_gateway: Any, repository: Path
) -> None:
    lay(repository, "none")
    gateway = start_gateway(repository, {**ONE_PERMIT, "threads.lend_permit_s": "60"})
    with endless_beside(gateway):
        soon = {**OTHER, "parameters": {"timeout": 10_000_000}}
        assert gateway.infer("other", soon).status == 200


def beats(gateway: Gateway) -> int:
    """How often the thread that makes the scheduler look has slept."""
    tasks = Path(f"/proc/{gateway.process.pid}/task").iterdir()
    (beat,) = (one for one in tasks if (one / "comm").read_text() == "serving-beat\n")
    status = dict(line.split(":\t") for line in (beat / "status").read_text().splitlines())
    return int(status["voluntary_ctxt_switches"])


@pytest.mark.parametrize("isolation", ["none", pytest.param("process", marks=pytest.mark.slow)])
def test_fault_106_the_scheduler_looks_often_while_a_run_goes_on(
    start_gateway: Any, repository: Path, isolation: str
) -> None:
    lay(repository, isolation)
    gateway = start_gateway(repository, ONE_PERMIT)
    with endless_beside(gateway):
        before = beats(gateway)

        def looks() -> bool:
            assert gateway.infer("other", OTHER).status == 200
            return beats(gateway) > before + 100

        wait_until(looks, 20, "it looks often")

    def rests() -> bool:
        before = beats(gateway)
        time.sleep(0.1)
        return beats(gateway) == before

    wait_until(rests, 20, "it rests")


def test_fault_75_threads_lend_permit_s_of_0_lends_nothing(
    start_gateway: Any, repository: Path
) -> None:
    lay(repository, "none")
    gateway = start_gateway(repository, {**ONE_PERMIT, "threads.lend_permit_s": "0"})
    with endless_beside(gateway):
        late = {**OTHER, "parameters": {"timeout": 500_000}}
        assert gateway.infer("other", late).status == 504
    assert gateway.infer("other", OTHER).status == 200


@pytest.mark.slow
def test_fault_106_a_child_that_hangs_keeps_nobody_waiting_and_is_replaced(
    start_gateway: Any, repository: Path
) -> None:
    """Stopped by a signal it obeys no word; killed for that, it is no crash and has no wait."""
    lay(repository, "process")
    gateway = start_gateway(repository, ONE_PERMIT)
    (child,) = children_of(gateway.process.pid)
    for _ in range(2):
        (child,) = wait_until(lambda: children_of(gateway.process.pid), 20, "its process")
        os.kill(child, signal.SIGSTOP)
        with waiting(gateway, "endless", endless(4, x=5)) as answers:
            began = time.monotonic()
            assert gateway.infer("other", OTHER).status == 200
            assert time.monotonic() - began < 3.5
            assert answers == []
        assert [answer.status for answer in answers] == [504]
        assert gateway.infer("endless", endless(20, x=5)).status == 200
        assert children_of(gateway.process.pid) != [child]
    assert gateway.metric("serving_isolated_process_crash_total") == 0
    assert gateway.metric(FAILED) == 0
    assert "a run that nobody waited for did not end" in gateway.log()


@pytest.mark.slow
def test_fault_106_a_small_model_answers_beside_long_runs_as_they_should_be(
    start_gateway: Any, repository: Path
) -> None:
    write(repository, "long", slow_to_load(4), config="max_batch_size: 0\n")
    write(repository, "other", scale(1))
    gateway = start_gateway(repository, ONE_PERMIT)
    body = {"inputs": [oip.json_input("X", np.ones((1, 1), np.float32))]}
    with waiting(gateway, "long", body) as answers:
        began = time.monotonic()
        assert gateway.infer("other", OTHER).status == 200
        assert time.monotonic() - began < 3
        began = time.monotonic()
        for _ in range(5):
            assert gateway.infer("other", OTHER).status == 200
        assert time.monotonic() - began < 1, "the permit stays lent"
        assert answers == []
    assert [answer.status for answer in answers] == [200]
