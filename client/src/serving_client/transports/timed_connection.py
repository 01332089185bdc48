"""urllib3's connection, with a time for all of an answer: the library's own starts again with each
byte, so a server that trickles would hold its caller for ever."""

from __future__ import annotations

import http.client
import io
import socket
import time
from functools import partial
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection


class TimedConnection(HTTPConnection):
    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]  # as urllib3 has it
        # By now it is what is left of the whole.
        left = self.timeout if isinstance(self.timeout, int | float) else None
        if left is not None:
            respond = partial(_Response, time.monotonic() + left)
            self.response_class = respond  # type: ignore[assignment]  # a class is declared
        return super().getresponse()


class TimedPool(urllib3.HTTPConnectionPool):
    ConnectionCls = TimedConnection


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
