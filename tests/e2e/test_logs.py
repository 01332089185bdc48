"""The log of a real gateway: every line of a request under its id, single requests by rate,
no secret, and no reader that could hold anything up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.clients import oip
from tests.clients.collector import HttpCollector
from tests.clients.gateway import QUICK, ROOT, Gateway, free_ports, variable, wait_until
from tests.clients.triton import channel, refusal, stub
from tests.small_models import tiny, write

StartGateway = Callable[..., Gateway]
ROW = np.zeros((1, 4), np.float32)
BODY = json.dumps({"inputs": [oip.json_input("x", ROW)]}).encode()
INFER = "/v2/models/tiny/infer"
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def models(repository: Path) -> Path:
    write(repository, "tiny", tiny())
    return repository


@pytest.fixture
def collector() -> Iterator[HttpCollector]:
    one = HttpCollector()
    try:
        yield one
    finally:
        one.close()


def records(gateway: Gateway, **wanted: object) -> list[dict[str, Any]]:
    """The JSON lines with these fields; what the command prints for people is none."""
    lines = [json.loads(one) for one in gateway.log().splitlines() if one.startswith("{")]
    return [one for one in lines if wanted.items() <= one.items()]


def wait_for(gateway: Gateway, count: int = 1, **wanted: object) -> list[dict[str, Any]]:
    wait_until(lambda: len(records(gateway, **wanted)) >= count, 20, f"{count} lines {wanted}")
    return records(gateway, **wanted)


def test_a_request_over_http_has_its_line(start_gateway: StartGateway, models: Path) -> None:
    gateway = start_gateway(models, {"log.access_rate": "1"})
    gateway.get(INFER, BODY, "POST", {"x-request-id": "r-1"})
    (line,) = wait_for(gateway, event="request", request_id="r-1")
    assert list(line)[:3] == ["timestamp", "level", "event"]
    expected = {
        "level": "info",
        "protocol": "http",
        "method": "POST",
        "path": INFER,
        "model": "tiny",
        "version": 1,
        "status": "ok",
        "code": "200",
        "rows": 1,
        "bytes_in": len(BODY),
    }
    assert expected.items() <= line.items()
    assert 0 < line["compute_ms"] < line["total_ms"]
    assert 0 <= line["queue_ms"] < line["total_ms"]
    assert line["bytes_out"] > 0
    assert "trace_id" not in line


def test_a_request_over_grpc_has_its_line(start_gateway: StartGateway, models: Path) -> None:
    gateway = start_gateway(models, {"log.access_rate": "1"})
    with channel(gateway) as one:
        stub(one).ModelInfer(
            oip.grpc_request("tiny", {"x": ROW}), metadata=[("x-request-id", "r-2")], timeout=20
        )
    (line,) = wait_for(gateway, event="request", request_id="r-2")
    expected = {"protocol": "grpc", "method": "ModelInfer", "status": "ok", "code": "OK"}
    assert expected.items() <= line.items()


def test_all_lines_of_a_failed_request_carry_its_id_and_trace(
    start_gateway: StartGateway, models: Path, collector: HttpCollector
) -> None:
    settings = {"log.access_rate": "1", "tracing.endpoint": collector.endpoint}
    gateway = start_gateway(models, settings)
    headers = {"x-request-id": "r-3", "traceparent": TRACEPARENT}
    gateway.get("/v2/models/nowhere/infer", BODY, "POST", headers)
    (access,) = wait_for(gateway, event="request", request_id="r-3")
    (failed,) = wait_for(gateway, event="request_failed", request_id="r-3")
    assert (access["status"], access["code"]) == ("not_found", "404")
    assert (failed["word"], failed["model"]) == ("not_found", "nowhere")
    assert access["trace_id"] == TRACEPARENT.split("-")[1]
    (span,) = collector.wait_for("request")
    assert span.attributes["serving.request_id"] == "r-3"


def test_a_request_without_an_id_is_given_one_that_its_answer_names(
    start_gateway: StartGateway, models: Path
) -> None:
    gateway = start_gateway(models, {"log.access_rate": "1"})
    answer = gateway.get("/v2/models/nowhere/infer", BODY, "POST")
    given = answer.headers["x-request-id"]
    assert wait_for(gateway, event="request", request_id=given)
    assert wait_for(gateway, event="request_failed", request_id=given)


def test_errors_are_written_whatever_the_access_rate(
    start_gateway: StartGateway, models: Path
) -> None:
    gateway = start_gateway(models)
    gateway.get(INFER, BODY, "POST", {"x-request-id": "fine"})
    gateway.get("/v2/models/nowhere/infer", BODY, "POST", {"x-request-id": "bad"})
    wait_for(gateway, event="request_failed", request_id="bad")
    assert not records(gateway, event="request")
    assert not records(gateway, request_id="fine")


def test_the_access_rate_is_the_share_of_requests_that_get_a_line(
    start_gateway: StartGateway, models: Path
) -> None:
    gateway = start_gateway(models, {"log.access_rate": "0.2"})
    with channel(gateway) as one:
        request = oip.grpc_request("tiny", {"x": ROW})
        for future in [stub(one).ModelInfer.future(request, timeout=30) for _ in range(1000)]:
            future.result()
    gateway.finish()
    # 1000 draws at 0.2: five standard deviations are 63.
    assert 137 <= len(records(gateway, event="request", model="tiny")) <= 263


def test_the_level_decides_about_access_lines_too(
    start_gateway: StartGateway, models: Path
) -> None:
    gateway = start_gateway(models, {"log.access_rate": "1", "log.level": "warning"})
    gateway.get(INFER, BODY, "POST")
    gateway.finish()
    # What the start says on standard output is no part of the log.
    said = {"listening", "ready", "stopping", "stopped"}
    assert {one["event"] for one in records(gateway, level="info")} <= said


def test_the_console_form_is_for_people(start_gateway: StartGateway, models: Path) -> None:
    gateway = start_gateway(models, {"log.access_rate": "1", "log.format": "console"})
    gateway.get(INFER, BODY, "POST", {"x-request-id": "r-4"})
    wait_until(lambda: "request_id=r-4" in gateway.log(), 20, "the line")
    assert not records(gateway)


def test_what_clients_send_begins_no_line(start_gateway: StartGateway, models: Path) -> None:
    gateway = start_gateway(models, {"log.access_rate": "1", "log.level": "debug"})
    gateway.get("/v2/models/x%0A%7B%22event%22:%22forged%22%7D/infer", BODY, "POST")
    gateway.get(INFER, BODY, "POST", {"x-request-id": "r-5"})
    wait_for(gateway, event="request", request_id="r-5")
    assert not records(gateway, event="forged")


SECRETS = {
    "settings": "settings-token-1f83",
    "admin": "admin-token-77ab-long-enough-for-a-token",
    "header": "header-token-90cd",
}


def test_no_secret_is_ever_written(
    start_gateway: StartGateway, models: Path, collector: HttpCollector, tmp_path: Path
) -> None:
    """Neither those of the settings, nor those that requests bring, nor what a server
    that was shown one sends back."""
    collector.behaviour = 400  # repeats the authorization that it was sent
    token_file = tmp_path / "token"
    token_file.write_text(SECRETS["admin"])
    token_file.chmod(0o600)
    settings = {
        "log.access_rate": "1",
        "log.level": "debug",
        "tracing.endpoint": "mlflow",
        "tracing.rate": "1",
        "tracking.mlflow.uri": collector.endpoint,
        "tracking.mlflow.token": SECRETS["settings"],
        "admin_token_file": str(token_file),
    }
    gateway = start_gateway(models, settings)
    bearer = {"Authorization": f"Bearer {SECRETS['header']}", "Cookie": SECRETS["header"]}
    for path in (INFER, "/v2/models/nowhere/infer", "/v2/models/tiny", "/v2/nowhere"):
        gateway.get(path, BODY, "POST", bearer)
    with channel(gateway) as one:
        refusal(
            stub(one).ModelInfer,
            oip.grpc_request("nowhere", {"x": ROW}),
            metadata=[("authorization", f"Bearer {SECRETS['header']}")],
        )
    unload = "/api/v1/models/tiny/unload"
    for token in ("header", "admin"):
        given = {"Authorization": f"Bearer {SECRETS[token]}"}
        gateway.get(unload, b"{}", "POST", given, port=gateway.admin_port)
    gateway.get("/api/v1/settings", port=gateway.admin_port)
    wait_until(lambda: "traces_not_sent" in gateway.log(), 30, "the target is told of")
    assert gateway.stop() == 0
    log = gateway.log()
    assert records(gateway, event="request")
    for name, secret in SECRETS.items():
        assert secret not in log, name


def _full_pipe() -> tuple[int, int]:
    """A pipe that takes nothing more, and that nobody reads."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, bytes(4096))
    except BlockingIOError:
        os.set_blocking(writing, True)
    return reading, writing


