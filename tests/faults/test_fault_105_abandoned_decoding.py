"""Fault 105: nobody waits behind decoding that nobody waits for any more, nor behind large work."""

from __future__ import annotations

import gzip
import json
import select
import socket

import numpy as np
import pytest

from tests.clients import http1, oip
from tests.clients.gateway import Gateway, wait_until
from tests.clients.witness import EXPECTED, MIB, X

PATH = "/v2/models/tiny/infer"
LEAVING = 40
LARGE = 6


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """64 KB that become 63 MiB of blanks: no request, once it is read."""
    packed = gzip.compress(b" " * (63 * MIB), 9)
    return http1.request(PATH, packed, headers=["Content-Encoding: gzip"])


def _all_given_back(gateway: Gateway) -> None:
    wait_until(lambda: gateway.metric("serving_buffered_bytes") == 0, 30, "nothing is held")


def test_fault_105_bodies_whose_clients_left_are_not_decoded(single: Gateway, bomb: bytes) -> None:
    before = single.cpu_seconds()
    reply = http1.exchange(single.http_port, bomb, timeout=60)
    assert reply is not None
    assert reply.status == 400
    one = single.cpu_seconds() - before
    for _ in range(LEAVING):
        with socket.create_connection(("127.0.0.1", single.http_port)) as sock:
            sock.sendall(bomb)
    _all_given_back(single)
    all_of_them = single.cpu_seconds() - before - one
    assert all_of_them < LEAVING / 4 * max(one, 0.05), f"{all_of_them} s, one alone {one} s"


def test_fault_105_small_work_does_not_stand_behind_large(single: Gateway, bomb: bytes) -> None:
    # Larger than what an I/O thread decodes itself, so it needs a helper, too.
    request = {"inputs": [oip.json_input("x", X)], "ignored": "y" * 70_000}
    socks = [socket.create_connection(("127.0.0.1", single.http_port), 60) for _ in range(LARGE)]
    try:
        for sock in socks:
            sock.sendall(bomb)
        answer = single.infer("tiny", request)
        answered = len(select.select(socks, [], [], 0)[0])
        assert answer.status == 200, answer
        np.testing.assert_allclose(oip.json_arrays(answer.json())["y"], EXPECTED, rtol=1e-5)
        assert answered < LARGE / 2, f"{answered} of {LARGE} large bodies went before it"
        for sock in socks:
            reply = http1.read_reply(sock)
            assert reply is not None
            assert reply.status == 400, reply
    finally:
        for sock in socks:
            sock.close()
    _all_given_back(single)


def test_fault_105_a_deadline_is_looked_at_as_soon_as_it_is_read(single: Gateway) -> None:
    runs = single.stats("tiny")["execution_count"]
    request = {
        "inputs": [oip.json_input("x", X)],
        "parameters": {"timeout": 1},
        "ignored": "y" * 70_000,
    }
    answer = single.get(PATH, json.dumps(request).encode(), "POST")
    assert (answer.status, answer.json()["error"]) == (504, "Request timeout expired")
    assert single.stats("tiny")["execution_count"] == runs
