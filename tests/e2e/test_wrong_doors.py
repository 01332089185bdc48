"""Whoever comes to the wrong port, or asks for what others have elsewhere, is told where to go."""

from __future__ import annotations

import socket
from typing import Any

import grpc
import pytest
from typer.testing import CliRunner

from serving import __version__
from serving.cli import app
from serving.cli.output import UserError
from tests.clients import http2
from tests.clients.gateway import Gateway

NO_ERROR = 0  # of HTTP/2's codes


def test_the_entrance_says_who_it_is_and_where_things_are(single: Gateway) -> None:
    answer = single.get("/")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    found = answer.json()
    assert (found["name"], found["version"]) == ("serving", __version__)
    ports = [found[door]["port"] for door in ("http", "grpc", "admin")]
    assert ports == [single.http_port, single.grpc_port, single.admin_port]
    assert single.get(found["http"]["models"]).json() == {"models": ["tiny"]}
    assert single.get(found["admin"]["metrics"], port=single.admin_port).status == 200
    for place in ("tensorflow_serving", "mlflow"):
        path = found["http"][place].replace("NAME", "tiny")
        assert single.post(path, {"instances": [[0, 0, 0, 0]]}).status == 200, place
    assert single.get("/", b"{}", "POST").status == 405


def test_the_admin_ports_entrance_leads_to_what_is_there(single: Gateway) -> None:
    found = single.get("/", port=single.admin_port).json()
    assert (found["name"], found["version"]) == ("serving", __version__)
    for place in ("description", "control", "settings", "tracking", "metrics", "health"):
        assert single.get(found[place], port=single.admin_port).status == 200, place
    assert f"port {single.http_port}," in found["inference"]


@pytest.mark.parametrize(
    "path",
    [
        *("/swagger", "/metrics", "/healthz", "/predict", "/predictions/x"),
    ],
)
def test_well_known_paths_of_others_say_where_to_go(single: Gateway, path: str) -> None:
    for method, body in (("GET", None), ("POST", b"{}")):
        answer = single.get(path, body, method)
        assert answer.status == 404
        assert answer.json()["error"].startswith("Not Found: ")
    assert single.get("/nobody/has/this").json() == {"error": "Not Found"}


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/v2/models/tiny/versions/abc/infer", "'abc' is no version: expected an integer"),
        ("/v2/models/tiny/versions", "no version follows"),
        ("/v2/models/tiny/infer/", "the path ends without a slash: /v2/models/tiny/infer"),
        ("/v2/health/ready/", "the path ends without a slash: /v2/health/ready"),
        ("/v2/models/tiny/predict", "a model has no 'predict': expected infer"),
    ],
)
def test_a_path_that_is_wrong_in_one_part_says_which(
    single: Gateway, path: str, words: str
) -> None:
    for answer in (single.get(path), single.get(path, b"{}", "POST")):
        assert answer.status == 404
        assert answer.json()["error"].startswith("Not Found: ")
        assert words in answer.json()["error"]


def test_a_request_without_a_body_is_told_to_bring_one(single: Gateway) -> None:
    answer = single.get("/v2/models/tiny/infer", b"", "POST")
    assert answer.status == 400
    assert "expected a JSON body" in answer.json()["error"]


def test_only_100_continue_is_an_expectation_that_is_met(single: Gateway) -> None:
    answer = single.get("/v2/models/tiny/infer", b"{}", "POST", {"Expect": "200-ok"})
    assert (answer.status, answer.headers["connection"]) == (417, "close")
    assert "'200-ok' is not known: expected 100-continue" in answer.json()["error"]


