"""Why no gateway answered, in words."""

from __future__ import annotations

import socket

import pytest

from serving.cli.unreached import UnreachedError, grpc_failed, not_connected

FAILED = "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:9: "
PARSING = "Failed parsing HTTP/2 (Expected SETTINGS frame as the first frame, got frame type"


@pytest.mark.parametrize(
    ("code", "details", "words"),
    [
        (
            "UNAVAILABLE",
            f"{FAILED}Failed to connect to remote host: Connection refused",
            "nothing listens at h:1: is the gateway started",
        ),
        ("UNAVAILABLE", "errors resolving h:1: Domain name not found", "by the name 'h'"),
        (
            "UNAVAILABLE",
            f"{FAILED}{PARSING} 80) (Trying to connect an http1.x server (HTTP status 404))",
            "it speaks HTTP: try http://h:1",
        ),
        (
            "UNAVAILABLE",
            f"{FAILED}{PARSING} 45)",
            "speaks no gRPC",
        ),
        (
            "UNAVAILABLE",
            f"{FAILED}Failed to connect to remote host: No route to host",
            "h:1 can't be reached: No route to host",
        ),
        ("UNIMPLEMENTED", "Method not found!", "it does not know inference.GRPCInferenceService"),
        ("UNIMPLEMENTED", "", "none of the Open Inference Protocol"),
        ("UNIMPLEMENTED", "port 1 speaks HTTP only; gRPC is on port 2", "gRPC is on port 2"),
        ("UNIMPLEMENTED", "Received http2 header with status: 404", "not in gRPC's way"),
    ],
)
def test_who_is_not_there_is_said_without_jargon(code: str, details: str, words: str) -> None:
    error = grpc_failed("h:1", code, details, 5)
    assert isinstance(error, UnreachedError)
    assert words in str(error)
    assert "ipv4:" not in str(error)


@pytest.mark.parametrize(
    ("code", "details", "words"),
    [
        ("UNAVAILABLE", "model 'm' is leaving", "UNAVAILABLE: model 'm' is leaving"),
        ("NOT_FOUND", "unknown model", "NOT_FOUND: unknown model"),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", "h:1: no answer within 5 s"),
        ("INTERNAL", "", "h:1: INTERNAL, no reason given"),
    ],
)
def test_what_a_gateway_refuses_may_go_otherwise_the_next_time(
    code: str, details: str, words: str
) -> None:
    error = grpc_failed("h:1", code, details, 5)
    assert not isinstance(error, UnreachedError)
    assert str(error) == words


def test_what_a_socket_says_is_told_as_far_as_it_is_final() -> None:
    refused = not_connected("http://h:1", "h", ConnectionRefusedError())
    assert str(refused).startswith("nothing listens at http://h:1")
    nameless = not_connected("http://h:1", "h", socket.gaierror(-2, "unknown"))
    assert "by the name 'h'" in str(nameless)
    assert not_connected("http://h:1", "h", ConnectionResetError()) is None


def test_what_a_gateway_says_stays_in_its_line() -> None:
    error = grpc_failed("h:1", "NOT_FOUND", "its aliases: a\nserving: done", 1.0)
    assert error.lines == [r"NOT_FOUND: its aliases: a\nserving: done"]
