"""Our own client when servers fail: killed, draining, overloaded, or silent."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from serving_client import (
    AsyncClient,
    Client,
    DeadlineError,
    Retry,
    ServingError,
    UnavailableError,
    UnreachableError,
)
from serving_client.transports.http_answer import MAX_CONNECTIONS
from tests.clients import sdk
from tests.clients.gateway import Gateway, wait_until
from tests.clients.misbehaving_servers import BODY, HEAD, closing, deaf, silent
from tests.small_models import UNBATCHED, slow, tiny, write

if TYPE_CHECKING:
    from tests.conftest import StartGateway

X = np.ones((1, 4), np.float32)
# Soon, so that tests end; as often as it takes.
SOON = Retry(attempts=50, first_s=0.02, max_s=0.2)


@pytest.fixture
def two(repository: Path, start_gateway: StartGateway, single: Gateway) -> tuple[Gateway, Gateway]:
    """One for the test to end, and one that stays."""
    write(repository, "tiny", tiny())
    return start_gateway(repository), single


@pytest.mark.parametrize("kind", ["blocking grpc", "blocking http", "awaiting grpc"])
def test_addresses_take_turns_and_a_killed_one_costs_no_call(
    two: tuple[Gateway, Gateway], kind: str
) -> None:
    with sdk.client(kind, *two, timeout=20) as client:
        before = [gateway.stats("tiny")["inference_count"] for gateway in two]
        for _ in range(10):
            client.infer("tiny", x=X)
        counts = [gateway.stats("tiny")["inference_count"] for gateway in two]
        assert [now - then for now, then in zip(counts, before, strict=True)] == [5, 5]
        two[0].process.send_signal(signal.SIGKILL)
        two[0].process.wait()
        for _ in range(20):
            assert client.infer("tiny", x=X)["y"].shape == (1, 3)


@pytest.mark.parametrize("kind", ["blocking grpc", "awaiting http"])
def test_a_server_that_ends_under_load_costs_no_call(
    two: tuple[Gateway, Gateway], kind: str
) -> None:
    """SIGTERM: it drains, and whoever comes too late is answered by the other one."""
    leaving, _ = two
    with sdk.client(kind, *two, timeout=20) as client:
        stop = threading.Timer(0.2, leaving.process.send_signal, (signal.SIGTERM,))
        stop.start()
        answers = 0
        while leaving.process.poll() is None or answers < 50:
            assert client.infer("tiny", x=X)["y"].shape == (1, 3)
            answers += 1
        assert leaving.process.returncode == 0


@pytest.mark.parametrize("door", ["grpc", "http"])
def test_a_call_waits_for_a_server_that_is_not_there_yet(
    repository: Path, start_gateway: StartGateway, door: str
) -> None:
    write(repository, "tiny", tiny())
    gateway = start_gateway(repository, wait=False)
    with sdk.client(f"blocking {door}", gateway, retry=SOON, timeout=60) as client:
        while not client.ready():
            time.sleep(0.05)
        assert client.infer("tiny", x=X)["y"].shape == (1, 3)


@pytest.fixture
def full(repository: Path, start_gateway: StartGateway) -> Gateway:
    """A model of 0.05 s a run, one at a time, of which two requests may wait."""
    write(repository, "slow", slow(0.05), config=UNBATCHED)
    return start_gateway(repository, {"batching.max_queue_requests": "2"})


@pytest.mark.parametrize("door", ["grpc", "http"])
def test_overload_is_ridden_out_by_the_servers_hints(full: Gateway, door: str) -> None:
    """Eight come at once where three have room: refused at first, all are answered."""

    def ask(client: Any) -> str:
        return str(client.infer("slow", X=np.zeros((1, 1), np.float32)).version)

    with (
        sdk.client(f"blocking {door}", full, retry=SOON, timeout=60) as client,
        ThreadPoolExecutor(8) as pool,
    ):
        client.metadata("slow")
        assert list(pool.map(lambda _: ask(client), range(8))) == ["1"] * 8
    assert full.metric("serving_request_total", model="slow", code=_refused(door)) > 0


def _refused(door: str) -> str:
    return {"grpc": "RESOURCE_EXHAUSTED", "http": "503"}[door]


@pytest.mark.parametrize("door", ["grpc", "http"])
def test_without_retries_overload_is_an_error_that_says_when(full: Gateway, door: str) -> None:
    with (
        sdk.client(f"blocking {door}", full, retry=None, timeout=60) as client,
        ThreadPoolExecutor(8) as pool,
    ):
        asked = [
            pool.submit(client.infer, "slow", X=np.zeros((1, 1), np.float32)) for _ in range(8)
        ]
        errors = [error for one in asked if (error := one.exception())]
    assert errors
    for error in errors:
        assert isinstance(error, UnavailableError)
        assert error.retry_after
        assert error.repeatable


@pytest.mark.parametrize("kind", sdk.KINDS)
def test_a_machine_that_is_gone_without_a_word_is_passed_over(kind: str, single: Gateway) -> None:
    with deaf() as place:

        class Place:
            grpc = http = place

        with sdk.client(kind, Place(), single, timeout=0.8) as client:
            for _ in range(6):
                assert client.infer("tiny", x=X)["y"].shape == (1, 3)
        with (
            sdk.client(kind, Place(), timeout=0.5, retry=None) as client,
            pytest.raises(ServingError),
        ):
            client.server_metadata()


@pytest.mark.parametrize("kind", sdk.KINDS)
def test_a_silent_server_costs_the_timeout_and_no_more(kind: str) -> None:
    with (
        silent() as (place, _),
        _at(place, kind) as client,
        pytest.raises(DeadlineError, match=r"0\.3 s"),
    ):
        client.server_metadata(timeout=0.3)


def _calls_of(method: str, owner: Any, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What it is called with from now on."""
    plain, calls = getattr(owner, method), []

    def noted(*arguments: Any) -> Any:
        calls.append(arguments)
        return plain(*arguments)

    monkeypatch.setattr(owner, method, noted)
    return calls


