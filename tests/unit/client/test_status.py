"""What an error's status, text and headers make of it, and whether it may be repeated."""

from __future__ import annotations

import json
import ssl

import pytest

from serving_client import ConnectionLostError, WrongServerError, errors
from serving_client.addresses import parse_address
from serving_client.grpc_status import grpc_error
from serving_client.http_status import http_error
from serving_client.transports.http_answer import Body, no_tls

GRPC, HTTP = parse_address("h:1"), parse_address("http://h:2")
ID = {"x-request-id": "abc"}
FAILED = "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:9: "
PARSING = "Failed parsing HTTP/2 (Expected SETTINGS frame as the first frame, got frame type"


@pytest.mark.parametrize(
    ("code", "said", "kind", "repeatable", "after"),
    [
        ("INVALID_ARGUMENT", {}, "InvalidRequestError", False, None),
        ("FAILED_PRECONDITION", {}, "InvalidRequestError", False, None),
        ("NOT_FOUND", {}, "NotFoundError", False, None),
        ("UNAVAILABLE", {}, "UnavailableError", True, None),
        ("UNAVAILABLE", {"grpc-retry-pushback-ms": "250"}, "UnavailableError", True, 0.25),
        ("UNAVAILABLE", {"grpc-retry-pushback-ms": "-1"}, "UnavailableError", False, None),
        ("UNAVAILABLE", {"grpc-retry-pushback-ms": "soon"}, "UnavailableError", False, None),
        ("UNAVAILABLE", {"grpc-retry-pushback-ms": "9" * 400}, "UnavailableError", False, None),
        ("UNAVAILABLE", {"grpc-retry-pushback-ms": "9" * 5000}, "UnavailableError", False, None),
        ("RESOURCE_EXHAUSTED", {"grpc-retry-pushback-ms": "5"}, "OverloadedError", True, 0.005),
        ("RESOURCE_EXHAUSTED", {}, "TooLargeError", False, None),
        ("DEADLINE_EXCEEDED", {}, "DeadlineError", False, None),
        ("UNAUTHENTICATED", {}, "NotAllowedError", False, None),
        ("PERMISSION_DENIED", {}, "NotAllowedError", False, None),
        ("UNIMPLEMENTED", {}, "UnsupportedError", False, None),
        ("INTERNAL", {}, "InternalError", False, None),
        ("ABORTED", {}, "InternalError", False, None),
    ],
)
def test_each_status_of_grpc_is_one_kind_of_error(
    code: str, said: dict[str, str], kind: str, repeatable: bool, after: float | None
) -> None:
    error = grpc_error(GRPC, code, "its words", {**ID, **said}, 5.0)
    assert type(error) is getattr(errors, kind)
    assert (str(error), error.code, error.request_id) == ("its words", code, "abc")
    assert (error.repeatable, error.retry_after, error.address) == (repeatable, after, "h:1")


def test_a_request_that_crashed_its_model_is_not_sent_again() -> None:
    """Both doors say that it is not available: it would be the end of the next process, too."""
    words = "the model's process ended while it ran this request (SIGFPE)"
    said = {**ID, "grpc-retry-pushback-ms": "-1"}
    over_grpc = grpc_error(GRPC, "UNAVAILABLE", words, said, 5.0)
    body = json.dumps({"error": words}).encode()
    over_http = http_error(HTTP, 503, {"x-should-retry": "false"}, body, now=0.0)
    for error in (over_grpc, over_http):
        assert type(error) is errors.UnavailableError
        assert not error.repeatable


@pytest.mark.parametrize(
    ("details", "words"),
    [
        (f"{FAILED}Failed to connect to remote host: Connection refused", "nothing listens at h:1"),
        ("errors resolving h:1: Domain name not found", "by the name 'h'"),
        (f"{FAILED}Failed to connect to remote host: No route to host", "No route to host"),
        (f"{FAILED}tcp handshaker shutdown", "h:1 can't be reached: timed out"),
    ],
)
def test_who_is_not_there_may_be_asked_again(details: str, words: str) -> None:
    error = grpc_error(GRPC, "UNAVAILABLE", details, {}, 5.0)
    assert type(error) is errors.UnreachableError
    assert isinstance(error, ConnectionError)
    assert error.repeatable
    assert words in str(error)
    assert "ipv4:" not in str(error)


