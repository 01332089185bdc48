"""Models that end their process, or would never end, in a gateway that serves others too."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from tests import crash_models
from tests.clients import oip
from tests.clients.gateway import Gateway, wait_until
from tests.clients.load import Load
from tests.clients.processes import children_of, cpu_seconds, gone, open_fds
from tests.clients.triton import channel, refusal, stub
from tests.small_models import scale, write

# Children are started again and again.
pytestmark = pytest.mark.slow

# One permit: whoever holds it for nothing keeps everybody waiting.
ONE_PERMIT = {"threads.permits": "1"}
BATCHING = "max_batch_size: 8\nbatching: {enabled: true, delay_us: 300000}\n"


def division(pairs: list[tuple[int, int]]) -> Any:
    arrays = [np.array([[pair[side]] for pair in pairs], np.int64) for side in (0, 1)]
    return oip.grpc_request("div", {"A": arrays[0], "B": arrays[1]})


GOOD = (7, 2)
POISON = (crash_models.POISON, -1)


def y_of(response: Any) -> list[Any]:
    answer: list[Any] = oip.grpc_arrays(response)["Y"].tolist()
    return answer


def only_child(gateway: Gateway) -> int:
    """The process of the one isolated model."""
    found: list[int] = wait_until(
        lambda: children_of(gateway.process.pid), 20, "the model's process is there"
    )
    assert len(found) == 1
    return found[0]


def test_fault_20_and_21_only_the_guilty_request_of_a_batch_pays_for_a_crash(
    start_gateway: Any, repository: Path
) -> None:
    write(repository, "div", crash_models.divide_by_input(), yaml=BATCHING)
    write(repository, "other", scale(1))
    gateway = start_gateway(repository, ONE_PERMIT)
    child = only_child(gateway)
    with channel(gateway) as one, Load(gateway, "other", clients=1) as beside:
        wait_until(lambda: beside.versions["1"] > 10, 20, "the other model answers")
        pairs = [(10 * i, 5) for i in range(8)]
        pairs[5] = POISON
        asked = [stub(one).ModelInfer.future(division([pair]), timeout=60) for pair in pairs]
        for i, future in enumerate(asked):
            if i == 5:
                error = future.exception()
                assert error.code() is grpc.StatusCode.UNAVAILABLE
                assert error.details() == (
                    "the model's process ended while it ran this request (SIGFPE)"
                )
                assert dict(error.trailing_metadata())["grpc-retry-pushback-ms"] == "-1"
            else:
                assert y_of(future.result()) == [[2 * i]]
        assert y_of(stub(one).ModelInfer(division([GOOD]), timeout=30)) == [[3]]
    poisoned = {
        name: np.array([[value]], np.int64) for name, value in zip("AB", POISON, strict=True)
    }
    over_http = gateway.infer("div", {"inputs": [oip.json_input(*one) for one in poisoned.items()]})
    assert (over_http.status, over_http.headers["x-should-retry"]) == (503, "false")
    assert "retry-after" not in over_http.headers
    assert not beside.failures
    assert only_child(gateway) != child
    gateway.finish()


def test_fault_20_other_models_answer_at_once_while_one_backs_off(
    start_gateway: Any, repository: Path
) -> None:
    write(repository, "div", crash_models.divide_by_input(), yaml="max_batch_size: 0\n")
    write(repository, "other", scale(3))
    gateway = start_gateway(
        repository,
        {**ONE_PERMIT, "isolation.restart_first_s": "30", "isolation.restart_max_s": "30"},
    )
    with channel(gateway) as one:
        infer = stub(one).ModelInfer
        for _ in range(2):
            # Whoever caused it need not wait for the child to be back.
            assert refusal(infer, division([POISON])).code() is grpc.StatusCode.UNAVAILABLE
        wait_until(lambda: '"wait_s": 30.0' in gateway.log(), 10, "it says that it backs off")
        wait_until(
            lambda: (
                "its process ended (SIGFPE); it is started again in 30.0 s"
                in json.dumps(gateway.models())
            ),
            10,
            "its status says so too",
        )
        began = time.monotonic()
        # Nobody hangs longer than their own deadline.
        late = refusal(infer, division([GOOD]), timeout=1)
        assert late.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        other = oip.grpc_request("other", {"X": np.array([[1, 2]], np.float32)})
        for _ in range(20):
            assert y_of(infer(other, timeout=2)) == [[3, 6]]
        assert time.monotonic() - began < 5
        used = gateway.cpu_seconds()
        time.sleep(1)
        assert gateway.cpu_seconds() - used < 0.2, "it spins while it backs off"
    gateway.finish()


def test_fault_20_a_model_that_divides_what_requests_bring_is_isolated_unasked(
    start_gateway: Any, repository: Path
) -> None:
    write(repository, "div", crash_models.divide_by_input())
    write(repository, "float", crash_models.divide_by_input("FP32"))
    gateway = start_gateway(repository)
    only_child(gateway)
    (said,) = [
        version["isolated"]
        for model in gateway.models()["models"]
        if model["name"] == "div"
        for version in model["versions"]
    ]
    assert "divides integers" in said
    gateway.finish()


@pytest.mark.parametrize(("mode", "count"), [("none", 0), ("process", 1)])
def test_fault_75_isolation_mode_decides_where_models_run(
    start_gateway: Any, repository: Path, mode: str, count: int
) -> None:
    write(repository, "m", scale(3))
    gateway = start_gateway(repository, {"isolation.mode": mode})
    assert len(children_of(gateway.process.pid)) == count
    assert gateway.infer("m", {"inputs": [oip.json_input("X", np.ones((1, 2), np.float32))]})
    gateway.finish()


def test_fault_20_kill_9_of_children_under_load_fails_no_request(
    start_gateway: Any, repository: Path
) -> None:
    write(repository, "m", scale(1), yaml="isolation: process\ninstances: 2\n")
    gateway = start_gateway(repository)
    with Load(gateway, "m", clients=3) as load:
        for _ in range(4):
            before = load.versions["1"]
            child = only_child(gateway)
            os.kill(child, signal.SIGKILL)
            assert gone(child)
            wait_until(
                lambda enough=before + 100: load.versions["1"] > enough, 20, "it answers again"
            )
    assert not load.failures
    gateway.finish()


@pytest.mark.parametrize("isolation", ["none", "process"])
def test_fault_23_an_endless_loop_is_ended_at_the_models_limit(
    start_gateway: Any, repository: Path, isolation: str
) -> None:
    yaml = f"isolation: {isolation}\nrun_timeout_s: 0.5\nmax_batch_size: 0\n"
    write(repository, "endless", crash_models.endless(), yaml=yaml)
    gateway = start_gateway(repository)
    with channel(gateway) as one:
        infer = stub(one).ModelInfer
        endless, fine = (
            oip.grpc_request("endless", {"X": np.array([[x]], np.float32)}) for x in (-1, 5)
        )
        began = time.monotonic()
        error = refusal(infer, endless)
        assert error.code() is grpc.StatusCode.INTERNAL
        assert error.details() == "the model ran longer than its limit of 0.5 s"
        assert 0.5 <= time.monotonic() - began < 3
        assert y_of(infer(fine, timeout=20)) == [[5]]
    used = gateway.cpu_seconds() + sum(map(cpu_seconds, children_of(gateway.process.pid)))
    time.sleep(1)
    after = gateway.cpu_seconds() + sum(map(cpu_seconds, children_of(gateway.process.pid)))
    assert after - used < 0.2, "it is still running"
    gateway.finish()


def test_fault_23_limits_run_timeout_s_holds_for_models_that_say_nothing(
    start_gateway: Any, repository: Path
) -> None:
    yaml = "isolation: none\nbatching: {enabled: true, delay_us: 300000}\nmax_batch_size: 4\n"
    write(repository, "endless", crash_models.endless(), yaml=yaml)
    gateway = start_gateway(repository, {"limits.run_timeout_s": "0.5"})
    with channel(gateway) as one:
        asked = [
            stub(one).ModelInfer.future(
                oip.grpc_request("endless", {"X": np.array([[x]], np.float32)}), timeout=20
            )
            for x in (1, 2, -1, 4)
        ]
        assert "limit of 0.5 s" in asked[2].exception().details()
        assert [y_of(asked[i].result()) for i in (0, 1, 3)] == [[[1]], [[2]], [[4]]]
    gateway.finish()


def test_fault_24_an_isolated_model_that_is_asked_for_terabytes_answers_the_next_request(
    start_gateway: Any, repository: Path
) -> None:
    write(repository, "ones", crash_models.allocate(), yaml="isolation: process\n")
    gateway = start_gateway(repository, {"isolation.memory_bytes": str(300 * 1024 * 1024)})
    child = only_child(gateway)
    with channel(gateway) as one:
        infer = stub(one).ModelInfer
        error = refusal(infer, oip.grpc_request("ones", {"N": np.array([2**40])}))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "bytes of memory at once" in error.details()
        assert y_of(infer(oip.grpc_request("ones", {"N": np.array([5])}), timeout=20)) == [5]
    assert only_child(gateway) == child
    gateway.finish()


def test_fault_32_no_child_is_left_when_the_gateway_is_killed(
    start_gateway: Any, repository: Path
) -> None:
    for name in ("a", "b"):
        write(repository, name, scale(2), yaml="isolation: process\n")
    gateway = start_gateway(repository)
    children = children_of(gateway.process.pid)
    assert len(children) == 2
    gateway.process.kill()
    gateway.process.wait()
    for child in children:
        assert gone(child)


def test_fault_30_requests_in_a_child_end_before_the_gateway_does(
    start_gateway: Any, repository: Path
) -> None:
    write(repository, "m", scale(1), yaml="isolation: process\n")
    gateway = start_gateway(repository, {"shutdown.drain_delay_s": "0.5"})
    child = only_child(gateway)
    with Load(gateway, "m", clients=2) as load:
        wait_until(lambda: load.versions["1"] > 50, 20, "load runs")
        # As a service manager does it, which signals every process of the service.
        os.kill(child, signal.SIGTERM)
        gateway.signal(signal.SIGTERM)
        assert gateway.process.wait(30) == 0
    assert not load.failures
    assert gone(child)
    gateway.assert_clean_log()


def test_a_version_that_goes_takes_its_process_and_files_with_it(
    start_gateway: Any, repository: Path
) -> None:
    yaml = "isolation: process\n"
    write(repository, "m", scale(1), 1, yaml=yaml)
    gateway = start_gateway(repository, {"rollout.keep_previous_s": "0"})
    pid = gateway.process.pid
    first = only_child(gateway)
    seen = None
    for version in (2, 3, 4):
        write(repository, "m", scale(version), version)
        wait_until(
            lambda v=str(version): gateway.index().get(("m", v), {}).get("state") == "READY",
            20,
            "the new version is ready",
        )
        wait_until(lambda: len(children_of(pid)) == 1, 20, "the old one's process is gone")
        seen = open_fds(pid) if seen is None else seen
        assert open_fds(pid) <= seen + 2
    assert gone(first)
    gateway.finish()
