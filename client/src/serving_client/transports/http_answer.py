"""What both kinds of client make of an HTTP answer, and of none."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Mapping

from serving_client.addresses import Address
from serving_client.errors import (
    ConnectionLostError,
    ServingError,
    TooLargeError,
    UnreachableError,
    WrongServerError,
)
from serving_client.http_status import http_error

MAX_CONNECTIONS = 100
_MAX_DIGITS = 20
# Linux takes no more.
_MAX_KEEPIDLE_S = 32_767


def keepalive_options(keepalive_s: float) -> list[tuple[int, int, int]]:
    """A peer that is gone without a word is found, however long an answer takes."""
    options = [
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    ]
    # Linux's names; elsewhere the system's own times hold.
    for name, value in (
        ("TCP_KEEPIDLE", min(max(1, int(keepalive_s)), _MAX_KEEPIDLE_S)),
        ("TCP_KEEPINTVL", 10),
        ("TCP_KEEPCNT", 3),
    ):
        if hasattr(socket, name):
            options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
    return options


class Body:
    """An answer's body as it arrives, no longer than it may be. Raises TooLargeError."""

    def __init__(self, address: Address, headers: Mapping[str, str], most: int) -> None:
        self._address, self._most = address, most
        self._parts: list[bytes] = []
        self._size = 0
        said = headers.get("content-length", "")
        if said.isascii() and said.isdigit():
            # The first digits of a very long number are too large already.
            self._check(int(said.lstrip("0")[:_MAX_DIGITS] or "0"))

    def add(self, part: bytes) -> None:
        self._size += len(part)
        self._check(self._size)
        self._parts.append(part)

    def whole(self) -> bytes:
        return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)

    def _check(self, size: int) -> None:
        if size > self._most:
            raise TooLargeError(
                f"{self._address}: the answer has {size} bytes or more, max_message_bytes is"
                f" {self._most}",
                address=str(self._address),
            )


def answered(
    address: Address, status: int, headers: Mapping[str, str], body: bytes
) -> tuple[bytes, Mapping[str, str]]:
    """``headers``: found in any case of letters. Raises what the status means."""
    if status != 200:
        said = {key.lower(): value for key, value in headers.items()}
        raise http_error(address, status, said, body, time.time())
    return body, headers


def no_http(address: Address) -> WrongServerError:
    words = f"{address}: it does not speak HTTP/1.1 (a gRPC port? then grpc://{address.place})"
    return WrongServerError(words, address=str(address))


def no_tls(address: Address, error: Exception) -> ServingError:
    """``error``: of TLS, most likely of its handshake."""
    if not isinstance(error, ssl.SSLError) or isinstance(error, ssl.SSLEOFError):
        # The connection ended in the middle of one, or of an answer.
        return broken(address, error)
    if isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message or error.reason or str(error)
        words = f"{address}: its certificate is not trusted: {why}"
    elif error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"):
        words = f"{address}: it does not speak TLS: try http://{address.place}"
    else:
        words = f"{address}: TLS was not agreed on: {error.reason or error}"
    return WrongServerError(words, address=str(address))


def not_connected(address: Address, error: BaseException | None) -> UnreachableError:
    """``error``: the system's own."""
    place = str(address)
    if isinstance(error, ConnectionRefusedError):
        words = f"nothing listens at {place}"
    elif isinstance(error, socket.gaierror):
        words = f"{place}: no machine is known by the name '{address.host}'"
    else:
        words = f"{place} can't be reached: {getattr(error, 'strerror', None) or error}"
    return UnreachableError(words, address=place, repeatable=True)


def broken(address: Address, error: Exception) -> ConnectionLostError:
    said = str(error) or type(error).__name__
    return ConnectionLostError(
        f"{address}: the connection ended before the answer ({said})",
        address=str(address),
        repeatable=True,
    )
