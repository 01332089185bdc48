"""The admin port, on a real socket."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from serving.authorization import open_gates
from serving.control.admin import AddressError, Admin, listen
from serving.loading.facts import VersionFacts
from serving.models.state import State
from serving.models.views import ModelView, Route, VersionView
from serving.operations import Operation
from serving.registry.folder_origin import FolderOrigin
from serving.settings import Settings, load_settings
from serving.signature import Signature, Tensor
from tests.unit.control_fakes import Commander, operations_of

READY = {"now": True}


def _view() -> ModelView:
    signature = Signature((Tensor("x", "FP32", (-1, 4)),), (Tensor("y", "FP32", (-1, 3)),))
    version = VersionView(
        number=2,
        state=State.READY,
        origin=FolderOrigin(Path("/secret/place/m/2")),
        facts=VersionFacts(
            signature=signature,
            max_rows=64,
            batching="batched, up to 64 rows",
            provider="CPUExecutionProvider",
            provider_nodes={"CPUExecutionProvider": 3},
            threads=2,
            instances=1,
            load_seconds=0.5,
            notes=("preferred provider cuda is missing",),
        ),
        ready_since=1.0,
    )
    return ModelView("m", (version,), Route(2))


class _Models(Commander):
    def views(self) -> tuple[ModelView, ...]:
        return (_view(),)


def _admin(settings: Settings) -> Admin:
    rows = operations_of(
        settings,
        _Models(),
        {"http_port": "flag"},
        metrics=lambda: b"serving_request_total 1\n",
        is_ready=lambda: READY["now"],
    )
    return Admin(settings, rows, open_gates(settings).admin)


@pytest.fixture(scope="module")
def admin() -> Iterator[Admin]:
    one = _admin(load_settings({"admin_port": 0, "http_port": 1}, None, {})[0])
    one.start()
    try:
        yield one
    finally:
        one.stop()


def _ask(
    admin: Admin, path: str, method: str = "GET", host: str | None = None
) -> tuple[int, Any, str]:
    connection = http.client.HTTPConnection(*admin.address, timeout=10)
    try:
        connection.request(method, path, headers={"Host": host} if host else {})
        response = connection.getresponse()
        body = response.read()
        kind = response.headers.get("content-type", "")
        return response.status, json.loads(body) if "json" in kind else body, kind
    finally:
        connection.close()


def test_metrics_come_as_prometheus_text(admin: Admin) -> None:
    status, body, kind = _ask(admin, "/metrics?name=x")
    assert (status, body) == (200, b"serving_request_total 1\n")
    assert kind == "text/plain; version=0.0.4; charset=utf-8"


def test_health_is_live_always_and_ready_when_it_is(admin: Admin) -> None:
    assert _ask(admin, "/v2/health/live")[:2] == (200, {"live": True})
    assert _ask(admin, "/v2/health/ready")[:2] == (200, {"ready": True})
    READY["now"] = False
    try:
        assert _ask(admin, "/v2/health/ready")[:2] == (503, {"ready": False})
    finally:
        READY["now"] = True


def test_fault_69_the_list_of_models_names_no_path(admin: Admin) -> None:
    status, body, _ = _ask(admin, "/api/v1/models")
    assert status == 200
    (model,) = body["models"]
    (version,) = model["versions"]
    assert (model["name"], model["default"]) == ("m", 2)
    assert (version["state"], version["provider"], version["threads"]) == (
        "READY",
        "CPUExecutionProvider",
        2,
    )
    assert version["inputs"] == [
        {"name": "x", "datatype": "FP32", "shape": [-1, 4], "optional": False}
    ]
    assert version["notes"] == ["preferred provider cuda is missing"]
    assert "secret" not in json.dumps(body)


def test_settings_are_shown_with_their_origin(admin: Admin) -> None:
    status, body, _ = _ask(admin, "/api/v1/settings")
    assert status == 200
    shown = {s["key"]: (s["value"], s["origin"]) for s in body["settings"]}
    assert shown["http_port"] == (1, "flag")
    assert shown["limits.max_streams"] == (1024, "default")


def test_fault_63_settings_are_shown_on_loopback_only(admin: Admin) -> None:
    assert _ask(admin, "/api/v1/settings", host="rebound.example")[0] == 421
    open_one = _admin(load_settings({"admin_port": 0, "admin_host": "0.0.0.0"}, None, {})[0])
    open_one.start()
    try:
        assert _ask(open_one, "/api/v1/settings")[0] == 403
        assert _ask(open_one, "/metrics")[0] == 200
    finally:
        open_one.stop()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("POST", "/metrics", 405), ("TRACE", "/metrics", 405)],
)
def test_fault_43_wrong_paths_and_verbs_are_json_errors(
    admin: Admin, method: str, path: str, status: int
) -> None:
    found, body, _ = _ask(admin, path, method)
    assert found == status
    assert set(body) == {"error"}


def test_fault_38_an_endless_head_is_refused(admin: Admin) -> None:
    with socket.create_connection(admin.address, timeout=10) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nx: " + b"a" * 100_000)
        assert connection.recv(100).startswith(b"HTTP/1.1 400")
    assert _ask(admin, "/v2/health/live")[0] == 200


def test_fault_35_a_taken_port_is_a_clear_error(admin: Admin) -> None:
    port = admin.address[1]
    with pytest.raises(AddressError, match=f"{port}: the address is taken"):
        _admin(load_settings({"admin_port": port}, None, {})[0])
    with pytest.raises(AddressError, match="no address of this machine"):
        listen("192.0.2.1", 0, "admin port")


def test_stopping_frees_the_port() -> None:
    one = _admin(load_settings({"admin_port": 0}, None, {})[0])
    one.start()
    _, port = one.address
    assert _ask(one, "/v2/health/live")[0] == 200
    one.stop()
    listen("127.0.0.1", port, "again").close()


def test_a_call_that_a_stop_cuts_off_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    begun = threading.Event()

    async def wait(_: Request) -> Response:
        begun.set()
        await asyncio.sleep(60)
        return Response()

    settings = load_settings({"admin_port": 0}, None, {})[0]
    row = Operation("GET", "/api/v1/slow", "slow", "Takes its time", wait, {200: None})
    one = Admin(settings, [row], open_gates(settings).admin)
    one.start()
    with socket.create_connection(one.address) as client:
        client.sendall(b"GET /api/v1/slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert begun.wait(10)
        one.stop()
    assert [record for record in caplog.records if record.exc_info] == []


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        ("can't start new thread", 503, "the server gets no thread for this call just now"),
        ("something else", 500, "internal error"),
    ],
)
def test_fault_115_a_call_for_which_there_is_no_thread_may_be_asked_again(
    admin: Admin, monkeypatch: pytest.MonkeyPatch, words: str, status: int, told: str
) -> None:
    async def none(*_: object) -> None:
        raise RuntimeError(words)

    monkeypatch.setattr("serving.control.admin.run_in_threadpool", none)
    assert _ask(admin, "/api/v1/models")[:2] == (status, {"error": told})
