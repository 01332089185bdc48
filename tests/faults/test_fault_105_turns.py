"""Fault 105: connections take turns at being decoded, whatever one of them sends in."""

from __future__ import annotations

import gzip
import json

import numpy as np

from tests.clients import http2, oip
from tests.clients.gateway import Gateway, wait_until
from tests.clients.witness import EXPECTED, X

PATH = "/v2/models/tiny/infer"
FLOOD = 600
# Small work, as large as that may be, and refused by its sum once it is decompressed.
BLANKS = gzip.compress(b" " * ((1 << 20) - 1), 9)[:-8] + bytes(8)
HEAD = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", PATH),
    (":authority", "localhost"),
    ("content-encoding", "gzip"),
]


def _flood(client: http2.Client) -> None:
    """All of them at once, on one connection."""
    for _ in range(FLOOD):
        stream = client.h2.get_next_available_stream_id()
        client.h2.send_headers(stream, HEAD)
        client.h2.send_data(stream, BLANKS, end_stream=True)
    client.flush()


def _answered(client: http2.Client) -> int:
    return sum(answer.done for answer in client.answers.values())


def test_fault_105_one_connections_many_bodies_do_not_hold_up_another_one(single: Gateway) -> None:
    # Larger than what an I/O thread decompresses and decodes itself, so it takes two turns.
    noise = np.random.default_rng(0).integers(0, 256, 10_000).tolist()
    request = {"inputs": [oip.json_input("x", X)], "ignored": [noise, " " * 70_000]}
    body = gzip.compress(json.dumps(request).encode())
    with http2.Client(single.http_port) as client:
        wait_until(lambda: not client.pump(0.1), 10, "the server has said what it takes")
        _flood(client)
        answer = single.get(PATH, body, "POST", {"Content-Encoding": "gzip"})
        # Two looks show all that was answered by now, and little of what is answered meanwhile.
        client.pump(0.001)
        client.pump(0.001)
        before = _answered(client)
        assert answer.status == 200, answer
        np.testing.assert_allclose(oip.json_arrays(answer.json())["y"], EXPECTED, rtol=1e-5)
        assert before < FLOOD / 2, f"{before} of {FLOOD} went before it"
        while _answered(client) < FLOOD:
            assert client.pump(20), f"{_answered(client)} of {FLOOD} were answered"
    statuses = [a.headers[":status"] for a in client.answers.values() if ":status" in a.headers]
    assert statuses.count("400") == FLOOD, set(statuses)
    wait_until(lambda: single.metric("serving_buffered_bytes") == 0, 20, "nothing is held")