@pytest.mark.parametrize(
    "details", ["Socket closed", "recvmsg:Connection reset by peer", "GOAWAY received"]
)
def test_a_connection_that_broke_is_told_apart(details: str) -> None:
    """What was asked may have been done: who must know asks for this kind."""
    error = grpc_error(GRPC, "UNAVAILABLE", details, {}, 5.0)
    assert type(error) is errors.ConnectionLostError
    assert error.repeatable
    assert "the connection ended before the answer" in str(error)


@pytest.mark.parametrize(
    ("code", "details", "words"),
    [
        ("UNAVAILABLE", f"{FAILED}{PARSING} 80) (an http1.x server)", "try http://h:1"),
        ("UNAVAILABLE", f"{FAILED}{PARSING} 45)", "speaks no gRPC"),
        ("UNIMPLEMENTED", "Method not found!", "it does not know inference.GRPC"),
        ("UNIMPLEMENTED", "", "none of the Open Inference Protocol"),
        ("UNIMPLEMENTED", "port 1 speaks HTTP only; gRPC is on port 2", "gRPC is on port 2"),
        ("UNIMPLEMENTED", "Received http2 header with status: 404", "not in gRPC's way"),
    ],
)
def test_who_is_something_else_is_not_asked_again(code: str, details: str, words: str) -> None:
    error = grpc_error(GRPC, code, details, {}, 5.0)
    assert type(error) is errors.WrongServerError
    assert not error.repeatable
    assert words in str(error)


def test_a_deadline_that_the_client_kept_says_how_long_it_was() -> None:
    error = grpc_error(GRPC, "DEADLINE_EXCEEDED", "Deadline Exceeded", {}, 5.0)
    assert str(error) == "h:1: no answer within 5 s"
    assert isinstance(error, TimeoutError)


@pytest.mark.parametrize(
    ("status", "headers", "kind", "code", "repeatable", "after"),
    [
        (400, {}, "InvalidRequestError", "INVALID_ARGUMENT", False, None),
        (401, {}, "NotAllowedError", "UNAUTHENTICATED", False, None),
        (403, {}, "NotAllowedError", "PERMISSION_DENIED", False, None),
        (404, {}, "NotFoundError", "NOT_FOUND", False, None),
        (405, {}, "UnsupportedError", "UNIMPLEMENTED", False, None),
        (408, {}, "DeadlineError", "DEADLINE_EXCEEDED", False, None),
        (413, {}, "TooLargeError", "RESOURCE_EXHAUSTED", False, None),
        (429, {"retry-after": "2"}, "OverloadedError", "RESOURCE_EXHAUSTED", True, 2.0),
        (500, {}, "InternalError", "INTERNAL", False, None),
        (501, {}, "UnsupportedError", "UNIMPLEMENTED", False, None),
        (502, {}, "UnavailableError", "UNAVAILABLE", True, None),
        (503, {"retry-after": "1"}, "UnavailableError", "UNAVAILABLE", True, 1.0),
        (503, {"retry-after": "soon"}, "UnavailableError", "UNAVAILABLE", True, None),
        (503, {"retry-after": "1e300"}, "UnavailableError", "UNAVAILABLE", True, 1e300),
        (503, {"retry-after": "9" * 5000}, "UnavailableError", "UNAVAILABLE", True, None),
        (503, {}, "UnavailableError", "UNAVAILABLE", True, None),
        (429, {}, "OverloadedError", "RESOURCE_EXHAUSTED", False, None),
        (504, {}, "DeadlineError", "DEADLINE_EXCEEDED", False, None),
        (418, {}, "InternalError", "UNKNOWN", False, None),
    ],
)
def test_each_status_of_http_is_the_same_kind(
    status: int,
    headers: dict[str, str],
    kind: str,
    code: str,
    repeatable: bool,
    after: float | None,
) -> None:
    body = json.dumps({"error": "its words"}).encode()
    error = http_error(HTTP, status, {**ID, **headers}, body, now=0.0)
    assert type(error) is getattr(errors, kind)
    assert (str(error), error.code, error.request_id) == ("its words", code, "abc")
    assert (error.repeatable, error.retry_after) == (repeatable, after)


