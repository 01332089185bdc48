"""Fault 108: the admin port is as hard as the data ports, and hostile connections never shut
its operator out."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from serving.control.admin import Admin
from serving.control.places import Bounds, Phase, Sight, first_to_go, phase
from serving.control.web import BoundedProtocol
from serving.models.commands.command import Outcome
from tests.unit.control_fakes import Commander, admin_port, ask, settings

BASE = "/api/v1/models"
LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
SLOW_BODY = (
    b"POST /api/v1/models/m/load HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/json\r\nContent-Length: 9\r\n\r\n"
)
SHORT = {"limits.head_timeout_s": 0.3, "limits.body_timeout_s": 0.3, "limits.idle_timeout_s": 0.6}


@pytest.fixture
def commander() -> Commander:
    return Commander(Outcome(version=2))


@pytest.fixture
def hurried(commander: Commander) -> Iterator[Admin]:
    with admin_port(commander, **SHORT) as one:
        yield one


def _connected(admin: Admin) -> socket.socket:
    return socket.create_connection(admin.address, timeout=30)


def _answer(connection: socket.socket) -> bytes:
    """One answer, head and body."""
    found = b""
    while b"\r\n\r\n" not in found:
        piece = connection.recv(65536)
        assert piece, found
        found += piece
    head, _, body = found.partition(b"\r\n\r\n")
    size = next(int(x[15:]) for x in head.lower().split(b"\r\n") if x.startswith(b"content-length"))
    while len(body) < size:
        body += connection.recv(65536)
    return head


def _closes(connection: socket.socket) -> bool:
    try:
        return connection.recv(65536) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("before", [b"", b"GET /met", LIVE + b"GET /met", LIVE])
def test_fault_108_every_head_has_its_time(hurried: Admin, before: bytes) -> None:
    with _connected(hurried) as slow:
        slow.sendall(before)
        if before.startswith(LIVE):
            _answer(slow)
        assert _closes(slow)
    assert ask(hurried, "GET", "/metrics")[0] == 200


def test_fault_108_a_head_byte_by_byte_earns_no_time(hurried: Admin) -> None:
    with _connected(hurried) as slow:
        slow.sendall(LIVE)
        _answer(slow)
        sent = 0
        with suppress(BrokenPipeError, ConnectionResetError):
            while sent < 200:
                slow.sendall(b"G")
                sent += 1
                time.sleep(0.05)
    assert sent < 200


def test_fault_108_a_body_that_nobody_reads_ends_its_connection(hurried: Admin) -> None:
    with _connected(hurried) as slow:
        slow.sendall(LIVE.replace(b"\r\n\r\n", b"\r\nContent-Length: 1000\r\n\r\n"))
        _answer(slow)
        assert _closes(slow)


def test_fault_108_whoever_takes_nothing_of_an_answer_is_cut(
    commander: Commander, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut, connection_lost = threading.Event(), BoundedProtocol.connection_lost

    def noted(connection: BoundedProtocol, error: Exception | None) -> None:
        connection_lost(connection, error)
        cut.set()

    monkeypatch.setattr(BoundedProtocol, "connection_lost", noted)
    with admin_port(commander, metrics=b"x" * (32 << 20), **SHORT) as admin, ExitStack() as stack:
        deaf = stack.enter_context(socket.socket())
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(admin.address)
        deaf.sendall(LIVE.replace(b"/v2/health/live", b"/metrics"))
        assert cut.wait(10)
        taken = 0
        with suppress(ConnectionResetError):
            while piece := deaf.recv(1 << 20):
                taken += len(piece)
        assert taken < 32 << 20


@pytest.mark.parametrize("hostile", [b"", b"GET /met", LIVE, LIVE + b"GET /met", SLOW_BODY])
def test_fault_108_an_operator_always_finds_a_place(commander: Commander, hostile: bytes) -> None:
    with admin_port(commander) as admin, ExitStack() as stack:
        for _ in range(3 * settings().places.admin):
            one = stack.enter_context(_connected(admin))
            one.sendall(hostile)
        for _ in range(5):
            assert ask(admin, "GET", "/metrics")[0] == 200
            assert ask(admin, "POST", f"{BASE}/m/load")[0] == 200


def test_fault_108_calls_that_are_being_answered_keep_their_places(commander: Commander) -> None:
    commander.outcome = None
    arrived = threading.Event()
    commander.on_command = lambda _: arrived.set()
    with admin_port(commander) as admin:
        waiting = http.client.HTTPConnection(*admin.address, timeout=30)
        waiting.request("POST", f"{BASE}/m/load?timeout=60")
        assert arrived.wait(10)
        with ExitStack() as stack:
            for _ in range(2 * settings().places.admin):
                stack.enter_context(_connected(admin)).sendall(LIVE)
            for ticket in commander.tickets:
                ticket.end(Outcome(version=2))
            assert waiting.getresponse().status == 200
        waiting.close()


def test_fault_108_a_kept_alive_connection_does_not_wait_for_nagle(commander: Commander) -> None:
    with admin_port(commander) as admin:
        keep = http.client.HTTPConnection(*admin.address, timeout=10)
        took = []
        for _ in range(10):
            began = time.perf_counter()
            keep.request("GET", "/v2/health/live")
            keep.getresponse().read()
            took.append(time.perf_counter() - began)
        keep.close()
    # Nagle's algorithm and delayed acknowledgements make it 40 ms each, never less.
    assert min(took) < 0.03


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Origin", b"http://[evil"),
        ("Origin", b"http://[::1"),
        ("Origin", "http://\u00e9vil.example".encode("latin-1")),
        ("Origin", "http://\u2100.example".encode()),
        ("Origin", b"http://localhost\xff"),
        ("Sec-Fetch-Site", b"cross-site"),
        ("Sec-Fetch-Site", b"same-origin\xe9"),
        ("Host", b"[evil"),
        ("Host", b"l\xf6calhost"),
    ],
)
def test_fault_108_what_cannot_be_read_counts_as_foreign(
    commander: Commander, name: str, value: bytes
) -> None:
    host = value if name == "Host" else b"localhost"
    further = b"" if name == "Host" else name.encode() + b": " + value + b"\r\n"
    head = b"POST /api/v1/models/m/load HTTP/1.1\r\nHost: " + host + b"\r\n"
    with admin_port(commander) as admin, _connected(admin) as one:
        one.sendall(head + further + b"Content-Length: 0\r\n\r\n")
        status = b"421" if name == "Host" else b"403"
        assert _answer(one).startswith(b"HTTP/1.1 " + status)
    assert commander.commands == []


def test_fault_108_an_origin_that_comes_twice_is_foreign(commander: Commander) -> None:
    head = b"POST /api/v1/models/m/load HTTP/1.1\r\nHost: localhost\r\n"
    origins = b"Origin: http://localhost\r\nOrigin: http://evil.example\r\n"
    with admin_port(commander) as admin, _connected(admin) as one:
        one.sendall(head + origins + b"Content-Length: 0\r\n\r\n")
        assert _answer(one).startswith(b"HTTP/1.1 403")


def test_fault_111_stopping_waits_for_no_silent_connection(commander: Commander) -> None:
    with ExitStack() as stack, admin_port(commander) as admin:
        for said in (b"", b"GET /met", LIVE, LIVE + b"GET /m"):
            stack.enter_context(_connected(admin)).sendall(said)
        assert ask(admin, "GET", "/metrics")[0] == 200
        began = time.monotonic()
        admin.stop()
        assert time.monotonic() - began < 1.0  # what a slow request would get


def _sight(**changed: object) -> Sight:
    facts = {
        "asked": True,
        "answered": True,
        "body_whole": True,
        "unread": False,
        "unsent": 0,
        "blocked": False,
    }
    return Sight(**{**facts, **changed})  # type: ignore[arg-type]  # the names are tested


@pytest.mark.parametrize(
    ("sight", "found"),
    [
        (_sight(asked=False, answered=False), Phase.HEAD),
        (_sight(unread=True), Phase.HEAD),
        (_sight(), Phase.IDLE),
        (_sight(body_whole=False), Phase.REST),
        (_sight(unsent=1), Phase.TAKING),
        (_sight(answered=False, blocked=True), Phase.TAKING),
        (_sight(answered=False, unsent=1), Phase.BUSY),
        (_sight(answered=False, body_whole=False), Phase.BODY),
    ],
)
def test_what_a_connection_waits_for(sight: Sight, found: Phase) -> None:
    assert phase(sight) is found


def test_every_phase_but_work_has_an_end() -> None:
    bounds = Bounds(connections=4, head_s=1.0, body_s=2.0, idle_s=3.0)
    assert [one for one in Phase if bounds.patience(one) is None] == [Phase.BUSY]


def test_who_goes_first() -> None:
    held = [(Phase.BUSY, 0.0, "busy"), (Phase.IDLE, 1.0, "idle"), (Phase.HEAD, 3.0, "new")]
    assert first_to_go([*held, (Phase.HEAD, 2.0, "old")]) == "old"
    assert first_to_go(held[:2]) == "idle"
    assert first_to_go(held[:1]) is None
