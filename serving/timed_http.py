"""An HTTP connection whose exchanges have a time in all, from the first byte out to the last in.

``http.client`` underneath: no proxy out of the environment, no redirect followed, no
dependency. It lacks one thing: its time-out starts again with each byte, so a server that
trickles would hold its caller for ever.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from collections.abc import Mapping
from functools import partial
from typing import Any


class Timer:
    """The time that one exchange has. ``pause_s``: how long nothing may come within it."""

    def __init__(self, seconds: float, pause_s: float = float("inf")) -> None:
        self._end = time.monotonic() + seconds
        self._pause_s = pause_s

    def left(self) -> float:
        """Seconds until it is over, or the pause is. Raises TimeoutError where none are."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return min(left, self._pause_s)


class Connection:
    """To one server, kept open between exchanges. For one thread."""

    def __init__(self, host: str, port: int | None, tls: ssl.SSLContext | None = None) -> None:
        self._connection = (
            http.client.HTTPConnection(host, port)
            if tls is None
            else http.client.HTTPSConnection(host, port, context=tls)
        )

    @property
    def is_open(self) -> bool:
        return self._connection.sock is not None

    def ask(
        self,
        timer: Timer,
        method: str,
        target: str,
        body: bytes | None,
        headers: Mapping[str, str],
    ) -> http.client.HTTPResponse:
        """The answer, whose body is still to be read, within the same time.

        Raises OSError, TimeoutError among them, and HTTPException.
        """
        connection = self._connection
        respond = partial(_Response, timer)
        connection.response_class = respond  # type: ignore[assignment]  # a class is declared
        connection.timeout = timer.left()
        if connection.sock is None:
            connection.connect()
        connection.sock.settimeout(timer.left())
        connection.request(method, target, body, dict(headers))
        return connection.getresponse()

    def close(self) -> None:
        self._connection.close()


class _Reader(io.RawIOBase):
    """A socket's bytes, as long as there is time."""

    def __init__(self, sock: socket.socket, timer: Timer) -> None:
        self._sock = sock
        # http.client closes the socket before the answer is read, where the server will: it
        # stays open as long as a file of it does.
        self._file = sock.makefile("rb", buffering=0)
        self._timer = timer

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._timer.left())
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, timer: Timer, sock: socket.socket, *args: Any, **keywords: Any) -> None:
        super().__init__(sock, *args, **keywords)
        self.fp.close()
        self.fp = io.BufferedReader(_Reader(sock, timer))
