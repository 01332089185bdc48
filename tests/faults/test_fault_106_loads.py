"""Fault 106 for loads: a version whose trial does not end keeps no other from being loaded."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.clients import oip
from tests.clients.gateway import wait_until
from tests.small_models import looping, scale, write

# A child or two for each.
pytestmark = pytest.mark.slow

HANGING = 6
TRIALS = {"loading.trial": "on", "loading.trial_timeout_s": "60"}
OTHER = {"inputs": [oip.json_input("X", np.array([[1, 2]], np.float32))]}


def lay_hanging(repository: Path, count: int) -> None:
    """They stand before the good one in the line."""
    for number in range(count):
        write(repository, f"hangs_{number}", looping(2**60))
    write(repository, "then_good", scale(1))


def is_ready(gateway: Any, model: str) -> bool:
    try:
        return bool(gateway.get(f"/v2/models/{model}/ready", timeout=2).status == 200)
    except OSError:
        return False


def test_fault_106_a_good_version_behind_six_that_hang_is_ready_soon(
    start_gateway: Any, repository: Path
) -> None:
    """One after the other they would take six minutes before it."""
    lay_hanging(repository, HANGING)
    gateway = start_gateway(repository, TRIALS, wait=False)
    wait_until(lambda: is_ready(gateway, "then_good"), 60, "the good one is ready")
    assert gateway.infer("then_good", OTHER).status == 200
    index = gateway.index()
    reasons = [index[f"hangs_{number}", "1"].get("reason", "") for number in range(HANGING)]
    assert not any("took longer" in reason for reason in reasons), reasons
    # It is no matter of the start alone.
    write(repository, "later", scale(2))
    wait_until(lambda: is_ready(gateway, "later"), 60, "the newcomer is ready")


def test_fault_75_loading_slow_after_s_is_when_another_is_loaded_beside(
    start_gateway: Any, repository: Path
) -> None:
    lay_hanging(repository, 1)
    one = {**TRIALS, "threads.load": "1"}
    gateway = start_gateway(repository, {**one, "loading.slow_after_s": "1000"}, wait=False)
    wait_until(lambda: "then_good" in _names(gateway), 30, "all are seen")
    time.sleep(1.5)
    assert not is_ready(gateway, "then_good")
    quick = start_gateway(repository, {**one, "loading.slow_after_s": "0.1"}, wait=False)
    wait_until(lambda: is_ready(quick, "then_good"), 60, "the good one is ready")
    assert not is_ready(gateway, "then_good")


def _names(gateway: Any) -> set[str]:
    try:
        return {one["name"] for one in gateway.models()["models"]}
    except OSError:
        return set()
