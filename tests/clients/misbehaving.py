"""Clients that misbehave in the ways real ones do. Each ends by itself."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator

from tests.clients import http1


def reset(sock: socket.socket) -> None:
    """Close with RST instead of FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def resetter(port: int, times: int, data: bytes = b"") -> None:
    for _ in range(times):
        with contextlib.suppress(OSError):
            sock = socket.create_connection(("127.0.0.1", port), 5)
            if data:
                sock.sendall(data)
            reset(sock)


@contextlib.contextmanager
def slow_writers(port: int, count: int, start: bytes, drip: bytes, every: float) -> Iterator[None]:
    """Connections that send ``start`` and then ``drip`` again and again, until the end."""
    stop = threading.Event()

    def write() -> None:
        with contextlib.suppress(OSError), http1.connection(port) as sock:
            sock.sendall(start)
            while not stop.wait(every):
                sock.sendall(drip)

    threads = [threading.Thread(target=write) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@contextlib.contextmanager
def never_readers(port: int, count: int, data: bytes) -> Iterator[None]:
    """Connections that ask, with a tiny receive buffer, and never read."""
    socks = []
    for _ in range(count):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", port))
        sock.settimeout(1)
        with contextlib.suppress(OSError):
            sock.sendall(data)
        socks.append(sock)
    try:
        yield
    finally:
        for sock in socks:
            reset(sock)


def time_until_closed(sock: socket.socket, limit: float) -> float | None:
    """Seconds until the server ends the connection, None when it does not."""
    started = time.monotonic()
    return time.monotonic() - started if http1.ended(sock, limit) else None
