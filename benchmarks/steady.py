"""A good client: HTTP requests at fixed times, each timed from when it was due.

python -m benchmarks.steady PORT PATH BODY_FILE --rate 1000 --seconds 10     milliseconds as JSON

h2load sends at a fixed rate in bursts, which alone make most of its p99.
"""

from __future__ import annotations

import argparse
import json
import selectors
import socket
import sys
import time
from pathlib import Path

CONNECTIONS = 16


class Steady:
    """Raises RuntimeError for an answer that is no 200, or that never comes."""

    def __init__(self, port: int, path: str, body: bytes) -> None:
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        self._port, self._request = port, head.encode() + body
        self._selector = selectors.DefaultSelector()
        self._free: list[socket.socket] = []
        self._due: dict[socket.socket, float] = {}
        self._late: list[float] = []
        self.took: list[float] = []

    def run(self, rate: float, seconds: float) -> list[float]:
        """Seconds that each request took."""
        self._free = [self._connect() for _ in range(CONNECTIONS)]
        due = begin = time.monotonic()
        while due < begin + seconds or self._due or self._late:
            now = time.monotonic()
            while due <= now and due < begin + seconds:
                self._late.append(due)
                due += 1 / rate
            while self._late and self._free:
                self._send(self._late.pop(0))
            if now > begin + seconds + 20:
                raise RuntimeError(f"{len(self._due)} requests were not answered")
            self._receive(max(0.0, due - time.monotonic()))
        return self.took

    def _connect(self) -> socket.socket:
        one = socket.create_connection(("127.0.0.1", self._port))
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(one, selectors.EVENT_READ)
        return one

    def _send(self, due: float) -> None:
        one = self._free.pop()
        one.sendall(self._request)
        self._due[one] = due

    def _receive(self, timeout: float) -> None:
        for key, _ in self._selector.select(timeout):
            one = key.fileobj
            assert isinstance(one, socket.socket)
            answer = one.recv(1 << 16)
            if one in self._due:
                self._look(answer)
                self.took.append(time.monotonic() - self._due.pop(one))
                self._free.append(one)
            else:
                # Closed for being idle, in words: nothing was asked.
                self._selector.unregister(one)
                self._free.remove(one)
                self._free.append(self._connect())

    def _look(self, answer: bytes) -> None:
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"expected 200, got {answer[:300]!r}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("path")
    parser.add_argument("body", type=Path)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    given = parser.parse_args()
    client = Steady(given.port, given.path, given.body.read_bytes())
    json.dump([took * 1e3 for took in client.run(given.rate, given.seconds)], sys.stdout)


if __name__ == "__main__":
    main()
