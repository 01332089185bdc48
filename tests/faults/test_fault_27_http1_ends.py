"""Fault 27 at the ends of HTTP/1 connections: who is gone is noticed, and who only stopped sending,
or is still sending when it is refused, gets its answer."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterable

import numpy as np
import pytest

from tests.clients import http1, misbehaving, oip
from tests.clients.gateway import Gateway, wait_until
from tests.clients.witness import MIB, Witness

SLOW = "/v2/models/slow/infer"
TINY = "/v2/models/tiny/infer"
X = np.ones((1, 1), np.float32)
ASK = http1.request(SLOW, json.dumps({"inputs": [oip.json_input("X", X)]}).encode())
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"
LEAVING = 6


def _infer(x: np.ndarray) -> bytes:
    body, headers = oip.binary_body({"X": x})
    lines = [f"{key}: {value}" for key, value in headers.items()]
    return http1.request("/v2/models/id_fp32/infer", body, headers=lines)


def _reads_end(sock: socket.socket) -> bool:
    """Whether the connection ends as it should; a reset raises."""
    sock.settimeout(10)
    return sock.recv(1) == b""


def test_a_client_that_stops_sending_gets_a_slow_answer_and_then_the_end(tight: Gateway) -> None:
    with http1.connection(tight.http_port) as sock:
        sock.sendall(ASK)
        sock.shutdown(socket.SHUT_WR)
        reply = http1.read_reply(sock)
        assert reply is not None, "the answer was lost"
        assert reply.status == 200
        np.testing.assert_array_equal(oip.json_arrays(json.loads(reply.body))["Y"], X)
        assert _reads_end(sock)


def test_a_client_that_stops_sending_gets_all_answers_that_it_asked_for(tight: Gateway) -> None:
    with http1.connection(tight.http_port) as sock:
        sock.sendall(ASK * 2)
        sock.shutdown(socket.SHUT_WR)
        came = b"".join(iter(lambda: sock.recv(65_536), b""))
    # What asks whether it is still there stands between answers, never within one.
    parts = came.replace(INTERIM, b"").split(b"HTTP/1.1 ")
    assert [part[:3] for part in parts] == [b"", b"200", b"200"], came
    assert parts[1].partition(b"\r\n\r\n")[2] == parts[2].partition(b"\r\n\r\n")[2]


def test_a_client_that_stops_sending_and_reads_late_gets_a_large_answer(gateway: Gateway) -> None:
    """More than the sockets hold: the answer is under way for as long as nobody reads."""
    x = np.arange(4 * MIB, dtype=np.float32).reshape(-1, 2)
    with http1.connection(gateway.http_port, 30) as sock:
        sock.sendall(_infer(x))
        sock.shutdown(socket.SHUT_WR)
        wait_until(lambda: gateway.metric("serving_buffered_bytes") > 0, 10, "the answer waits")
        reply = http1.read_reply(sock)
        assert reply is not None, "the answer was lost"
        assert reply.status == 200
        assert len(reply.body) > x.nbytes
        assert _reads_end(sock)


def test_a_request_that_is_cut_off_is_not_waited_for(tight: Gateway) -> None:
    with http1.connection(tight.http_port) as sock:
        sock.sendall(ASK[:-5])
        sock.shutdown(socket.SHUT_WR)
        assert http1.ended(sock, 10), "the connection stayed open"
    wait_until(lambda: tight.metric("serving_buffered_bytes") == 0, 10, "nothing is held")


def _close(sock: socket.socket) -> None:
    sock.close()


@pytest.mark.parametrize("leave", [_close, misbehaving.reset], ids=["close", "reset"])
def test_fault_27_who_closes_his_connection_is_dropped_before_his_turn(
    tight: Gateway, leave: Callable[[socket.socket], None]
) -> None:
    before = tight.stats("slow")["execution_count"]
    with Witness(tight), http1.connection(tight.http_port) as first:
        first.sendall(ASK)
        for _ in range(LEAVING):
            sock = socket.create_connection(("127.0.0.1", tight.http_port))
            sock.sendall(ASK)
            leave(sock)
        last = http1.exchange(tight.http_port, ASK)
        assert last is not None
        assert last.status == 200, last
        reply = http1.read_reply(first)
        assert reply is not None
        assert reply.status == 200
    # The two who stayed, and at most one who left as its turn came.
    assert tight.stats("slow")["execution_count"] <= before + 3


BODY = b" " * (3 * MIB)
REFUSED: dict[str, tuple[int, Callable[[], Iterable[bytes]]]] = {
    "over the limit": (413, lambda: [http1.request(TINY, BODY)]),
    "over the limit, in chunks": (
        413,
        lambda: [
            http1.head(TINY, "Transfer-Encoding: chunked"),
            *http1.chunked(BODY[i : i + 65_536] for i in range(0, len(BODY), 65_536)),
        ],
    ),
    "of another type": (
        415,
        lambda: [http1.request(TINY, BODY, headers=["Content-Type: text/xml"])],
    ),
    "to nowhere": (404, lambda: [http1.request("/nowhere", BODY)]),
    "behind a head of 1 MiB": (
        431,
        lambda: [http1.request("/v2", BODY, "GET", ["X: " + "a" * MIB])],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_who_is_refused_while_he_still_sends_reads_why(tight: Gateway, case: str) -> None:
    status, parts = REFUSED[case]
    with Witness(tight), http1.connection(tight.http_port) as sock:
        # What the kernel takes in is not what the gateway does.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 17)
        assert http1.send(sock, parts()), "the connection broke before all was sent"
        reply = http1.read_reply(sock)
        assert reply is not None, "the answer was lost"
        assert reply.status == status, reply
        assert _reads_end(sock)


def test_who_is_refused_and_goes_on_sending_is_cut_off(tight: Gateway) -> None:
    with Witness(tight), http1.connection(tight.http_port) as sock:
        sock.sendall(http1.head(TINY, f"Content-Length: {1 << 40}"))
        piece = b" " * MIB
        assert not http1.send(sock, (piece for _ in range(256))), "all of it was taken"
    wait_until(lambda: tight.metric("serving_buffered_bytes") == 0, 10, "nothing is held")
