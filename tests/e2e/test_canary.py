"""A rollout on a real gateway, as users see it who go on asking all the while."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from tests.clients import forked, oip
from tests.clients.asking import Asking
from tests.clients.gateway import Gateway, wait_until
from tests.clients.triton import channel, stub
from tests.crash_models import POISON, divide_by_input
from tests.small_models import _constant, _model, _value, scale, write

WINDOW_S = 1.0


def table(size: int) -> onnx.ModelProto:
    """``Y = I`` for indices below ``size``; it fails on others."""
    node = helper.make_node("Gather", ["table", "I"], ["Y"], axis=0)
    values = np.arange(size, dtype=np.float32)
    return _model(
        [node],
        [_value("I", "INT64", ["n", 1])],
        [_value("Y", "FP32", ["n", 1])],
        [_constant("table", values)],
    )


def divide_safely() -> onnx.ModelProto:
    """As ``divide_by_input``, but that nothing ends its process."""
    nodes = [helper.make_node("Mul", ["A", "B"], ["Y"])]
    values = [_value(name, "INT64", ["n", 1]) for name in ("A", "B")]
    return _model(nodes, values, [_value("Y", "INT64", ["n", 1])])


class Users(Asking):
    """Ask, a few milliseconds apart, until they are told to stop; every answer is counted."""

    def __init__(self, gateway: Gateway, model: str, inputs: dict[str, np.ndarray]) -> None:
        self.versions: Counter[str] = Counter()
        self.failures: list[Any] = []
        self._gateway, self._model, self._inputs = gateway, model, inputs
        super().__init__(self._by_http, self._by_grpc)

    def _by_http(self) -> None:
        given = [oip.json_input(name, array) for name, array in self._inputs.items()]
        while not self._stop.wait(0.005):
            answer = self._gateway.infer(self._model, {"inputs": given})
            if answer.status == 200:
                self.versions[answer.json()["model_version"]] += 1
            else:
                self.failures.append(answer)

    def _by_grpc(self) -> None:
        with channel(self._gateway) as one:
            infer = stub(one).ModelInfer
            while not self._stop.wait(0.005):
                try:
                    answer = infer(oip.grpc_request(self._model, self._inputs), timeout=20)
                    self.versions[answer.model_version] += 1
                except Exception as error:  # noqa: BLE001 - whatever it is, a user would see it
                    self.failures.append(error)


def command(gateway: Gateway, *words: str) -> Any:
    environment = {"SERVING_ADMIN_URL": f"http://{gateway.admin}"}
    done = forked.run("rollout", *words, environment=environment)
    assert done.returncode == 0, done
    return done.stdout


def status(gateway: Gateway) -> Any:
    return gateway.get("/api/v1/models/m/rollout", port=gateway.admin_port).json()


def wait_ended(gateway: Gateway, phase: str) -> Any:
    """Raises AssertionError where it does not come to it."""
    under_way = ("waiting", "running")
    wait_until(lambda: status(gateway)["phase"] not in under_way, 20, "the rollout has ended")
    ended = status(gateway)
    assert ended["phase"] == phase, ended
    return ended


@pytest.fixture
def start(start_gateway: Any, repository: Any) -> Any:
    """Serve ``model`` as version 1 of "m", kept there, and have ``next`` as version 2."""

    def started(model: onnx.ModelProto, following: onnx.ModelProto, **canary: str) -> Gateway:
        write(repository, "m", model, 1)
        settings = {f"canary.{key}": value for key, value in canary.items()}
        gateway: Gateway = start_gateway(repository, {"canary.window_s": str(WINDOW_S), **settings})
        command(gateway, "weights", "m", "1=100")
        write(repository, "m", following, 2)
        loaded = lambda: len(gateway.models()["models"][0]["versions"]) == 2  # noqa: E731 - one use
        wait_until(loaded, 20, "version 2 is there")
        return gateway

    return started


@contextmanager
def asking(gateway: Gateway, inputs: dict[str, np.ndarray]) -> Iterator[Users]:
    with Users(gateway, "m", inputs) as users:
        wait_until(lambda: users.versions["1"] >= 20, 20, "users are answered")
        yield users
    assert users.failures == []


def test_one_that_fails_on_some_inputs_is_rolled_back_and_nobody_sees_it_fail(start: Any) -> None:
    gateway = start(table(10), table(5))
    half = {"I": np.array([[7]], np.int64)}
    with asking(gateway, half) as users:
        command(gateway, "start", "m", "2", "--steps", "20,50,100", "--every", "1h")
        ended = wait_ended(gateway, "rolled back")
        # Within a window and a second.
        assert ended["changed"] - ended["started"] < WINDOW_S + 1
    assert set(users.versions) == {"1"}
    failed = ended["canary"]["errors"]["bad_data"]
    assert failed == ended["canary"]["requests"] > 0
    assert gateway.metric("serving_fallback_total", model="m", version="2") >= failed
    told = command(gateway, "status", "m")
    assert "rolled back for" in told
    assert command(gateway, "history", "m").count("rollout of version 2") == 3


def test_one_that_dies_is_rolled_back_at_once_and_nobody_sees_it_die(start: Any) -> None:
    gateway = start(divide_safely(), divide_by_input(), window_s="60")
    deadly = {"A": np.array([[POISON]]), "B": np.array([[-1]])}
    with asking(gateway, deadly):
        command(gateway, "start", "m", "2", "--steps", "20,100")
        ended = wait_ended(gateway, "rolled back")
    assert ended["reason"] in ("its process died once", "every request failed: the last 5")
    assert ended["changed"] - ended["started"] < 10


def test_one_that_gives_nan_or_other_scores_is_rolled_back(start: Any, repository: Any) -> None:
    (repository / "m").mkdir()
    # The model's own word: what it allows, at how many answers.
    words = "canary: {sticky: x-user, drift: {scores: 0.2, min_answers: 40}}"
    (repository / "m" / "model.yaml").write_text(words)
    gateway = start(scale(1), scale(float("nan")), window_s="0.3")
    with asking(gateway, {"X": np.ones((1, 2), np.float32)}):
        assert gateway.metric("serving_inspected_answers_total", model="m", version="1") == 0
        command(gateway, "start", "m", "2", "--steps", "20,100", "--every", "1h")
        ended = wait_ended(gateway, "rolled back")
        assert ended["reason"].startswith("too many answers with NaN or infinity: ")
        assert ended["canary"]["nonfinite"] == ended["canary"]["inspected"] > 0
        assert ended["base_answers"]["nonfinite"] == 0
        found = gateway.metric("serving_nonfinite_answers_total", model="m", version="2")
        assert found >= ended["canary"]["nonfinite"]
        write(repository, "m", scale(3), 3)
        loaded = lambda: 3 in {int(one["version"]) for one in versions(gateway)}  # noqa: E731 - one use
        wait_until(loaded, 20, "version 3 is there")
        command(gateway, "start", "m", "3", "--steps", "50,100", "--every", "1h")
        ended = wait_ended(gateway, "rolled back")
    assert ended["reason"].startswith("its scores are distributed otherwise: 1.000 apart")
    assert (ended["sticky"], ended["drift"]["scores"]["allowed"]) == ("x-user", 0.2)
    assert "scores: 1.000 apart" in command(gateway, "status", "m")


def versions(gateway: Gateway) -> list[Any]:
    found: list[Any] = gateway.models()["models"][0]["versions"]
    return found


def test_a_good_one_is_promoted_step_by_step(start: Any) -> None:
    gateway = start(scale(1), scale(2), errors_tolerated="0.3", min_requests="5")
    with asking(gateway, {"X": np.ones((1, 2), np.float32)}) as users:
        command(gateway, "start", "m", "2", "--steps", "20,80,100", "--every", "1s")
        ended = wait_ended(gateway, "promoted")
        wait_until(lambda: gateway.models()["models"][0]["default"] == 2, 5, "2 answers")
    assert users.versions["2"] >= ended["canary"]["requests"] > 0
    listed = json.loads(command(gateway, "status", "--json"))["rollouts"]
    assert [(one["model"], one["share"]) for one in listed] == [("m", 100)]
    assert "promoted, 100 %" in command(gateway, "status", "--watch")
    assert gateway.metric("serving_rollout_ended_total", model="m", outcome="promoted") == 1


def test_one_whose_outputs_drift_by_statistics_is_rolled_back_and_a_good_one_promoted(
    start_gateway: Any, repository: Any
) -> None:
    """By what the statistics of both versions say, feature by feature, of real requests."""
    pytest.importorskip("datasketches")
    write(repository, "m", scale(1), 1)
    words = "canary: {drift: {inputs: 0.15, outputs: 0.15, min_answers: 60}}"
    (repository / "m" / "model.yaml").write_text(words)
    settings = {"window_s": "0.3", "errors_tolerated": "0.3", "min_requests": "5"}
    gateway: Gateway = start_gateway(
        repository,
        {f"canary.{key}": value for key, value in settings.items()}
        | {"statistics.samples_per_second": "0"},
    )
    command(gateway, "weights", "m", "1=100")
    # The second column of what version 2 answers lies elsewhere.
    write(repository, "m", moved(1, 10), 2)
    wait_until(lambda: len(versions(gateway)) == 2, 20, "version 2 is there")
    with drawing(gateway) as users:
        command(gateway, "start", "m", "2", "--steps", "40,100", "--every", "1h")
        ended = wait_ended(gateway, "rolled back")
        told = "its outputs are distributed otherwise: feature 'Y[1]' is "
        assert ended["reason"].startswith(told), ended
        assert ended["drift"]["outputs"]["feature"] == "Y[1]"
        assert ended["drift"]["inputs"]["apart"] == ended["drift"]["inputs"]["chance"]
        assert "outputs: Y[1] is " in command(gateway, "status", "m")
        write(repository, "m", moved(1, 0), 3)
        loaded = lambda: 3 in {int(one["version"]) for one in versions(gateway)}  # noqa: E731 - one use
        wait_until(loaded, 20, "version 3 is there")
        before = users.versions["3"]
        command(gateway, "start", "m", "3", "--steps", "60,100", "--every", "0s")
        ended = wait_ended(gateway, "promoted")
        # The step waited for them.
        assert users.versions["3"] - before >= 60
        assert {one["needed"] for one in ended["drift"].values()} == {60}
    assert users.failures == []


def moved(factor: float, by: float) -> onnx.ModelProto:
    """``Y = X * factor + (0, by)``."""
    nodes = [
        helper.make_node("Mul", ["X", "factor"], ["scaled"]),
        helper.make_node("Add", ["scaled", "by"], ["Y"]),
    ]
    values = [_value(name, "FP32", ["n", 2]) for name in ("X", "Y")]
    constants = [
        _constant("factor", np.array([factor], np.float32)),
        _constant("by", np.array([0, by], np.float32)),
    ]
    return _model(nodes, values[:1], values[1:], constants)


@contextmanager
def drawing(gateway: Gateway) -> Iterator[Users]:
    """Users whose rows are drawn."""
    with DrawingUsers(gateway, "m", {}) as users:
        wait_until(lambda: users.versions["1"] >= 20, 20, "users are answered")
        yield users


class DrawingUsers(Users):
    def _by_http(self) -> None:
        """All of them ask over gRPC."""

    def _by_grpc(self) -> None:
        dice = np.random.default_rng(1)
        with channel(self._gateway) as one:
            infer = stub(one).ModelInfer
            while not self._stop.wait(0.002):
                rows = {"X": dice.normal(0, 1, (1, 2)).astype(np.float32)}
                try:
                    answer = infer(oip.grpc_request(self._model, rows), timeout=20)
                    self.versions[answer.model_version] += 1
                except Exception as error:  # noqa: BLE001 - whatever it is, a user would see it
                    self.failures.append(error)
