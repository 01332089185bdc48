"""One exchange with a server that may be none, or never come to an end."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from serving.cli.exchange import request
from serving.cli.output import UserError

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@contextmanager
def server(answers_a_connection: int, answer: bytes = ANSWER) -> Iterator[tuple[str, list[int]]]:
    """Answers so many requests on a connection and then closes it without a word; its URL, and
    how many requests each connection brought."""
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
                while brought[-1] < answers_a_connection and connection.recv(65536):
                    brought[-1] += 1
                    connection.sendall(answer)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", brought
    finally:
        # Closing alone does not end an accept that waits.
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def test_a_server_that_does_not_answer_is_an_error_in_words() -> None:
    with server(0) as (url, _), pytest.raises(UserError, match="http://127"):
        request("GET", url, timeout=5.0)


def test_a_server_that_trickles_holds_nobody_beyond_the_time_for_all() -> None:
    """It sends for a minute, and never pauses as long as the time-out."""
    listener = socket.create_server(("127.0.0.1", 0))
    left = threading.Event()

    def run() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 600\r\n\r\n")
            while not left.wait(0.1):
                connection.sendall(b"x")

    thread = threading.Thread(target=run)
    thread.start()
    with listener, pytest.raises(UserError, match="timed out"):
        request("GET", f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=2.0)
    left.set()
    thread.join(10)


def test_what_is_no_http_may_be_a_grpc_port() -> None:
    settings_frame = b"\0\0\0\4\0\0\0\0\0"
    with (
        server(1, settings_frame) as (url, _),
        pytest.raises(UserError, match=r"does not speak HTTP/1.1 \(a gRPC port\? then grpc://127"),
    ):
        request("GET", url, timeout=5.0)
