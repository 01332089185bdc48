"""Fault 111: who reads slowly but steadily gets a large answer whole.

Between two moments at which a full socket takes more, a third of its buffer must have gone to
the client: at a slow client's rate that lasts longer than any time-out for taking nothing.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import h2.settings
import numpy as np
import pytest

from tests.clients import http1, http2, oip
from tests.clients.gateway import Gateway
from tests.clients.witness import MIB
from tests.small_models import identity, write

TIMEOUT_S = 2.0
RATE = 400_000
X = np.zeros((1, 5 * MIB // 4), np.float32)
BODY, HEADERS = oip.binary_body({"X": X})
ASK = http1.request(
    "/v2/models/m/infer", BODY, headers=[f"{key}: {value}" for key, value in HEADERS.items()]
)


def _connect(port: int) -> socket.socket:
    """One whose kernel keeps little for it, so that it is the server's that fills."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 << 10)
    sock.connect(("127.0.0.1", port))
    sock.settimeout(60)
    return sock


def _http1(gateway: Gateway) -> int:
    with _connect(gateway.http_port) as sock:
        sock.sendall(ASK)
        came = 0
        while came < X.nbytes and (data := sock.recv(16 << 10)):
            came += len(data)
            time.sleep(len(data) / RATE)
        return came


def _http2(gateway: Gateway) -> int:
    """Its windows are open, so that it is the socket that is full."""
    message = oip.grpc_request("m", {"X": X}).SerializeToString()
    with http2.Client(gateway.grpc_port, sock=_connect(gateway.grpc_port)) as client:
        client.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1 << 30})
        client.h2.increment_flow_control_window(1 << 30)
        stream = client.open(http2.grpc_headers(http2.SERVICE + "ModelInfer"))
        client.send(stream, http2.grpc_frame(message), end=True)
        answer = client.answers[stream]
        had = 0
        while not answer.done and client.pump(60):
            time.sleep((len(answer.data) - had) / RATE)
            had = len(answer.data)
        return len(answer.data)


@pytest.mark.slow
def test_fault_111_a_steady_reader_gets_a_large_answer_whole(start_gateway, repository) -> None:
    write(repository, "m", identity("FP32"))
    gateway = start_gateway(repository, {"limits.body_timeout_s": str(TIMEOUT_S)})
    readers: list[Callable[[Gateway], int]] = [_http1, _http2]
    with ThreadPoolExecutor(len(readers)) as pool:
        came = list(pool.map(lambda read: read(gateway), readers))
    assert min(came) >= X.nbytes, came
