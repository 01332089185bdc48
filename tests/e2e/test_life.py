"""The process: start, drain, stop, and what it leaves behind."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving import _core
from tests.clients import oip
from tests.clients.gateway import Gateway, wait_until
from tests.clients.load import Load
from tests.clients.triton import channel, stub
from tests.small_models import UNBATCHED, scale, slow, slow_to_load, write


def test_sigterm_under_load_fails_no_request(start_gateway, repository) -> None:
    """Fault 30: readiness false first, still serving, then everything in flight ends, exit 0."""
    write(repository, "m", scale(1))
    gateway = start_gateway(repository, {"shutdown.drain_delay_s": "1.0"})
    with Load(gateway, "m", clients=4) as load:
        wait_until(lambda: load.versions["1"] > 100, 10, "load runs")
        gateway.signal(signal.SIGTERM)
        wait_until(
            lambda: gateway.get("/v2/health/ready", timeout=2).status == 503,
            0.9,
            "readiness is false while the listener is open",
            every=0.02,
        )
        assert gateway.get("/v2/health/live", timeout=2).status == 200
        during = load.versions["1"]
        assert gateway.process.wait(20) == 0
    assert load.versions["1"] > during, "nothing was served during the drain delay"
    assert not load.failures
    assert load.refused == 8


def test_work_in_flight_ends_before_the_exit(start_gateway, repository) -> None:
    write(repository, "slow", slow(0.4), config=UNBATCHED)
    gateway = start_gateway(repository)
    with channel(gateway) as one:
        request = oip.grpc_request("slow", {"X": np.ones((1, 1), np.float32)})
        futures = [stub(one).ModelInfer.future(request, timeout=30) for _ in range(5)]
        stream = stub(one).ModelStreamInfer(iter([request] * 2), timeout=30)
        wait_until(
            lambda: gateway.metric("serving_in_flight_requests") >= 7, 5, "all are in flight"
        )
        gateway.signal(signal.SIGTERM)
        for future in futures:
            assert future.result().outputs
        assert len(list(stream)) == 2
    assert gateway.process.wait(20) == 0
    gateway.assert_clean_log()


def test_health_watch_sees_the_drain(start_gateway, repository) -> None:
    write(repository, "m", scale(1))
    gateway = start_gateway(repository, {"shutdown.drain_delay_s": "1.0"})
    with channel(gateway) as one:
        watch = health_pb2_grpc.HealthStub(one).Watch(health_pb2.HealthCheckRequest(), timeout=20)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        gateway.signal(signal.SIGTERM)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        with pytest.raises((grpc.RpcError, StopIteration)):
            next(watch)
    assert gateway.process.wait(20) == 0


def test_an_open_stream_is_closed_cleanly_at_drain(start_gateway, repository) -> None:
    write(repository, "m", scale(1))
    gateway = start_gateway(repository)
    ended = threading.Event()

    def requests():
        yield oip.grpc_request("m", {"X": np.ones((1, 2), np.float32)})
        ended.wait(30)

    with channel(gateway) as one:
        stream = stub(one).ModelStreamInfer(requests(), timeout=30)
        assert next(stream).infer_response.outputs
        gateway.signal(signal.SIGTERM)
        code = None
        try:
            next(stream)
        except StopIteration:
            code = grpc.StatusCode.OK
        except grpc.RpcError as error:
            code = error.code()
        ended.set()
    assert code in {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
    assert gateway.process.wait(20) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_fault_31_a_second_signal_ends_at_once(start_gateway, repository, number: int) -> None:
    write(repository, "m", scale(1))
    gateway = start_gateway(repository, {"shutdown.drain_delay_s": "30"})
    gateway.signal(number)
    wait_until(lambda: not gateway.ready(), 5, "it drains")
    assert gateway.process.poll() is None
    time.sleep(0.3)  # two at once would be one
    started = time.monotonic()
    gateway.signal(number)
    assert gateway.process.wait(10) != 0
    assert time.monotonic() - started < 3


def test_fault_31_sigterm_during_load_ends(start_gateway, repository) -> None:
    for i in range(40):
        write(repository, f"m{i}", scale(i))
    gateway = start_gateway(repository, wait=False)
    wait_until(
        lambda: (
            gateway.get("/v2/health/live", timeout=1).status == 200 if _open(gateway) else False
        ),
        30,
        "live",
    )
    gateway.signal(signal.SIGTERM)
    assert gateway.process.wait(20) in {0, 143, -signal.SIGTERM}
    gateway.assert_clean_log()


def _open(gateway: Gateway) -> bool:
    try:
        gateway.get("/v2/health/live", timeout=1)
    except OSError:
        return False
    return True


def _shared_memory() -> set[str]:
    return {one.name for one in Path("/dev/shm").iterdir()}


def test_fault_32_kill_and_restart_on_the_same_ports(start_gateway, repository) -> None:
    write(repository, "m", scale(1))
    gateway = start_gateway(repository)
    ports = {
        "http_port": str(gateway.http_port),
        "grpc_port": str(gateway.grpc_port),
        "admin_port": str(gateway.admin_port),
    }
    before = _shared_memory()
    with Load(gateway, "m", clients=1) as load:
        wait_until(lambda: load.versions["1"] > 10, 10, "load runs")
        gateway.process.kill()
        gateway.process.wait()
    again = start_gateway(repository, ports, wait=False)
    again.http_port, again.grpc_port, again.admin_port = (int(port) for port in ports.values())
    again.wait_ready()
    assert _shared_memory() <= before


def test_fault_33_live_at_once_ready_when_every_model_is_up_or_failed(
    start_gateway, repository
) -> None:
    write(repository, "slow", slow_to_load(0.3), config=UNBATCHED)
    write(repository, "broken", b"rubbish")
    for i in range(8):
        write(repository, f"m{i}", scale(i))
    gateway = start_gateway(repository, {"registry.settle_s": "1.0"}, wait=False)
    wait_until(lambda: _open(gateway), 30, "it is live", every=0.01)
    seen = gateway.get("/v2/health/ready").status
    gateway.wait_ready()
    states = {entry.get("state") for entry in gateway.index().values()}
    assert states == {"READY", "UNAVAILABLE"}
    assert seen == 503


@pytest.mark.parametrize("port", ["http_port", "grpc_port", "admin_port"])
def test_fault_35_a_taken_port_is_a_clear_error(
    gateway: Gateway, start_gateway, repository, port: str
) -> None:
    write(repository, "m", scale(1))
    taken = str(getattr(gateway, port))
    second = start_gateway(repository, {port: taken}, wait=False)
    assert second.process.wait(30) not in {0, None}
    assert taken in second.log()
    second.assert_clean_log()


def test_nothing_is_written_to_an_empty_home(start_gateway, repository) -> None:
    """Fact C16: no telemetry, no caches, although the environment does not forbid it. Started as a
    shell does: what is forked has imported onnxruntime elsewhere."""
    write(repository, "m", scale(1))
    gateway = start_gateway(repository, environment={"PYTHONUNBUFFERED": "1"})
    gateway.assert_home_untouched()
    tasks = Path(f"/proc/{gateway.process.pid}/task")
    threads = [(one / "comm").read_text() for one in tasks.iterdir()]
    assert not any("telemetry" in name.lower() or "1ds" in name.lower() for name in threads)


def test_state_is_private(gateway: Gateway) -> None:
    """Fault 68: what is written lies in a 0700 directory."""
    state = gateway.folder / "state"
    if state.exists():
        assert state.stat().st_mode & 0o077 == 0


def test_the_start_prints_urls_models_provider_and_a_curl_line_that_works(
    start_gateway, repository
) -> None:
    write(repository, "m", scale(1))
    gateway = start_gateway(repository, {"log.format": "console"})
    log = wait_until(lambda: "curl" in gateway.log() and gateway.log(), 5, "the curl line")
    for part in (gateway.http, gateway.grpc, gateway.admin, "CPUExecutionProvider", "m"):
        assert part in log, log
    assert ("development build" in log) == _core.DEVELOPMENT_BUILD
    line = re.search(r"^.*?(curl .*)$", log, re.MULTILINE)
    assert line
    done = subprocess.run(
        ["bash", "-c", line.group(1)], capture_output=True, timeout=20, check=True
    )
    assert json.loads(done.stdout).get("outputs"), (line.group(1), done)
    gateway.finish()
    assert gateway.log().splitlines()[-1] == "stopped; nothing was in flight"


@pytest.mark.parametrize("broken", [True, False])
def test_a_start_that_can_serve_nothing_says_why_and_ends_where_models_are_required(
    start_gateway, repository, broken: bool
) -> None:
    if broken:
        write(repository, "broken", b"no model at all")
    why = "broken 1 failed" if broken else "no model yet"
    gateway = start_gateway(repository)
    (said,) = wait_until(lambda: gateway.events("ready"), 10, "it is said")
    assert (said["level"], said["models"]) == ("warning", [])
    assert why in said["reason"], said
    assert gateway.stop() == 0

    gateway = start_gateway(repository, {"require_models": "true"}, wait=False)
    assert gateway.process.wait(30) == 4
    (said,) = gateway.events("no_models")
    assert said["level"] == "error"
    assert "require_models" in said["reason"]
    assert ("broken 1 failed" if broken else "there is none") in said["reason"], said
    assert not gateway.events("ready")


def test_the_log_is_json_lines_when_asked(gateway: Gateway) -> None:
    gateway.infer("gather", {"inputs": [oip.json_input("I", np.array([99]))]})

    def lines() -> list[dict]:
        return [json.loads(one) for one in gateway.log().splitlines() if one.startswith("{")]

    wait_until(lambda: any("request_id" in one for one in lines()), 5, "a JSON line with an id")
