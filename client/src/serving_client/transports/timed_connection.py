"""urllib3's connection, with a time for all of an answer: the library's own starts again with each
byte, so a server that trickles would hold its caller for ever. And with a time of its own for the
connection, which the library takes for sending, too."""

from __future__ import annotations

import http.client
import io
import queue
import socket
import threading
import time
from contextlib import suppress
from functools import partial
from typing import Any, Self
from weakref import WeakSet

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from serving_client.retrying import time_to_connect


class TimedConnection(HTTPConnection):
    _addresses: int
    _opened: _Opened

    @classmethod
    def of(cls, addresses: int, opened: _Opened, *args: Any, **keywords: Any) -> Self:
        connection = cls(*args, **keywords)
        connection._addresses, connection._opened = addresses, opened
        return connection

    def connect(self) -> None:
        super().connect()
        if self.sock is not None:
            # With TLS it is another one than was opened.
            self._opened.add(self.sock)

    def _new_conn(self) -> socket.socket:
        self._opened.check()
        whole = self.timeout
        if isinstance(whole, int | float):
            self.timeout = time_to_connect(whole, self._addresses)
        try:
            sock = super()._new_conn()
        finally:
            self.timeout = whole
        sock.settimeout(whole)
        self._opened.add(sock)
        return sock

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]  # as urllib3 has it
        # By now it is what is left of the whole.
        left = self.timeout if isinstance(self.timeout, int | float) else None
        if left is not None:
            respond = partial(_Response, time.monotonic() + left)
            self.response_class = respond  # type: ignore[assignment]  # a class is declared
        return super().getresponse()


class TimedTlsConnection(TimedConnection, HTTPSConnection):
    """The same with TLS."""


class TimedPool(urllib3.HTTPConnectionPool):
    """``addresses``: how many the client has, this one among them; the others are urllib3's."""

    _connection: type[TimedConnection] = TimedConnection

    def __init__(self, addresses: int, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self._opened = _Opened()
        connect = partial(self._connection.of, addresses, self._opened)
        self.ConnectionCls = connect  # type: ignore[assignment]  # a class is declared

    def close(self) -> None:
        """Ends calls, too: the library's own lets them wait for their answers."""
        places = self.pool
        super().close()
        self._opened.end()
        with suppress(queue.Full):
            while places is not None:
                # Who waits for a place takes one, and finds that there is no connection any more.
                places.put(None, block=False)


class TimedTlsPool(TimedPool, urllib3.HTTPSConnectionPool):
    """The same with TLS."""

    _connection = TimedTlsConnection


class _Opened:
    """The sockets of a pool, also those in use. Its methods are called from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._ended = False

    def check(self) -> None:
        """Raises ConnectionAbortedError where they were ended."""
        if self._ended:
            raise ConnectionAbortedError("the client is closed")

    def add(self, sock: socket.socket) -> None:
        with self._lock:
            self._sockets.add(sock)
            ended = self._ended
        if ended:
            sock.close()
            self.check()

    def end(self) -> None:
        with self._lock:
            self._ended = True
            for sock in self._sockets:
                with suppress(OSError):
                    # Of the connection itself: TLS's own would forget that there was any.
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)


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
