"""HTTP/2 and gRPC as frames: a client on the ``h2`` state machine, and bare frames beneath it."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Self

import h2.config
import h2.connection
import h2.events
import hpack
from hyperframe.frame import DataFrame, Frame, HeadersFrame, SettingsFrame

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
GOAWAY = 7
SERVICE = "/inference.GRPCInferenceService/"


def grpc_frame(message: bytes, compressed: bool = False) -> bytes:
    return struct.pack(">BI", compressed, len(message)) + message


def varint(value: int) -> bytes:
    """As HPACK and protobuf write it, seven bits a byte."""
    out = b""
    while value >= 128:
        out += bytes([value % 128 + 128])
        value //= 128
    return out + bytes([value])


def grpc_headers(path: str, *extra: tuple[str, str]) -> list[tuple[str, str]]:
    return [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        *extra,
    ]


@dataclass
class Answer:
    """One stream's answer: ``trailers`` holds grpc-status, also in a trailers-only answer."""

    headers: dict[str, str] = field(default_factory=dict)
    trailers: dict[str, str] = field(default_factory=dict)
    data: bytes = b""
    reset: int | None = None
    done: bool = False

    @property
    def messages(self) -> list[bytes]:
        found, at = [], 0
        while at < len(self.data):
            (length,) = struct.unpack_from(">I", self.data, at + 1)
            found.append(self.data[at + 5 : at + 5 + length])
            at += 5 + length
        return found

    @property
    def code(self) -> int | None:
        value = self.trailers.get("grpc-status", self.headers.get("grpc-status"))
        return None if value is None else int(value)


class Client:
    """A client that behaves, and shows everything it receives."""

    def __init__(
        self,
        port: int,
        timeout: float = 10.0,
        host: str = "127.0.0.1",
        sock: socket.socket | None = None,
    ) -> None:
        self.sock = sock or socket.create_connection((host, port), timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        config = h2.config.H2Configuration(
            client_side=True,
            header_encoding="utf-8",
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.answers: dict[int, Answer] = {}
        self.gone = False
        # Whether what it took makes room for more.
        self.opens_windows = True
        self.goaway: int | None = None
        self._unread = b""
        self.flush()

    def flush(self) -> None:
        with contextlib.suppress(ConnectionError, BrokenPipeError):
            self.sock.sendall(self.h2.data_to_send())

    def open(self, headers: list[tuple[str, str]], end: bool = False) -> int:
        stream = self.h2.get_next_available_stream_id()
        self.answers[stream] = Answer()
        self.h2.send_headers(stream, headers, end_stream=end)
        self.flush()
        return stream

    def send(self, stream: int, data: bytes, end: bool = False) -> None:
        """Send within the windows, reading for updates when they are used up."""
        view = memoryview(data)
        while True:
            room = min(
                self.h2.local_flow_control_window(stream),
                self.h2.max_outbound_frame_size,
                len(view),
            )
            if room or not view:
                last = room == len(view)
                self.h2.send_data(stream, bytes(view[:room]), end_stream=end and last)
                self.flush()
                view = view[room:]
                if last:
                    return
            elif not self.pump(5.0) or self.answers[stream].done:
                return

    def pump(self, timeout: float) -> bool:
        """Take in what comes next; False at the end of the connection or of the time."""
        self.sock.settimeout(max(timeout, 0.001))
        try:
            data = self.sock.recv(65536)
        except TimeoutError:
            return False
        except ConnectionError:
            data = b""
        if not data:
            self.gone = True
            return False
        for frame in self._frames(data):
            if frame[3] == GOAWAY:
                # The library would end here; a server that drains goes on, and so do we.
                (self.goaway,) = struct.unpack_from(">I", frame, 13)
                continue
            for event in self.h2.receive_data(frame):
                self._take(event)
        self.flush()
        return True

    def _frames(self, data: bytes) -> Iterator[bytes]:
        self._unread += data
        while len(self._unread) >= 9:
            end = 9 + int.from_bytes(self._unread[:3], "big")
            if len(self._unread) < end:
                return
            frame, self._unread = self._unread[:end], self._unread[end:]
            yield frame

    def _take(self, event: h2.events.Event) -> None:
        answer = self.answers.setdefault(getattr(event, "stream_id", 0) or 0, Answer())
        match event:
            case h2.events.ResponseReceived():
                answer.headers = dict(event.headers)
            case h2.events.TrailersReceived():
                answer.trailers = dict(event.headers)
            case h2.events.DataReceived():
                answer.data += event.data
                if self.opens_windows:
                    length = event.flow_controlled_length
                    self.h2.acknowledge_received_data(length, event.stream_id)
            case h2.events.StreamEnded():
                answer.done = True
            case h2.events.StreamReset():
                answer.reset, answer.done = int(event.error_code), True

    def answer(self, stream: int, timeout: float = 10.0) -> Answer:
        deadline = time.monotonic() + timeout
        while not self.answers[stream].done and not self.gone:
            left = deadline - time.monotonic()
            assert left > 0, f"no whole answer on stream {stream}: {self.answers[stream]}"
            self.pump(left)
        return self.answers[stream]

    def call(self, path: str, body: bytes, *extra: tuple[str, str]) -> Answer:
        """One unary call with ``body`` as its DATA, frames and all."""
        stream = self.open(grpc_headers(path, *extra))
        self.send(stream, body, end=True)
        return self.answer(stream)

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass
class Flood:
    """What a flood met: how many parts went out, and whether the server ended it."""

    sent: int
    ended: bool


def flood(
    port: int,
    parts: Iterable[bytes],
    seconds: float = 5.0,
    settings: dict[int, int] | None = None,
) -> Flood:
    """Bare frames after a preface, until they are all sent, refused, or time is up.

    Answers are read and dropped, so that the server is never held up by us.
    """
    with socket.create_connection(("127.0.0.1", port), seconds) as sock:
        sock.sendall(PREFACE + SettingsFrame(0, settings=settings or {}).serialize())
        deadline, sent, ended = time.monotonic() + seconds, 0, False
        for part in parts:
            try:
                sock.sendall(part)
                sent += 1
                ended = _drain(sock)
            except (ConnectionError, TimeoutError, BrokenPipeError):
                ended = True
            if ended or time.monotonic() > deadline:
                break
        return Flood(sent, ended)


def _drain(sock: socket.socket) -> bool:
    """Read what is there; True at the end of the connection."""
    while select.select([sock], [], [], 0)[0]:
        if not sock.recv(1 << 16):
            return True
    return False


def header_block(headers: Iterable[tuple[str, str]]) -> bytes:
    """HPACK without indexing, so that blocks of several streams don't depend on each other."""
    encoder = hpack.Encoder()
    encoder.header_table_size = 0
    return bytes(encoder.encode(list(headers)))


def headers_frame(stream: int, block: bytes, *flags: str) -> bytes:
    frame: Frame = HeadersFrame(stream, data=block)
    for flag in flags:
        frame.flags.add(flag)
    return bytes(frame.serialize())


def data_frames(stream: int, data: bytes, end: bool = False) -> bytes:
    """Windows are not looked at."""
    frames = [DataFrame(stream, data=data[at : at + 16_384]) for at in range(0, len(data), 16_384)]
    if end:
        frames[-1].flags.add("END_STREAM")
    return b"".join(frame.serialize() for frame in frames)


def repeat(part: bytes, times: int, together: int = 100) -> Iterator[bytes]:
    """``part`` many times, some per write."""
    for _ in range(times // together):
        yield part * together
