"""Messages between us and our children: a length, then JSON; file descriptors beside them.

Nothing but JSON and raw bytes ever crosses, so a child that a model has taken over can
say something wrong, but cannot have code run here.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any

# Of one message, head excluded. A signature of thousands of tensors has less.
MAX_BYTES = 16 * 1024 * 1024
_MAX_FDS = 16
_LAST_STREAM = 2
_LENGTH = struct.Struct("<I")
# Read at once where nothing else can follow a message: most are smaller.
_GREEDY_BYTES = 32 * 1024
_to_json = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode

Message = dict[str, Any]


class FramingError(Exception):
    """The other side sent what is not a message."""


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends, neither of them under the number of a standard stream that is closed: a child
    would get it for its own output, and never see the other one close. Raises OSError."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        return _above_streams(ours), _above_streams(theirs)


def _above_streams(one: socket.socket) -> socket.socket:
    if one.fileno() > _LAST_STREAM:
        return socket.socket(fileno=one.detach())
    return socket.socket(fileno=fcntl.fcntl(one.fileno(), fcntl.F_DUPFD_CLOEXEC, _LAST_STREAM + 1))


def send(
    channel: socket.socket, message: Message, fds: Sequence[int] = (), until: float | None = None
) -> None:
    """Send one message whole; ``until`` is a time by ``time.monotonic``.

    Raises OSError where the other side is gone, TimeoutError, FramingError for a message that
    is too large.
    """
    body = _to_json(message).encode()
    if len(body) > MAX_BYTES:
        raise FramingError(f"a message of {len(body)} bytes, at most {MAX_BYTES} are possible")
    data = memoryview(_LENGTH.pack(len(body)) + body)
    _wait_until(channel, until)
    # The descriptors travel with the first byte, however little of the rest fits.
    sent = socket.send_fds(channel, [data], list(fds)) if fds else channel.send(data)
    while sent < len(data):
        _wait_until(channel, until)
        sent += channel.send(data[sent:])


def receive(
    channel: socket.socket, until: float | None = None, alone: bool = False
) -> tuple[Message, list[int]]:
    """One message, and the file descriptors that came with it (now the caller's).

    ``alone``: the other side sends no other message before it has an answer.
    Raises EOFError or OSError where the other side is gone, TimeoutError, FramingError.
    """
    fds: list[int] = []
    try:
        begun = _receive_head(channel, fds, until, _GREEDY_BYTES if alone else _LENGTH.size)
        (size,) = _LENGTH.unpack_from(begun)
        if size > MAX_BYTES:
            raise FramingError(f"a message of {size} bytes, at most {MAX_BYTES} are possible")
        body = begun[_LENGTH.size :]
        message = _parse(body + _receive_exactly(channel, size - len(body), until))
    except BaseException:
        for fd in fds:
            os.close(fd)
        raise
    return message, fds


def _parse(body: bytes) -> Message:
    try:
        message = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise FramingError(f"a message that is not JSON: {error}") from None
    if not isinstance(message, dict):
        raise FramingError("a message that is not an object")
    return message


def _receive_head(channel: socket.socket, fds: list[int], until: float | None, most: int) -> bytes:
    _wait_until(channel, until)
    data, found, _, _ = socket.recv_fds(channel, most, _MAX_FDS, flags=socket.MSG_CMSG_CLOEXEC)
    fds.extend(found)
    if not data:
        raise EOFError
    if len(data) < _LENGTH.size:
        data += _receive_exactly(channel, _LENGTH.size - len(data), until)
    return bytes(data)


def _receive_exactly(channel: socket.socket, size: int, until: float | None) -> bytes:
    if size <= 0:
        return b""
    parts = bytearray()
    while len(parts) < size:
        _wait_until(channel, until)
        part = channel.recv(size - len(parts))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


def _wait_until(channel: socket.socket, until: float | None) -> None:
    """Each setting of a time-out is a system call; without one the socket stays as it is."""
    if until is None:
        return
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    channel.settimeout(left)
