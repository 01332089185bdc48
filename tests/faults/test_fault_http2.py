"""Faults 44 to 46: hostile HTTP/2, on both ports and at every protocol that infers, each
with a witness.

The library decides between GOAWAY and bounded cost (docs/behaviour.md says which); these tests
hold it to: bounded processor time, bounded memory, and everybody else answered.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Iterator

import h2.settings
import numpy as np
import pytest
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    GoAwayFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.clients import http1, http2, oip, tfs
from tests.clients.gateway import Gateway
from tests.clients.infer_doors import MESSAGES, MODEL_INFER, PREDICT
from tests.clients.witness import MIB, Witness

PORTS = ["grpc_port", "http_port"]
GET = [(":method", "GET"), (":scheme", "http"), (":path", "/v2"), (":authority", "x")]
BLOCK = http2.header_block(GET)


@pytest.fixture(params=PORTS)
def port(request: pytest.FixtureRequest, tight: Gateway) -> int:
    return int(getattr(tight, request.param))


def _survives(tight: Gateway, port: int, parts: Iterator[bytes], cpu: float = 6.0) -> http2.Flood:
    before = tight.cpu_seconds()
    with Witness(tight, slack=24 * MIB):
        met = http2.flood(port, parts, seconds=5.0)
        took = tight.cpu_seconds() - before
    assert took < cpu, f"{took:.1f} s of processor time for {met}"
    return met


def test_fault_44_rapid_reset_is_cut_off(tight: Gateway, port: int) -> None:
    def parts() -> Iterator[bytes]:
        for stream in range(1, 100_000, 2):
            opened = http2.headers_frame(stream, BLOCK, "END_HEADERS", "END_STREAM")
            yield opened + RstStreamFrame(stream, error_code=8).serialize()

    met = _survives(tight, port, parts())
    assert met.ended, "50 000 resets went through on one connection"


def test_fault_70_calls_given_up_at_once_end_no_other(tight: Gateway, port: int) -> None:
    """As many as may be open, opened and reset in one write, before anybody looked at them."""

    def get(stream: int) -> bytes:
        return http2.headers_frame(stream, BLOCK, "END_HEADERS", "END_STREAM")

    burst = get(1)
    for stream in range(3, 3 + 2 * 30, 2):
        burst += get(stream) + RstStreamFrame(stream, error_code=8).serialize()
    with Witness(tight), http1.connection(port, 5) as sock:
        http1.send(sock, http2.PREFACE + SettingsFrame(0).serialize() + burst)
        answered, came = _answered(sock, 1)
        assert answered, came
        http1.send(sock, get(63))
        answered, came = _answered(sock, 63)
        assert answered, came


def _answered(sock: socket.socket, stream: int) -> tuple[bool, bytes]:
    """Whether the head of an answer comes on this stream, or the connection ends; what came."""
    came = b""
    while True:
        for kind, of, _ in _frames(came):
            if kind == HEADERS and of == stream:
                return True, came
            if kind == http2.GOAWAY:
                return False, came
        data = sock.recv(65536)
        if not data:
            return False, came
        came += data


HEADERS, RST_STREAM = 1, 3


def _frames(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """The kind, the stream and the payload of each that is there whole."""
    at = 0
    while (begin := at + 9) <= len(data):
        at = begin + int.from_bytes(data[at : at + 3], "big")
        if at <= len(data):
            stream = int.from_bytes(data[begin - 4 : begin], "big")
            yield data[begin - 6], stream, data[begin:at]


SLOW = {"X": np.zeros((1, 1), np.float32)}
SLOW_JSON = {
    "/v2/models/slow/infer": {"inputs": [oip.json_input("X", SLOW["X"])]},
    "/v1/models/slow:predict": {"instances": [[0]]},
    "/models/slow/invocations": {"inputs": [[0]]},
}
# Port, path, and the body of a request whose run takes long.
RUNS = {
    MODEL_INFER: (
        "grpc_port",
        http2.grpc_frame(oip.grpc_request("slow", SLOW).SerializeToString()),
    ),
    PREDICT: ("grpc_port", http2.grpc_frame(tfs.predict_request("slow", SLOW).SerializeToString())),
    **{path: ("http_port", json.dumps(body).encode()) for path, body in SLOW_JSON.items()},
}


def _head(path: str) -> list[tuple[str, str]]:
    kind = "application/json" if path in SLOW_JSON else "application/grpc"
    return [*http2.grpc_headers(path)[:-1], ("content-type", kind)]


@pytest.mark.parametrize("path", RUNS)
def test_fault_44_resets_of_calls_that_run_leave_no_work_behind(tight: Gateway, path: str) -> None:
    at, message = RUNS[path]
    port, head = int(getattr(tight, at)), http2.header_block(_head(path))

    def parts() -> Iterator[bytes]:
        for stream in range(1, 2000, 2):
            opened = http2.headers_frame(stream, head, "END_HEADERS")
            data = DataFrame(stream, data=message)
            data.flags.add("END_STREAM")
            yield opened + data.serialize() + RstStreamFrame(stream, error_code=8).serialize()

    _survives(tight, port, parts())
    deadline = time.monotonic() + 10
    while tight.metric("serving_in_flight_requests", model="slow") > 0:
        assert time.monotonic() < deadline, "work that nobody waits for is left"
        time.sleep(0.1)


def test_fault_44_made_you_reset(tight: Gateway, port: int) -> None:
    """Streams are opened and then broken on purpose, so that the server resets them."""

    def parts() -> Iterator[bytes]:
        for stream in range(1, 100_000, 2):
            opened = http2.headers_frame(stream, BLOCK, "END_HEADERS", "END_STREAM")
            yield opened + struct.pack(">I", 4)[1:] + b"\x08\0" + struct.pack(">II", stream, 0)

    met = _survives(tight, port, parts())
    assert met.ended, "50 000 provoked resets went through on one connection"


def _continuation() -> Iterator[bytes]:
    yield http2.headers_frame(1, BLOCK)
    yield from http2.repeat(ContinuationFrame(1, data=b"\x00\x01a\x01b" * 200).serialize(), 100_000)


def _empty_continuation() -> Iterator[bytes]:
    yield http2.headers_frame(1, BLOCK)
    yield from http2.repeat(ContinuationFrame(1, data=b"").serialize(), 500_000, 1000)


def _empty_data() -> Iterator[bytes]:
    head = http2.header_block(http2.grpc_headers(MODEL_INFER))
    yield http2.headers_frame(1, head, "END_HEADERS")
    yield from http2.repeat(DataFrame(1, data=b"").serialize(), 1_000_000, 1000)


def _settings() -> Iterator[bytes]:
    yield from http2.repeat(SettingsFrame(0, settings={4: 65535}).serialize(), 300_000, 500)


def _pings() -> Iterator[bytes]:
    yield from http2.repeat(PingFrame(0, b"12345678").serialize(), 300_000, 500)


def _priorities() -> Iterator[bytes]:
    yield from http2.repeat(PriorityFrame(1, depends_on=3).serialize(), 300_000, 500)


def _window_updates() -> Iterator[bytes]:
    yield from http2.repeat(WindowUpdateFrame(0, window_increment=1).serialize(), 300_000, 500)


def _unknown_frames() -> Iterator[bytes]:
    yield from http2.repeat(b"\x00\x00\x04\xfa\x00\x00\x00\x00\x00abcd", 300_000, 500)


def _goaways() -> Iterator[bytes]:
    yield from http2.repeat(GoAwayFrame(0, 0, 0).serialize(), 100_000, 500)


FLOODS = {
    "CONTINUATION": _continuation,
    "empty CONTINUATION": _empty_continuation,
    "empty DATA": _empty_data,
    "SETTINGS": _settings,
    "PING": _pings,
    "PRIORITY": _priorities,
    "WINDOW_UPDATE": _window_updates,
    "unknown frames": _unknown_frames,
    "GOAWAY": _goaways,
}


@pytest.mark.parametrize("path", RUNS)
def test_fault_45_empty_frames_of_a_body_cost_bounded_time_and_memory(
    tight: Gateway, path: str
) -> None:
    def parts() -> Iterator[bytes]:
        yield http2.headers_frame(1, http2.header_block(_head(path)), "END_HEADERS")
        yield from http2.repeat(DataFrame(1, data=b"").serialize(), 100_000, 1000)

    _survives(tight, int(getattr(tight, RUNS[path][0])), parts())


@pytest.mark.parametrize("kind", FLOODS)
def test_fault_45_floods_cost_bounded_time_and_memory(tight: Gateway, port: int, kind: str) -> None:
    met = _survives(tight, port, FLOODS[kind]())
    if "CONTINUATION" in kind:
        assert met.ended, "an endless header block was not cut off"


VIOLATIONS = {
    "window overflow": WindowUpdateFrame(0, window_increment=2**31 - 1).serialize() * 2,
    "window of zero": b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00",
    "data on stream 0": b"\0\0\1\0\0\0\0\0\0x",
    "even stream": http2.headers_frame(2, BLOCK, "END_HEADERS", "END_STREAM"),
    "frame too large": b"\xff\xff\xff\x00\x00\x00\x00\x00\x01" + b"x" * 1000,
    "bad HPACK": http2.headers_frame(1, b"\xff" * 100, "END_HEADERS"),
    "HPACK index out of range": http2.headers_frame(1, b"\xbf", "END_HEADERS"),
    "window size over 2^31": b"\0\0\6\4\0\0\0\0\0" + struct.pack(">HI", 4, 2**31),
    "settings of odd length": b"\0\0\5\4\0\0\0\0\0abcde",
}


@pytest.mark.parametrize("case", VIOLATIONS)
def test_fault_45_violations_end_that_connection_only(tight: Gateway, port: int, case: str) -> None:
    with Witness(tight), http1.connection(port, 5) as sock:
        http1.send(sock, http2.PREFACE + SettingsFrame(0).serialize() + VIOLATIONS[case])
        assert http1.ended(sock, 5), "the connection stayed open"


def test_fault_45_hpack_bomb(tight: Gateway, port: int) -> None:
    """One large table entry, then thousands of one-byte references to it, on many streams."""
    name, value = b"x" * 10, b"v" * 3900
    literal = b"\x40" + bytes([len(name)]) + name + b"\x7f" + http2.varint(len(value) - 127) + value
    head = BLOCK + literal

    def parts() -> Iterator[bytes]:
        yield http2.headers_frame(1, head, "END_HEADERS", "END_STREAM")
        bomb = BLOCK + b"\xbe" * 12_000
        for stream in range(3, 400, 2):
            yield http2.headers_frame(stream, bomb, "END_HEADERS", "END_STREAM")

    _survives(tight, port, parts())


REFUSED_STREAM = 7


def test_fault_45_the_first_stream_over_the_limit_is_refused(tight: Gateway) -> None:
    """This gateway allows 32 streams a connection: the 33rd is reset, or the connection ends."""
    head = http2.header_block(http2.grpc_headers(MODEL_INFER))
    opened = b"".join(
        http2.headers_frame(stream, head, "END_HEADERS") for stream in range(1, 67, 2)
    )
    with Witness(tight), http1.connection(tight.grpc_port, 5) as sock:
        http1.send(sock, http2.PREFACE + SettingsFrame(0).serialize() + opened)
        came = b""
        while not (refused := _refused(came)):
            data = sock.recv(65536)
            assert data, "the connection ended without a word"
            came += data
    assert refused == (65, REFUSED_STREAM)


def _refused(data: bytes) -> tuple[int, int] | None:
    """The first reset or GOAWAY among these frames: its stream and its code."""
    for kind, stream, payload in _frames(data):
        if kind in (RST_STREAM, http2.GOAWAY):
            (code,) = struct.unpack_from(">I", payload, 0 if kind == RST_STREAM else 4)
            return stream, code
    return None


def test_fault_45_streams_over_the_limit_cost_nobody_else_anything(tight: Gateway) -> None:
    head = http2.header_block(http2.grpc_headers(MODEL_INFER))

    def parts() -> Iterator[bytes]:
        for stream in range(1, 400, 2):
            yield http2.headers_frame(stream, head, "END_HEADERS")

    _survives(tight, tight.grpc_port, parts())


@pytest.mark.parametrize("infer", MESSAGES)
def test_fault_45_a_window_of_one_byte_holds_up_only_its_owner(tight: Gateway, infer: str) -> None:
    def parts() -> Iterator[bytes]:
        head = http2.header_block(http2.grpc_headers(infer))
        data = DataFrame(1, data=http2.grpc_frame(MESSAGES[infer]))
        data.flags.add("END_STREAM")
        yield http2.headers_frame(1, head, "END_HEADERS") + data.serialize()
        for _ in range(20):
            time.sleep(0.05)
            yield WindowUpdateFrame(1, window_increment=1).serialize()

    with Witness(tight):
        http2.flood(tight.grpc_port, parts(), settings={4: 1})


GARBAGE = {
    "zeros": b"\0" * 5000,
    "random": np.random.default_rng(1).bytes(5000),
    "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 2,
    "HTTP/1": b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n",
    "preface cut": http2.PREFACE[:10] + b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "nothing": b"",
}


@pytest.mark.parametrize("case", GARBAGE)
def test_fault_46_garbage_on_the_grpc_port(tight: Gateway, case: str) -> None:
    with Witness(tight), http1.connection(tight.grpc_port, 8) as sock:
        http1.send(sock, GARBAGE[case])
        assert http1.ended(sock, 8), "the connection stayed open"


def test_connections_half_closed_are_answered(tight: Gateway) -> None:
    data = http1.request("/v2/health/live", method="GET")
    with http1.connection(tight.http_port) as sock:
        http1.send(sock, data)
        sock.shutdown(socket.SHUT_WR)
        reply = http1.read_reply(sock, "GET")
    assert reply is None or reply.status == 200


def test_fault_28_a_stream_that_is_never_read_costs_bounded_memory(tight: Gateway) -> None:
    """The client opens no window and sends on: the gateway stops reading it."""
    x = np.zeros((1, 5000), np.float32)
    message = http2.grpc_frame(oip.grpc_request("id_fp32", {"X": x}).SerializeToString())
    sent = 0
    with Witness(tight), http2.Client(tight.grpc_port) as client:
        client.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
        stream = client.open(http2.grpc_headers(http2.SERVICE + "ModelStreamInfer"))
        while sent < 3000:
            if client.h2.local_flow_control_window(stream) >= len(message):
                client.send(stream, message)
                sent += 1
            elif not client.pump(1.0):
                break
        assert tight.get("/v2/health/ready").status == 200
    assert sent < 3000, "60 MB were taken in for answers that nobody reads"
