"""Servers that misbehave in the ways real ones do."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

HEAD, BODY = b"HTTP/1.1 200 OK\r\nContent-Length: 600\r\n\r\n", b"x" * 600


@contextmanager
def silent(
    answer: bytes = b"", trickle: bytes = b"", pause: float = 0.0
) -> Iterator[tuple[str, list[bytes]]]:
    """Reads and says no more than ``answer``, and then ``trickle``, a byte at a time with a
    ``pause`` of so many seconds behind it; its HOST:PORT, and what each connection said first."""
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()
    heard: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            heard.append(connection.recv(65536))
            connection.sendall(answer)
            for byte in trickle:
                connection.sendall(bytes([byte]))
                if ended.wait(pause):
                    return
            ended.wait(30)

    def run() -> None:
        with suppress(OSError):
            while True:
                threads.append(threading.Thread(target=serve, args=listener.accept()[:1]))
                threads[-1].start()

    threads = [threading.Thread(target=run)]
    threads[0].start()
    try:
        yield _place(listener), heard
    finally:
        ended.set()
        _end(listener)
        for thread in threads:
            thread.join(10)


@contextmanager
def deaf() -> Iterator[str]:
    """An address where no connection comes about, and none is refused; its HOST:PORT."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as held:
        for _ in range(2):
            one = held.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        yield _place(listener)


@contextmanager
def closing(after: int, answer: bytes) -> Iterator[tuple[str, list[int]]]:
    """Answers so many requests on a connection and then closes it without a word; its HOST:PORT,
    and how many requests each connection brought."""
    listener = socket.create_server(("127.0.0.1", 0))
    brought: list[int] = []

    def run() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            brought.append(0)
            with connection:
                while brought[-1] < after and connection.recv(65536):
                    brought[-1] += 1
                    connection.sendall(answer)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield _place(listener), brought
    finally:
        _end(listener)
        thread.join(10)


def _place(listener: socket.socket) -> str:
    return f"127.0.0.1:{listener.getsockname()[1]}"


def _end(listener: socket.socket) -> None:
    # Closing alone does not end an accept that waits.
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