@pytest.mark.parametrize("state", ["blocked", "closed"])
def test_output_that_nobody_takes_stalls_nothing(models: Path, tmp_path: Path, state: str) -> None:
    """From the first line to the last: start, requests, errors, SIGTERM."""
    reading, writing = _full_pipe()
    if state == "closed":
        os.close(reading)
    http, grpc, admin = free_ports(3)
    chosen = {
        **QUICK,
        "http_port": str(http),
        "grpc_port": str(grpc),
        "admin_port": str(admin),
        "state_dir": str(tmp_path / "state"),
        "log.access_rate": "1",
    }
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SERVING_")}
    environment |= {"PYTHONPATH": str(ROOT)}
    environment |= {variable(key): value for key, value in chosen.items()}
    process = subprocess.Popen(
        [sys.executable, "-m", "serving", "start", str(models)],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=writing,
        stderr=writing,
    )
    os.close(writing)
    gateway = object.__new__(Gateway)
    gateway.process, gateway.log_path = process, tmp_path / "no.log"
    gateway.http_port, gateway.grpc_port, gateway.admin_port = http, grpc, admin
    gateway.log_path.touch()
    try:
        gateway.wait_ready()
        path = f"/v2/models/{'n' * 200}/infer"
        with ThreadPoolExecutor(2) as pool:
            asked = [pool.submit(gateway.get, path, BODY, "POST") for _ in range(200)]
            assert {one.result().status for one in asked} == {404}
        assert gateway.get(INFER, BODY, "POST").status == 200
        assert gateway.stop(20) == 0
    finally:
        process.kill()
        process.wait()
        if state == "blocked":
            os.close(reading)