def test_a_method_in_lower_case_is_http_on_the_grpc_port_too(single: Gateway) -> None:
    with socket.create_connection(("127.0.0.1", single.grpc_port), 10) as sock:
        sock.sendall(b"get / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert sock.recv(12) == b"HTTP/1.1 400"


def test_another_grpc_service_is_told_which_is_spoken(single: Gateway) -> None:
    with grpc.insecure_channel(single.grpc) as channel:
        with pytest.raises(grpc.RpcError) as refused:
            channel.unary_unary("/tensorflow.serving.SessionService/SessionRun")(b"", timeout=10)
        error: Any = refused.value
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED
        assert "TensorFlow Serving's: expected inference.GRPCInferenceService" in error.details()


def test_an_answer_before_the_end_of_a_body_is_whole_over_http2(single: Gateway) -> None:
    """RFC 9113, 8.1: all of it, and then a reset without an error."""
    size = 65 << 20
    head = [(":method", "POST"), (":scheme", "http"), (":path", "/v2/models/tiny/infer")]
    head += [(":authority", "x"), ("content-length", str(size))]
    with http2.Client(single.http_port) as client:
        stream = client.open(head)
        answer = client.answer(stream)
        while answer.reset is None and client.pump(5):
            pass
    assert answer.headers[":status"] == "413"
    assert b"over the limit" in answer.data
    assert answer.reset == NO_ERROR


@pytest.mark.parametrize("body", [None, b"{}", b"x" * 10_000])
def test_http_on_the_grpc_port_is_answered_in_words(single: Gateway, body: bytes | None) -> None:
    answer = single.get("/v2/models/tiny/infer", body, port=single.grpc_port)
    assert (answer.status, answer.headers["connection"]) == (400, "close")
    assert f"HTTP is on port {single.http_port}" in answer.json()["error"]


def test_http2_that_is_no_grpc_is_answered_in_words(single: Gateway) -> None:
    head = [(":method", "GET"), (":scheme", "http"), (":path", "/v2"), (":authority", "x")]
    with http2.Client(single.grpc_port) as client:
        answer = client.answer(client.open(head, end=True))
    assert answer.headers[":status"] == "405"
    assert f"HTTP is on port {single.http_port}".encode() in answer.data


@pytest.mark.parametrize(
    "path",
    [
        "/inference.GRPCInferenceService/ModelInfer",
        "/grpc.health.v1.Health/Check",
        "/someone.elses.Service/Method",
    ],
)
def test_grpc_on_the_http_port_gets_a_status_in_words(single: Gateway, path: str) -> None:
    with grpc.insecure_channel(single.http) as channel:
        with pytest.raises(grpc.RpcError) as refused:
            channel.unary_unary(path)(b"", timeout=10)
        error: Any = refused.value
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED
        assert f"gRPC is on port {single.grpc_port}" in error.details()
        with pytest.raises(grpc.RpcError, match=f"gRPC is on port {single.grpc_port}"):
            list(channel.stream_stream(path)(iter([b""]), timeout=10))


def test_what_is_neither_gets_http2s_answer_on_the_grpc_port(single: Gateway) -> None:
    with socket.create_connection(("127.0.0.1", single.grpc_port), 10) as sock:
        sock.sendall(b"\x16\x03\x01\x00\xa5")
        assert sock.recv(9)[3:4] == b"\x04"  # SETTINGS


def test_the_admin_port_sends_on_those_who_look_for_models(single: Gateway) -> None:
    answer = single.get("/v2/models/tiny", port=single.admin_port)
    assert answer.status == 404
    assert f"the HTTP port, {single.http_port}" in answer.json()["error"]


def _infer(*arguments: str) -> str:
    command = ["infer", "tiny", "--generate", *arguments]
    return CliRunner().invoke(app, command, catch_exceptions=False).output


@pytest.mark.parametrize("form", ["http://{http}", "grpc://{grpc}", "{grpc}"])
def test_infer_takes_the_protocol_from_the_address(single: Gateway, form: str) -> None:
    assert "tiny 1" in _infer("--url", form.format(http=single.http, grpc=single.grpc))


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("http://{grpc}", "HTTP is on port {http_port}"),
        ("grpc://{http}", "gRPC is on port {grpc_port}"),
        ("{http}", "gRPC is on port {grpc_port}"),
        ("http://{admin}", "models answer on the HTTP port, {http_port}"),
        ("{admin}", "it speaks HTTP: try http://{admin}"),
    ],
)
def test_infer_at_a_wrong_door_says_so(single: Gateway, form: str, words: str) -> None:
    places = {
        name: getattr(single, name) for name in ("http", "grpc", "admin", "http_port", "grpc_port")
    }
    with pytest.raises(UserError, match=words.format(**places)):
        _infer("--url", form.format(**places))


def test_infer_says_what_a_version_is() -> None:
    with pytest.raises(UserError, match=r"--version: a version is .*, got '0'"):
        _infer("--version", "0")


def test_names_that_nobody_has_leave_nothing_in_the_figures(single: Gateway) -> None:
    def ask(number: int) -> None:
        for path in (
            f"/v2/models/nobody{number}/infer",
            f"/v2/models/tiny/versions/{number}/infer",
        ):
            assert single.get(path, b'{"inputs": []}', "POST").status == 404
        assert single.get(f"/nowhere{number}", headers={f"x-h{number}": "1"}).status == 404

    ask(7)
    families = len(single.metrics_text().splitlines())
    for number in range(10, 60):
        ask(number)
    # A family of the process's own may have come meanwhile.
    assert len(single.metrics_text().splitlines()) < families + 20
