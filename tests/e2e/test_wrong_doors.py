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


def test_the_entrance_says_who_it_is_and_where_things_are(single: Gateway) -> None:
    answer = single.get("/")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    found = answer.json()
    assert (found["name"], found["version"]) == ("serving", __version__)
    ports = [found[door]["port"] for door in ("http", "grpc", "admin")]
    assert ports == [single.http_port, single.grpc_port, single.admin_port]
    assert single.get(found["http"]["models"]).json() == {"models": ["tiny"]}
    assert single.get(found["admin"]["metrics"], port=single.admin_port).status == 200
    assert single.get("/", b"{}", "POST").status == 405


@pytest.mark.parametrize(
    "path",
    [
        *("/docs", "/metrics", "/health", "/healthz", "/predict", "/predictions/x"),
        *("/invocations", "/v1/models/tiny:predict", "/v1/chat/completions"),
    ],
)
def test_well_known_paths_of_others_say_where_to_go(single: Gateway, path: str) -> None:
    for method, body in (("GET", None), ("POST", b"{}")):
        answer = single.get(path, body, method)
        assert answer.status == 404
        assert answer.json()["error"].startswith("Not Found: ")
    assert single.get("/nobody/has/this").json() == {"error": "Not Found"}


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
