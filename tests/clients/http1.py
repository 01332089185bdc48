"""HTTP/1.1 as bytes: what no library would send."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass
class Reply:
    """One answer; ``closed`` when the server ended the connection after it."""

    status: int
    headers: dict[str, str]
    body: bytes
    closed: bool = False

    @property
    def error(self) -> str:
        return str(json.loads(self.body)["error"])


@contextlib.contextmanager
def connection(port: int, timeout: float = 10.0) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield sock


def send(sock: socket.socket, parts: bytes | Iterable[bytes]) -> bool:
    """False when the server closed before it took everything."""
    try:
        for part in [parts] if isinstance(parts, bytes) else parts:
            sock.sendall(part)
    except (ConnectionError, BrokenPipeError, TimeoutError):
        return False
    return True


def read_reply(sock: socket.socket, method: str = "POST") -> Reply | None:
    """The next answer, or None when the connection ended without one."""
    response = http.client.HTTPResponse(sock, method=method)
    try:
        response.begin()
        body = response.read()
    except (ConnectionError, http.client.HTTPException):
        return None
    headers = {key.lower(): value for key, value in response.getheaders()}
    return Reply(response.status, headers, body, headers.get("connection") == "close")


def ended(sock: socket.socket, timeout: float = 5.0) -> bool:
    """Whether the server closes this connection within ``timeout`` seconds."""
    sock.settimeout(timeout)
    try:
        while sock.recv(65536):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True


def exchange(
    port: int, parts: bytes | Iterable[bytes], timeout: float = 10.0, closes: bool = False
) -> Reply | None:
    """One connection, one message as given, one answer; ``closes`` looks for the end after it."""
    with connection(port, timeout) as sock:
        send(sock, parts)
        reply = read_reply(sock)
        if closes and reply is not None and not reply.closed:
            reply.closed = ended(sock, 1.0)
        return reply


def request(
    path: str, body: bytes = b"", method: str = "POST", headers: Iterable[str] = ()
) -> bytes:
    """A well-formed request, with lines of ``headers`` added as they are."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode("latin-1") + body


def head(path: str, *headers: str, method: str = "POST") -> bytes:
    """A head with exactly these header lines beside Host."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def chunked(parts: Iterable[bytes]) -> Iterator[bytes]:
    for part in parts:
        yield b"%x\r\n%s\r\n" % (len(part), part)
    yield b"0\r\n\r\n"
