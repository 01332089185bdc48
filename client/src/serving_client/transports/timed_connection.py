"""urllib3's connection, with a time for all of an answer: the library's own starts again with each
byte, so a server that trickles would hold its caller for ever. And with a time of its own for the
connection, which the library takes for sending, too."""

from __future__ import annotations

import http.client
import io
import socket
import time
from functools import partial
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection

from serving_client.retrying import time_to_connect


class TimedConnection(HTTPConnection):
    def __init__(self, addresses: int, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self._addresses = addresses

    def _new_conn(self) -> socket.socket:
        whole = self.timeout
        if isinstance(whole, int | float):
            self.timeout = time_to_connect(whole, self._addresses)
        try:
            sock = super()._new_conn()
        finally:
            self.timeout = whole
        sock.settimeout(whole)
        return sock

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]  # as urllib3 has it
        # By now it is what is left of the whole.
        left = self.timeout if isinstance(self.timeout, int | float) else None
        if left is not None:
            respond = partial(_Response, time.monotonic() + left)
            self.response_class = respond  # type: ignore[assignment]  # a class is declared
        return super().getresponse()


def timed_pool(addresses: int, *args: Any, **keywords: Any) -> urllib3.HTTPConnectionPool:
    """``addresses``: how many the client has, this one among them; the others are urllib3's."""
    pool = urllib3.HTTPConnectionPool(*args, **keywords)
    connect = partial(TimedConnection, addresses)
    pool.ConnectionCls = connect  # type: ignore[assignment]  # a class is declared
    return pool


class _Response(http.client.HTTPResponse):
    def __init__(self, end: float, sock: socket.socket, *args: Any, **keywords: Any) -> None:
        super().__init__(sock, *args, **keywords)
        self.fp.close()
        self.fp = io.BufferedReader(_Reader(sock, end), 65_536)


class _Reader(io.RawIOBase):
    """A socket's bytes, until a time. Raises TimeoutError."""

    def __init__(self, sock: socket.socket, end: float) -> None:
        self._sock, self._end = sock, end
        # It keeps the socket open until the answer is read, where the connection closes before.
        self._file = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._sock.settimeout(left)
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()
