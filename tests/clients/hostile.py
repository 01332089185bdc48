"""Clients that attack, each kind again and again, in a process of their own.

    python -m tests.clients.hostile HTTP_PORT GRPC_PORT ADMIN_PORT --clients 40 --seconds 60

A kind is one turn of one client: it opens what it needs, misbehaves, and gives up. Models
that it asks: ``lay`` writes them. What a turn meets is no error: refusals are what is hoped for.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from hyperframe.frame import PingFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame

from tests import small_models
from tests.clients import http1, http2, misbehaving, oip
from tests.clients.http2 import data_frames

INFER = http2.SERVICE + "ModelInfer"
STREAM = http2.SERVICE + "ModelStreamInfer"
HEALTH = "/grpc.health.v1.Health/"
MIB = 1 << 20
SHUT = {SettingsFrame.INITIAL_WINDOW_SIZE: 0}


@cache
def bomb() -> bytes:
    return gzip.compress(b" " * (63 * MIB), 6)


def lay(repository: Path) -> None:
    """The models that the kinds ask: texts, a loop, an answer as large as asked for."""
    small_models.write(repository, "hostile_text", small_models.identity("BYTES"))
    small_models.write(repository, "hostile_echo", small_models.identity("FP32"))
    small_models.write(repository, "hostile_fill", small_models.fill())
    small_models.write(repository, "hostile_loop", small_models.slow(2.0))


@dataclass(frozen=True)
class Ports:
    http: int
    grpc: int
    admin: int

    def any(self) -> int:
        return random.choice([self.http, self.grpc, self.admin])


Kind = Callable[[Ports], None]
KINDS: dict[str, Kind] = {}


def kind(turn: Kind) -> Kind:
    KINDS[turn.__name__] = turn
    return turn


def _post(path: str, body: bytes, *lines: str, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return http1.head(path, f"Content-Length: {size}", *lines) + body


def _infer(model: str) -> str:
    return f"/v2/models/{model}/infer"


def _ask(port: int, data: bytes, seconds: float = 3.0) -> None:
    """Send it, and take what comes for a time."""
    with http1.connection(port, seconds) as sock:
        sock.sendall(data)
        while sock.recv(1 << 16):
            pass


@contextmanager
def _http2(port: int, settings: dict[int, int] | None = None) -> Iterator[socket.socket]:
    with http1.connection(port, 2.0) as sock:
        sock.sendall(http2.PREFACE + SettingsFrame(0, settings=settings or {}).serialize())
        yield sock


def _open(stream: int, path: str, *extra: tuple[str, str]) -> bytes:
    block = http2.header_block(http2.grpc_headers(path, *extra))
    return http2.headers_frame(stream, block, "END_HEADERS")


# Connections that say little


@kind
def silent_connection(ports: Ports) -> None:
    with http1.connection(ports.any()):
        time.sleep(random.uniform(0.5, 5))


@kind
def half_a_preface(ports: Ports) -> None:
    with http1.connection(random.choice([ports.http, ports.grpc])) as sock:
        sock.sendall(b"PRI * HT")
        time.sleep(2)


@kind
def slow_head(ports: Ports) -> None:
    with http1.connection(random.choice([ports.http, ports.admin])) as sock:
        for byte in b"GET /v2/health/live HTTP/1.1\r\n":
            sock.sendall(bytes([byte]))
            time.sleep(0.1)


@kind
def slow_second_head(ports: Ports) -> None:
    with http1.connection(ports.admin) as sock:
        sock.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        sock.recv(4096)
        sock.sendall(b"GET /met")
        time.sleep(3)


@kind
def slow_body(ports: Ports) -> None:
    with http1.connection(ports.http) as sock:
        sock.sendall(_post(_infer("hostile_echo"), b"{", length=MIB))
        for _ in range(20):
            time.sleep(0.1)
            sock.sendall(b" ")


@kind
def connect_and_reset(ports: Ports) -> None:
    misbehaving.resetter(ports.any(), 20)


@kind
def upload_and_leave(ports: Ports) -> None:
    with http1.connection(ports.http) as sock:
        sock.sendall(_post(_infer("hostile_echo"), b" " * (2 * MIB), length=8 * MIB))
        time.sleep(0.02)
        misbehaving.reset(sock)


# Bodies


@kind
def bomb_and_leave(ports: Ports) -> None:
    with http1.connection(ports.http) as sock:
        sock.sendall(_post(_infer("hostile_echo"), bomb(), "Content-Encoding: gzip"))
        time.sleep(0.01)
        misbehaving.reset(sock)


@kind
def many_texts(ports: Ports) -> None:
    count = 200_000
    data = (struct.pack("<I", 2) + b"ab") * count
    size = {"binary_data_size": len(data)}
    x = {"name": "X", "datatype": "BYTES", "shape": [1, count], "parameters": size}
    text = json.dumps({"inputs": [x], "outputs": [{"name": "Y"}]}).encode()
    line = f"Inference-Header-Content-Length: {len(text)}"
    packed = gzip.compress(text + data, 1)
    _ask(ports.http, _post(_infer("hostile_text"), packed, line, "Content-Encoding: gzip"))


@kind
def garbage(ports: Ports) -> None:
    _ask(ports.http, _post(_infer("hostile_echo"), random.randbytes(5000)), 1)
    with _http2(ports.grpc) as sock:
        sock.sendall(
            _open(1, INFER) + data_frames(1, http2.grpc_frame(random.randbytes(5000)), end=True)
        )
        sock.recv(4096)


@kind
def deep_json(ports: Ports) -> None:
    _ask(ports.http, _post(_infer("hostile_echo"), b'{"inputs":' + b"[" * 50_000), 1)


@kind
def long_id(ports: Ports) -> None:
    message = oip.grpc_request("hostile_echo", {"X": np.zeros((1, 4), np.float32)})
    message.id = "i" * 50_000
    with _http2(ports.grpc) as sock:
        body = http2.grpc_frame(message.SerializeToString())
        sock.sendall(_open(1, INFER) + data_frames(1, body, end=True))
        sock.recv(4096)


@kind
def large_answer(ports: Ports) -> None:
    n = {"name": "N", "datatype": "INT64", "shape": [1], "data": [random.choice([10**7, 10**9])]}
    out = {"name": "Y", "parameters": {"binary_data": True}}
    _ask(
        ports.http,
        _post(_infer("hostile_fill"), json.dumps({"inputs": [n], "outputs": [out]}).encode()),
    )


@kind
def run_and_leave(ports: Ports) -> None:
    x = {"name": "X", "datatype": "FP32", "shape": [1, 1], "data": [0]}
    body = json.dumps({"inputs": [x], "parameters": {"timeout": 50_000}}).encode()
    _ask(ports.http, _post(_infer("hostile_loop"), body), 1)


# HTTP/2


@kind
def shut_window(ports: Ports) -> None:
    message = oip.grpc_request("hostile_echo", {"X": np.zeros((1, 2000), np.float32)})
    body = http2.grpc_frame(message.SerializeToString())
    with _http2(ports.grpc, SHUT) as sock:
        for stream in range(1, 14, 2):
            sock.sendall(_open(stream, INFER) + data_frames(stream, body, end=True))
        for _ in range(20):
            time.sleep(0.2)
            sock.sendall(PingFrame(0, opaque_data=b"12345678").serialize())


@kind
def unread_stream(ports: Ports) -> None:
    message = oip.grpc_request("hostile_echo", {"X": np.zeros((1, 100), np.float32)})
    body = http2.grpc_frame(message.SerializeToString())
    with _http2(ports.grpc, SHUT) as sock:
        sock.sendall(_open(1, STREAM))
        for _ in range(100):
            sock.sendall(data_frames(1, body))
            time.sleep(0.02)


@kind
def resets(ports: Ports) -> None:
    with _http2(ports.grpc) as sock:
        for stream in range(1, 200, 2):
            sock.sendall(_open(stream, INFER) + RstStreamFrame(stream, error_code=8).serialize())


@kind
def pings(ports: Ports) -> None:
    with _http2(random.choice([ports.http, ports.grpc])) as sock:
        sock.sendall(PingFrame(0, opaque_data=b"12345678").serialize() * 500)
        sock.sendall(SettingsFrame(0).serialize() * 500)
        sock.sendall(WindowUpdateFrame(0, window_increment=1).serialize() * 500)


@kind
def watches(ports: Ports) -> None:
    name = b"\x0a" + bytes([0x80 | (50_000 & 127), 0x80 | (50_000 >> 7 & 127), 50_000 >> 14])
    with _http2(ports.grpc) as sock:
        body = http2.grpc_frame(name + b"w" * 50_000)
        sock.sendall(_open(1, HEALTH + "Watch") + data_frames(1, body, end=True))
        # And one whose message never becomes whole.
        sock.sendall(
            _open(3, HEALTH + "Check") + data_frames(3, struct.pack(">BI", 0, MIB) + b"\x0a")
        )
        time.sleep(2)


# The admin port


@kind
def strange_origin(ports: Ports) -> None:
    for value in ("http://[", "http://\u00e9vil.example", "\x7f"):
        with http1.connection(ports.admin) as sock:
            line = f"POST /api/v1/models/tiny/unload HTTP/1.1\r\nHost: localhost\r\nOrigin: {value}"
            sock.sendall(f"{line}\r\nContent-Length: 0\r\n\r\n".encode("latin-1"))
            sock.recv(4096)


@kind
def crowd_of_admins(ports: Ports) -> None:
    with ExitStack() as held:
        for _ in range(10):
            held.enter_context(http1.connection(ports.admin, 1))
        time.sleep(2)


def attack(ports: Ports, clients: int, seconds: float, pause: float) -> list[str]:
    """Every kind by as many clients as there are, in turn, until the time is over.

    What a kind itself did wrong, in words: refusals and closed connections are no fault of it.
    """
    end = time.monotonic() + seconds
    turns = list(KINDS.values())
    faults: list[str] = []

    def client(number: int) -> None:
        turn = turns[number % len(turns)]
        while time.monotonic() < end:
            try:
                turn(ports)
            except OSError:
                pass
            except Exception as error:  # noqa: BLE001 - reported, whatever it is
                faults.append(f"{turn.__name__}: {error!r}")
                return
            time.sleep(random.uniform(0, 2 * pause))

    threads = [threading.Thread(target=client, args=(at,), daemon=True) for at in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()) + 10)
    return faults


def main() -> None:
    parser = argparse.ArgumentParser(description="Clients that attack a gateway on this machine.")
    parser.add_argument("ports", type=int, nargs=3, metavar="PORT", help="HTTP, gRPC, admin")
    parser.add_argument("--clients", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--pause", type=float, default=0.5, help="mean seconds between turns")
    parser.add_argument("--without", default="", help="a kind that is left out")
    arguments = parser.parse_args()
    KINDS.pop(arguments.without, None)
    ports = Ports(*arguments.ports)
    faults = attack(ports, arguments.clients, arguments.seconds, arguments.pause)
    if faults:
        sys.exit("\n".join(faults))


if __name__ == "__main__":
    main()
