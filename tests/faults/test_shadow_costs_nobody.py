"""A bad shadow costs no caller anything: it hangs, fails, dies, is slow, or is flooded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from tests.clients.gateway import Gateway, wait_until
from tests.crash_models import POISON, divide_by_input
from tests.e2e.test_canary import Users, divide_safely, table
from tests.small_models import looping, scale, slow, write

pytestmark = pytest.mark.slow

OF_ONE = "version_policy: {specific: [1]}\n"


def report(gateway: Gateway) -> Any:
    return gateway.get("/api/v1/models/m/shadows/2", port=gateway.admin_port).json()


@pytest.fixture
def shadowed(start_gateway: Any, repository: Any) -> Any:
    """A function that starts a gateway whose version 2 shadows version 1 at every request."""

    def start(one: Any, two: Any, **settings: str) -> Gateway:
        for number, model in ((1, one), (2, two)):
            write(repository, "m", model, number, yaml=OF_ONE)
        given = {key.replace("__", "."): value for key, value in settings.items()}
        gateway: Gateway = start_gateway(repository, given)
        body = json.dumps({"shadows": {"2": 1.0}}).encode()
        path = "/api/v1/models/m/route?wait=true&timeout=60"
        answer = gateway.get(path, body, "POST", port=gateway.admin_port, timeout=70)
        assert answer.status == 200, answer
        return gateway

    return start


@contextmanager
def served_well(gateway: Gateway, inputs: dict[str, Any], count: int = 300) -> Iterator[None]:
    """Users who all are answered by version 1 while the body runs and until there are many."""
    with Users(gateway, "m", inputs) as users:
        yield
        wait_until(lambda: users.failures or users.versions.total() >= count, 60, "many answers")
    assert users.failures == []
    assert set(users.versions) == {"1"}
    errors = gateway.metrics_text()
    assert gateway.metric("serving_fallback_total", scraped=errors) == 0
    slow_ones = gateway.metric(
        "serving_request_duration_seconds_count", scraped=errors, model="m"
    ) - gateway.metric(
        "serving_request_duration_seconds_bucket", scraped=errors, model="m", le="2.5"
    )
    assert slow_ones == 0


def test_one_that_fails(shadowed: Any) -> None:
    gateway = shadowed(table(10), table(5))
    with served_well(gateway, {"I": np.array([[7]], np.int64)}):
        wait_until(lambda: sum(report(gateway)["failed"].values()) > 20, 30, "copies fail")
    found = report(gateway)
    assert set(found["failed"]) == {"bad_data"}
    assert found["compared"] == 0
    assert gateway.metric("serving_execution_failed_total", model="m") == 0


def test_one_that_ends_its_process(shadowed: Any) -> None:
    gateway = shadowed(divide_safely(), divide_by_input())
    poison = {"A": np.array([[POISON]], np.int64), "B": np.array([[-1]], np.int64)}
    with served_well(gateway, poison):
        wait_until(lambda: sum(report(gateway)["failed"].values()) > 0, 60, "its process died")
    assert gateway.ready()


def test_one_that_hangs(shadowed: Any) -> None:
    gateway = shadowed(looping(1), slow(30.0), shadow__timeout_s="1", shadow__copies="16")
    with served_well(gateway, {"X": np.array([[3.0]], np.float32)}):
        wait_until(
            lambda: report(gateway)["dropped"].get("late", 0) > 16, 60, "copies wait too long"
        )
    found = report(gateway)
    assert found["dropped"].get("full", 0) > 0
    assert found["compared"] == 0
    # All that was held for them goes, though nobody asks any more.
    wait_until(lambda: gateway.metric("serving_buffered_bytes") == 0, 30, "the bytes are free")


def test_one_that_is_a_hundred_times_slower(shadowed: Any) -> None:
    gateway = shadowed(looping(100), slow(0.05))
    with served_well(gateway, {"X": np.array([[3.0]], np.float32)}):
        wait_until(lambda: report(gateway)["compared"] > 0, 60, "some are compared")
    found = report(gateway)
    assert found["different"] == 0


def test_one_that_is_flooded(shadowed: Any) -> None:
    """Requests of a megabyte, of which copies may hold three."""
    gateway = shadowed(scale(2.0, ("n", 2)), scale(2.0, ("n", 2)), shadow__bytes=str(3 << 20))
    large = np.ones((1 << 17, 2), np.float32)
    with served_well(gateway, {"X": large}, count=60):
        wait_until(
            lambda: sum(report(gateway)["dropped"].values()) + report(gateway)["compared"] > 0,
            60,
            "copies are dropped or compared",
        )
    wait_until(lambda: gateway.metric("serving_buffered_bytes") == 0, 30, "the bytes are free")