def test_a_time_to_come_back_may_be_a_date() -> None:
    headers = {"retry-after": "Thu, 01 Jan 1970 00:01:40 GMT"}
    assert http_error(HTTP, 503, headers, b"", now=90.0).retry_after == 10.0
    assert http_error(HTTP, 503, headers, b"", now=900.0).retry_after == 0.0


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'{"detail": "x"}', b"[" * 100_000])
def test_what_is_not_the_protocols_is_another_server(body: bytes) -> None:
    for status in (400, 404, 418, 302):
        error = http_error(HTTP, status, {"content-type": "text/html"}, body, now=0.0)
        assert type(error) is errors.WrongServerError
        assert f"no model server (status {status}, text/html)" in str(error)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, errors.NotAllowedError),
        (403, errors.NotAllowedError),
        (413, errors.TooLargeError),
        (429, errors.OverloadedError),
        (503, errors.UnavailableError),
        (599, errors.InternalError),
    ],
)
def test_a_proxy_before_the_server_says_so_in_its_own_way(
    status: int, kind: type[errors.ServingError]
) -> None:
    error = http_error(HTTP, status, {"content-type": "text/html"}, b"<html>", now=0.0)
    assert type(error) is kind
    assert str(error) == f"http://h:2: status {status}, no reason given"


@pytest.mark.parametrize("length", ["9" * 19, "9" * 5000, "0" * 5000 + "99"])
def test_an_answer_of_any_length_is_held_against_the_limit(length: str) -> None:
    with pytest.raises(errors.TooLargeError, match="max_message_bytes is 10"):
        Body(HTTP, {"content-length": length}, 10)
    Body(HTTP, {"content-length": "0" * 5000}, 10)


def test_what_goes_wrong_with_tls_is_told_apart() -> None:
    """A connection that ended may be asked for again, and a server that is another one may not."""
    address = parse_address("https://h:1")
    ended = no_tls(address, ssl.SSLEOFError(8, "EOF occurred in violation of protocol"))
    assert isinstance(ended, ConnectionLostError)
    assert ended.repeatable
    assert isinstance(no_tls(address, ConnectionResetError("reset")), ConnectionLostError)
    alert = ssl.SSLError(1, "alert")
    alert.reason = "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    refused = no_tls(address, alert)
    assert isinstance(refused, WrongServerError)
    assert "h:1: TLS was not agreed on: TLSV13_ALERT_CERTIFICATE_REQUIRED" in str(refused)
    assert not refused.repeatable


@pytest.mark.parametrize(
    ("details", "words"),
    [
        (
            f"{FAILED}Ssl handshake failed: CERTIFICATE_VERIFY_FAILED: no local issuer: OK",
            "h:1: its certificate is not trusted: no local issuer",
        ),
        (
            f"{FAILED}Hostname Verification Check failed.",
            "h:1: its certificate is not trusted: it is for another name",
        ),
        (
            f"{FAILED}Ssl handshake failed: WRONG_VERSION_NUMBER: OK",
            "h:1: it does not speak TLS: try grpc://h:1",
        ),
    ],
)
def test_a_handshake_that_failed_is_a_server_not_to_be_asked(details: str, words: str) -> None:
    found = grpc_error(parse_address("grpcs://h:1"), "UNAVAILABLE", details, {}, 1.0)
    assert isinstance(found, WrongServerError)
    assert str(found) == words
    assert not found.repeatable
