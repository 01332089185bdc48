"""One exchange with a server that may be none, or never come to an end."""

from __future__ import annotations

import pytest

from serving.cli.exchange import request
from serving.cli.output import UserError
from tests.clients.misbehaving_servers import BODY, HEAD, closing, silent


def test_a_server_that_does_not_answer_is_an_error_in_words() -> None:
    with closing(0, b"") as (place, _), pytest.raises(UserError, match="http://127"):
        request("GET", f"http://{place}", timeout=5.0)


def test_a_server_that_trickles_holds_nobody_beyond_the_time_for_all() -> None:
    """It sends for a minute, and never pauses as long as the time-out."""
    with silent(HEAD, BODY, 0.1) as (place, _), pytest.raises(UserError, match="timed out"):
        request("GET", f"http://{place}", timeout=2.0)


def test_what_is_no_http_may_be_a_grpc_port() -> None:
    settings_frame = b"\0\0\0\4\0\0\0\0\0"
    with (
        closing(1, settings_frame) as (place, _),
        pytest.raises(UserError, match=r"does not speak HTTP/1.1 \(a gRPC port\? then grpc://127"),
    ):
        request("GET", f"http://{place}", timeout=5.0)