def _under_way(*counts: tuple[list[Any], int]) -> bool:
    return all(len(seen) == count for seen, count in counts)


def _never_again(address: str) -> dict[str, Any]:
    """Options of a client that waits half a minute before it tries again."""
    return {"addresses": address, "retry": Retry(first_s=30.0, max_s=30.0)}


@pytest.mark.parametrize("kind", ["blocking grpc", "blocking http"])
def test_who_closes_a_client_ends_what_waits(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that wait for an answer, for a connection, and for the next attempt."""
    calls, connections = (MAX_CONNECTIONS + 20, MAX_CONNECTIONS) if "http" in kind else (2, 1)
    with (
        silent() as (place, heard),
        _at(place, kind) as client,
        ThreadPoolExecutor(calls + 1) as pool,
    ):
        nowhere = Client(**_never_again("localhost:1"))
        sent = _calls_of("send", client._transport, monkeypatch)
        pauses = _calls_of("wait", nowhere._closed, monkeypatch)
        waiting = [pool.submit(client.server_metadata) for _ in range(calls)]
        waiting.append(pool.submit(nowhere.server_metadata))
        under_way = partial(_under_way, (sent, calls), (heard, connections), (pauses, 1))
        wait_until(under_way, 20, "all calls are under way")
        client.close()
        nowhere.close()
        started = time.monotonic()
        for one in waiting:
            assert str(one.exception(10)) == "the client is closed"
            assert type(one.exception()) is RuntimeError
        assert time.monotonic() - started < 5
        assert len(heard) == connections


@pytest.mark.parametrize("scheme", ["", "http://"])
def test_what_is_awaited_ends_with_its_client_too(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask(place: str) -> list[Any]:
        client, nowhere = (
            AsyncClient(**_never_again(f"{scheme}{one}")) for one in (place, "localhost:1")
        )
        sent = _calls_of("send", client._transport, monkeypatch)
        pauses = _calls_of("wait", nowhere._closed, monkeypatch)
        calls = (client.server_metadata, client.server_metadata, nowhere.server_metadata)
        tasks = [asyncio.ensure_future(call()) for call in calls]
        under_way = partial(_under_way, (sent, 2), (pauses, 1))
        await asyncio.to_thread(wait_until, under_way, 20, "all calls are under way")
        tasks[0].cancel()
        await client.close()
        await nowhere.close()
        return await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)

    with silent() as (place, _):
        cancelled, *closed = asyncio.run(ask(place))
    assert isinstance(cancelled, asyncio.CancelledError)
    assert [repr(error) for error in closed] == ["RuntimeError('the client is closed')"] * 2


@pytest.mark.parametrize("kind", ["blocking http", "awaiting http"])
@pytest.mark.parametrize(
    ("at_once", "slowly"), [(b"", HEAD + BODY), (HEAD, BODY)], ids=["all of it", "the body"]
)
def test_a_server_that_trickles_costs_no_more_either(
    kind: str, at_once: bytes, slowly: bytes
) -> None:
    """It never pauses as long as the time-out."""
    with (
        silent(at_once, slowly, 0.02) as (place, _),
        _at(place, kind) as client,
        pytest.raises(DeadlineError),
    ):
        client.server_metadata(timeout=0.5)


@pytest.mark.parametrize("kind", ["blocking http", "awaiting http"])
def test_connections_are_kept_and_replaced_when_the_server_gives_them_up(kind: str) -> None:
    body = b'{"name": "s"}'
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    with closing(2, answer) as (place, brought), _at(place, kind) as client:
        for _ in range(5):
            assert client.server_metadata().name == "s"
        assert brought == [2, 2, 1]


@contextlib.contextmanager
def _at(place: str, kind: str) -> Iterator[Any]:
    """A client for what is no gateway."""

    class Place:
        grpc = http = place

    with sdk.client(kind, Place()) as client:
        yield client


@pytest.mark.parametrize("scheme", ["", "http://"])
def test_nobody_there_is_told_when_the_attempts_are_made(scheme: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        place = f"{scheme}127.0.0.1:{taken.getsockname()[1]}"
        with Client(place, retry=Retry(attempts=3, first_s=0.01)) as client:
            with pytest.raises(UnreachableError, match="nothing listens"):
                client.infer("tiny", x=X)
            assert not client.live()
