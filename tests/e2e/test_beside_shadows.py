"""Callers beside a shadow: what they are answered, how many of them, and how long they wait in line
is what it is without one, however slow the shadow is, and whether it fails or hangs."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.bad_versions import models
from tests.clients import oip
from tests.clients.asking import Asking
from tests.clients.gateway import Gateway, wait_until
from tests.clients.triton import channel, stub
from tests.e2e.test_shadow import admin, settled, shadow, states
from tests.small_models import write

pytestmark = [pytest.mark.slow, pytest.mark.alone]

CALLERS = 4
# With the shadow and without, by turns: what else the machine does meets both.
TURNS, TURN_S = 9, 0.4
# So long a run of the slow one takes: who waited for one would wait as long.
RUN_S = 0.25
# The setting shadow.copies.
COPIES = 64
ROW = np.array([[models.SPECIAL, 1, 2, 3]], np.float32)

SHADOWS: dict[str, Callable[[], onnx.ModelProto]] = {
    "slow": lambda: models.busy(RUN_S),
    "failing": models.failing,
    "hanging": models.hanging,
}


class Callers(Asking):
    """Ask one after the other, each as soon as it is answered."""

    def __init__(self, gateway: Gateway) -> None:
        self.answered, self.wrong = 0, list[object]()
        self._gateway, self._lock = gateway, threading.Lock()
        super().__init__(*[self._ask] * CALLERS)

    def _ask(self) -> None:
        right = models.expected(ROW)
        with channel(self._gateway) as one:
            infer, request = stub(one).ModelInfer, oip.grpc_request("m", {"x": ROW})
            while not self._stop.is_set():
                try:
                    answer = infer(request, timeout=20)
                    found = np.frombuffer(answer.raw_output_contents[0], np.float32)
                    well = answer.model_version == "1" and np.allclose(found, right[0], atol=1e-5)
                    wrong: object = None if well else answer
                except Exception as error:  # noqa: BLE001 - whatever it is, a caller would see it
                    wrong = error
                with self._lock:
                    self.answered += 1
                    if wrong is not None:
                        self.wrong.append(wrong)


def answered_in_a_turn(callers: Callers) -> float:
    """A second."""
    before, since = callers.answered, time.monotonic()
    time.sleep(TURN_S)
    return (callers.answered - before) / (time.monotonic() - since)


def waited(gateway: Gateway) -> tuple[float, float]:
    """Requests that the answering version ran, and those of them that waited in its line longer
    than a tenth of a second."""
    page = gateway.metrics_text()

    def count(bound: str) -> float:
        name = "serving_queue_duration_seconds_bucket"
        return gateway.metric(name, scraped=page, model="m", version="1", le=bound)

    return count("+Inf"), count("+Inf") - count("0.1")


def ready(gateway: Gateway) -> int:
    """How many versions are."""
    found = gateway.models()["models"][0]["versions"]
    return sum(one["state"] == "READY" for one in found)


@pytest.mark.parametrize("kind", SHADOWS)
def test_callers_are_answered_as_fast_and_as_well_beside_a_shadow(
    start_gateway: Callable[..., Gateway], repository: Path, kind: str
) -> None:
    write(repository, "m", models.good(), 1)
    gateway = start_gateway(repository, {"shadow.timeout_s": "2"})
    admin(gateway, "m/route", {"weights": {"1": 100}})
    write(repository, "m", SHADOWS[kind](), 2)
    wait_until(lambda: ready(gateway) == 2, 30, "version 2 is there")
    ratios = []
    with Callers(gateway) as callers:
        for _ in range(TURNS):
            admin(gateway, "m/route", {"shadows": {"2": 1.0}})
            wait_until(lambda: states(gateway) == {"READY"}, 30, "copies are made")
            beside, report = answered_in_a_turn(callers), shadow(gateway)
            admin(gateway, "m/route", {"shadows": {}})
            ratios.append(beside / answered_in_a_turn(callers))
    ran, long = waited(gateway)
    assert callers.wrong == []
    told = gateway.metric("serving_request_duration_seconds_count", model="m", version="1")
    assert ran == callers.answered == told
    # Runs of copies may have a quarter of the time; on two cores one of both is theirs then.
    assert statistics.median(ratios) > 0.5, ratios
    # Nobody waited for a run of the shadow's.
    assert long <= ran / 500, (long, ran)
    # No more copies than may be wait for it: the others were dropped.
    assert 0 <= report["copies"] - settled(report) <= COPIES
    assert report["failed" if kind == "failing" else "dropped"]
