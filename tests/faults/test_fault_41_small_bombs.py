"""Faults 41 and 48, the quiet form: many small bodies that are large once inflated, none refused.

What is large is inflated off the I/O threads, so a neighbour's request that comes after them all
is answered before they are through.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import select
import socket

import numpy as np
from hyperframe.frame import DataFrame

from tests.clients import http1, http2, oip
from tests.clients.gateway import Gateway
from tests.clients.witness import EXPECTED, MIB, X

PATH = "/v2/models/tiny/infer"
BOMBS = 150
# Under the message limit, and 4 KiB at most when packed: what might be inflated at once.
INFLATED = 3 * MIB
DATA = 0
INFER = http2.SERVICE + "ModelInfer"


def _packed(data: bytes) -> bytes:
    packed = gzip.compress(data, 9)
    assert len(packed) < 4096, len(packed)
    return packed


def _http_bomb() -> bytes:
    body = json.dumps({"inputs": [oip.json_input("x", X)]}).encode()
    packed = _packed(body + b" " * (INFLATED - len(body)))
    return http1.request(PATH, packed, headers=["Content-Encoding: gzip"])


def _grpc_bomb(stream: int) -> bytes:
    """A request whose last field is one that the message does not have, full of zeros."""
    message = oip.grpc_request("tiny", {"x": X}).SerializeToString()
    room = INFLATED - len(message)
    length = bytes([room & 127 | 128, room >> 7 & 127 | 128, room >> 14 & 127 | 128, room >> 21])
    packed = _packed(message + b"\xfa\x01" + length + b"\0" * room)
    head = http2.header_block(http2.grpc_headers(INFER, ("grpc-encoding", "gzip")))
    data = DataFrame(stream, data=http2.grpc_frame(packed, compressed=True))
    data.flags.add("END_STREAM")
    return http2.headers_frame(stream, head, "END_HEADERS") + data.serialize()


def _neighbour(gateway: Gateway) -> None:
    answer = gateway.infer("tiny", {"inputs": [oip.json_input("x", X)]})
    assert answer.status == 200, answer
    np.testing.assert_allclose(oip.json_arrays(answer.json())["y"], EXPECTED, rtol=1e-5)


def test_fault_41_small_bombs_are_inflated_off_the_io_threads(single: Gateway) -> None:
    bomb = _http_bomb()
    socks = [socket.create_connection(("127.0.0.1", single.http_port), 60) for _ in range(BOMBS)]
    try:
        for sock in socks:
            sock.sendall(bomb)
        _neighbour(single)
        answered = len(select.select(socks, [], [], 0)[0])
        assert answered < BOMBS / 2, f"{answered} of {BOMBS} bombs went before their neighbour"
        for sock in socks:
            reply = http1.read_reply(sock)
            assert reply is not None
            assert reply.status == 200, reply
    finally:
        for sock in socks:
            sock.close()


class _Caller:
    """One gRPC connection, whose answer's arrival is seen without a state machine."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), 60)
        self._came = b""

    def answered(self) -> bool:
        """Whether a DATA frame has come."""
        with contextlib.suppress(BlockingIOError):
            self._came += self.sock.recv(1 << 16, socket.MSG_DONTWAIT)
        return self._has_data()

    def wait_answered(self) -> None:
        while not self._has_data():
            data = self.sock.recv(1 << 16)
            assert data, "the connection ended without an answer"
            self._came += data

    def _has_data(self) -> bool:
        at = 0
        while at + 9 <= len(self._came):
            if self._came[at + 3] == DATA:
                return True
            at += 9 + int.from_bytes(self._came[at : at + 3], "big")
        return False


def test_fault_48_small_bombs_over_grpc_are_inflated_off_the_io_threads(single: Gateway) -> None:
    opening = http2.PREFACE + b"\0\0\0\4\0\0\0\0\0" + _grpc_bomb(1)
    callers = [_Caller(single.grpc_port) for _ in range(BOMBS)]
    try:
        for one in callers:
            one.sock.sendall(opening)
        _neighbour(single)
        answered = sum(one.answered() for one in callers)
        assert answered < BOMBS / 2, f"{answered} of {BOMBS} bombs went before their neighbour"
        for one in callers:
            one.wait_answered()
    finally:
        for one in callers:
            one.sock.close()
