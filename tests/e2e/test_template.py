"""What a gateway's children are forked from: when it is there, and what its end costs."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.clients import oip
from tests.clients.gateway import Gateway, wait_until
from tests.clients.processes import children_of, gone, template_of
from tests.crash_models import divide_by_input
from tests.small_models import scale, write

BODY = {"inputs": [oip.json_input("X", np.ones((1, 2), np.float32))]}


def template(gateway: Gateway) -> int:
    found: int = wait_until(lambda: template_of(gateway.process.pid), 60, "there is a template")
    return found


@pytest.mark.slow
def test_fault_20_a_template_that_is_killed_costs_no_answer_and_takes_no_model_along(
    start_gateway: Any, repository: Path
) -> None:
    write(repository, "m", scale(1), yaml="isolation: process\n")
    gateway = start_gateway(repository)
    (child,) = children_of(gateway.process.pid)
    first = template(gateway)
    os.kill(first, signal.SIGKILL)
    assert gone(first)
    assert gateway.infer("m", BODY).status == 200
    assert children_of(gateway.process.pid) == [child]
    os.kill(child, signal.SIGKILL)
    assert gateway.infer("m", BODY).status == 200
    (again,) = children_of(gateway.process.pid)
    assert again != child
    assert gateway.events("template_failed")
    assert gateway.stop() == 0
    assert gone(again)


@pytest.mark.slow
def test_it_stays_for_a_model_of_its_own_process_and_comes_for_a_change(
    start_gateway: Any, repository: Path
) -> None:
    write(repository, "m", scale(1))
    gateway = start_gateway(repository, {"model_control": "both", "loading.trial": "on"})
    gone_by_itself = template(gateway)
    assert gone(gone_by_itself, within_s=40)
    # Not whole yet: nothing can be tried.
    (repository / "div" / "1").mkdir(parents=True)
    template(gateway)
    write(repository, "div", divide_by_input())
    wait_until(lambda: gateway.get("/v2/models/div/ready").status == 200, 60, "it is loaded")
    stays = template(gateway)
    assert not gone(stays, within_s=20)
    assert gateway.post("/v2/repository/models/div/unload", {}).status == 200
    assert gone(stays, within_s=40)
    gateway.finish()
