"""Clients that make the gateway hold bytes, a kind at a time, for as long as the block lasts.

Each takes a gateway whose models :func:`lay` laid, and comes back when all is sent.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import numpy as np
from grpc_health.v1 import health_pb2
from hyperframe.frame import SettingsFrame, WindowUpdateFrame

from tests.clients import http1, http2, oip
from tests.clients.gateway import Gateway, wait_until
from tests.clients.http2 import data_frames
from tests.clients.triton import channel, stub
from tests.clients.witness import MIB
from tests.small_models import (
    BATCHED,
    UNBATCHED,
    fill,
    iterations_per_second,
    loops_as_told,
    texts_as_told,
    tiny,
    widen_as_told,
    write,
)

INFER = http2.SERVICE + "ModelInfer"
STREAM = http2.SERVICE + "ModelStreamInfer"
WATCH = "/grpc.health.v1.Health/Watch"
# A run that others wait for would take so long; it ends when they are done with.
BUSY_S = 60.0
# Of one connection, below limits.max_streams.
STREAMS = 1000
Holder = Callable[[Gateway], AbstractContextManager[None]]


def lay(repository: Path) -> None:
    repository.mkdir()
    write(repository, "tiny", tiny())
    write(repository, "fill", fill())
    write(repository, "loop", loops_as_told())
    write(repository, "texts", texts_as_told(), config=UNBATCHED)
    write(repository, "pieces", widen_as_told(MIB // 4), config=BATCHED)


# Large things


@contextmanager
def uploads(gateway: Gateway) -> Iterator[None]:
    """Uploads that stop before their end."""
    with ExitStack() as open_ones:
        for _ in range(6):
            sock = open_ones.enter_context(http1.connection(gateway.http_port, 30))
            sock.sendall(http1.head("/v2/models/tiny/infer", f"Content-Length: {41 * MIB}"))
            sock.sendall(b" " * (40 * MIB))
        yield


DOUBLES = 5_000_000


@contextmanager
def requests_in_line(gateway: Gateway) -> Iterator[None]:
    """40 MB of doubles each, as raw bytes."""
    inputs = {"N": np.array([1]), "X": np.zeros((1, DOUBLES))}
    request = oip.grpc_request("loop", inputs)
    with _behind_a_run(gateway), channel(gateway) as one:
        waiting = [stub(one).ModelInfer.future(request, timeout=60) for _ in range(6)]
        yield
        for call in waiting:
            call.cancel()


@contextmanager
def json_in_line(gateway: Gateway) -> Iterator[None]:
    """Two characters of JSON become the eight bytes of a double, and wait."""
    rounds = json.dumps(oip.json_input("N", np.array([1])))
    body = b'{"inputs":[%s,{"name":"X","datatype":"FP64","shape":[1,%d],"data":[%s0]}]}' % (
        rounds.encode(),
        DOUBLES,
        b"0," * (DOUBLES - 1),
    )
    with _behind_a_run(gateway), ExitStack() as open_ones:
        for _ in range(6):
            sock = open_ones.enter_context(http1.connection(gateway.http_port, 30))
            sock.sendall(http1.request("/v2/models/loop/infer", body))
        yield


@contextmanager
def answers(gateway: Gateway) -> Iterator[None]:
    """Answers of 40 MB that nobody takes."""
    inputs = [oip.json_input("N", np.array([10_000_000]))]
    outputs = [{"name": "Y", "parameters": {"binary_data": True}}]
    body = json.dumps({"inputs": inputs, "outputs": outputs}).encode()
    with ExitStack() as open_ones:
        for _ in range(6):
            sock = open_ones.enter_context(http1.connection(gateway.http_port, 30))
            sock.sendall(http1.request("/v2/models/fill/infer", body))
        yield


@contextmanager
def pieces(gateway: Gateway) -> Iterator[None]:
    """Requests of six quick pieces, 8 MiB of answer each, and a last one that takes its time."""
    rows = np.zeros((56, 1), np.float32)
    rows[-1] = _rounds()
    whole, first = (oip.grpc_request("pieces", {"X": x}) for x in (rows, rows[-1:]))
    with channel(gateway) as one:
        infer = stub(one).ModelInfer
        # All are in line before a piece runs, so that they take turns.
        busy = infer.future(first, timeout=60)
        _until_in_flight(gateway, 1)
        waiting = [infer.future(whole, timeout=60) for _ in range(4)]
        _until_in_flight(gateway, 5)
        busy.cancel()
        yield
        for call in waiting:
            call.cancel()


@contextmanager
def texts(gateway: Gateway) -> Iterator[None]:
    """A million short texts in a run."""
    million = np.full((1, 1_000_000), "ab", object)
    inputs = {"N": _rounds(), "X": million}
    with channel(gateway) as one:
        run = stub(one).ModelInfer.future(oip.grpc_request("texts", inputs), timeout=60)
        yield
        run.cancel()


# Many small things


@contextmanager
def quiet_streams(gateway: Gateway) -> Iterator[None]:
    opened = http2.header_block(http2.grpc_headers(STREAM))
    with _streams(gateway, 10_000, lambda stream: _head(stream, opened)):
        yield


@contextmanager
def watches(gateway: Gateway) -> Iterator[None]:
    """Of names as long as they may be."""
    opened = http2.header_block(http2.grpc_headers(WATCH))
    asked = health_pb2.HealthCheckRequest(service="x" * 1000).SerializeToString()
    message = http2.grpc_frame(asked)
    with _streams(
        gateway,
        10_000,
        lambda stream: _head(stream, opened) + data_frames(stream, message, end=True),
    ):
        yield


@contextmanager
def heads(gateway: Gateway) -> Iterator[None]:
    """Heads of 12 KB whose message does not come."""
    padding = [(f"x-padding-{i}", "p" * 100) for i in range(100)]
    opened = http2.header_block(http2.grpc_headers(http2.SERVICE + "ServerMetadata", *padding))
    with _streams(gateway, 5_000, lambda stream: _head(stream, opened)):
        yield


@contextmanager
def small_requests(gateway: Gateway) -> Iterator[None]:
    """Requests of some bytes, and with ids as long as they may be, in line."""
    inputs = {"N": np.array([1]), "X": np.zeros((1, 1))}
    asked = oip.grpc_request("loop", inputs, request_id="i" * 128)
    opened = http2.header_block(http2.grpc_headers(INFER))
    message = http2.grpc_frame(asked.SerializeToString())
    with (
        _behind_a_run(gateway),
        _streams(
            gateway,
            20_000,
            lambda stream: _head(stream, opened) + data_frames(stream, message, end=True),
        ),
    ):
        yield


@contextmanager
def unread_data(gateway: Gateway) -> Iterator[None]:
    """What came for streams that take no more: their answers are not taken."""
    asked = oip.grpc_request("tiny", {"x": np.zeros((1, 4), np.float32)}).SerializeToString()
    opened = http2.header_block(http2.grpc_headers(STREAM))
    # All that may be unanswered, and the beginning of one more.
    data = http2.grpc_frame(asked) * 100 + struct.pack(">BI", 0, 2 * MIB)
    data = data.ljust(1_000_000, b"\0")
    with _streams(
        gateway,
        200,
        lambda stream: _head(stream, opened) + data_frames(stream, data),
        together=15,
    ):
        yield


KINDS: dict[str, Holder] = {
    "bodies that arrive": uploads,
    "answers that nobody takes": answers,
    "requests in line": requests_in_line,
    "numbers of JSON in line": json_in_line,
    "pieces of answers": pieces,
    "texts as objects": texts,
    "quiet streams": quiet_streams,
    "watches and their names": watches,
    "heads": heads,
    "small requests in line, and their ids": small_requests,
    "data of streams that nobody reads": unread_data,
}


def _rounds() -> np.ndarray:
    return np.array([int(BUSY_S * iterations_per_second())])


@contextmanager
def _behind_a_run(gateway: Gateway) -> Iterator[None]:
    """The one instance of a model is busy, so that others wait."""
    inputs = {"N": _rounds(), "X": np.zeros((1, 1))}
    with channel(gateway) as one:
        run = stub(one).ModelInfer.future(oip.grpc_request("loop", inputs), timeout=120)
        _until_in_flight(gateway, 1)
        yield
        run.cancel()


def _until_in_flight(gateway: Gateway, count: int) -> None:
    wait_until(lambda: gateway.metric("serving_in_flight_requests") == count, 10, "they are there")


@contextmanager
def _streams(
    gateway: Gateway, count: int, frames: Callable[[int], bytes], together: int = STREAMS
) -> Iterator[None]:
    """So many streams, some on each connection, whose windows for answers are shut."""
    shut = SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 0})
    agreed = SettingsFrame(0, flags=["ACK"]).serialize()
    with ExitStack() as open_ones:
        for first in range(0, count, together):
            sock = open_ones.enter_context(http1.connection(gateway.grpc_port, 30))
            sock.sendall(http2.PREFACE + shut.serialize())
            _take_windows(sock)
            sock.sendall(agreed)
            for nth in range(min(together, count - first)):
                sock.sendall(frames(2 * nth + 1))
        yield


def _take_windows(sock: socket.socket) -> None:
    """Read until the server has said how much it takes: all that is sent here fits into that."""
    came, at = b"", 0
    while True:
        while len(came) < at + 9:
            came += sock.recv(1 << 16)
        if came[at + 3] == WindowUpdateFrame.type:
            return
        at += 9 + int.from_bytes(came[at : at + 3], "big")


def _head(stream: int, block: bytes) -> bytes:
    return http2.headers_frame(stream, block, "END_HEADERS")
