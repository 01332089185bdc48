"""Faults 103, 104 and 111 below the handlers: clients that don't take their answers lose them,
what they held is given back, and clients that take them slowly get them whole.

All of these clients are at work at once, on one gateway with a short ``limits.body_timeout_s``;
each test looks at one of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import h2.settings
import numpy as np
import pytest

from tests.clients import http1, http2, oip
from tests.clients.gateway import Gateway, wait_until
from tests.clients.witness import MIB
from tests.small_models import identity, write

TIMEOUT_S = 2.0
SETTINGS = {
    "limits.body_timeout_s": str(TIMEOUT_S),
    # A connection has room for two of these.
    "limits.max_message_bytes": str(600_000),
    "limits.process_bytes": str(64 * MIB),
    "limits.connection_share": "0.01",
}
INFER = http2.SERVICE + "ModelInfer"
STREAM = http2.SERVICE + "ModelStreamInfer"
CANCEL = 8
# Elements of what is called large here: 0.5 MB.
COUNT = 125_000


def _message(count: int) -> bytes:
    """A request for ``count`` 4-byte elements, which come back."""
    x = np.zeros((1, count), np.float32)
    return http2.grpc_frame(oip.grpc_request("id_fp32", {"X": x}).SerializeToString())


SMALL, LARGE = _message(10), _message(COUNT)


def _shut(gateway: Gateway) -> http2.Client:
    """A client that opens no window for any stream's answer by itself."""
    client = http2.Client(gateway.grpc_port)
    client.opens_windows = False
    client.h2.increment_flow_control_window(1 << 28)
    client.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
    client.flush()
    return client


def _ask(client: http2.Client, message: bytes, path: str = INFER, end: bool = True) -> int:
    stream = client.open(http2.grpc_headers(path))
    client.send(stream, message, end=end)
    return stream


def _until_done(client: http2.Client, stream: int, meanwhile: Callable[[], object]) -> http2.Answer:
    deadline = time.monotonic() + 10 * TIMEOUT_S
    while not client.answers[stream].done and not client.gone and time.monotonic() < deadline:
        meanwhile()
        client.pump(0.1)
    return client.answers[stream]


def takes_nothing(gateway: Gateway) -> tuple[http2.Answer, bool, http2.Answer]:
    """One answer is not taken, while pings and other small requests go on; then all is well."""
    with _shut(gateway) as client:
        stuck = _ask(client, LARGE)

        def busy() -> None:
            client.h2.ping(b"12345678")
            small = _ask(client, SMALL)
            client.h2.increment_flow_control_window(1000, small)
            client.flush()

        answer = _until_done(client, stuck, busy)
        last = _ask(client, SMALL)
        client.h2.increment_flow_control_window(1000, last)
        client.flush()
        return answer, client.gone, client.answer(last)


def takes_a_trickle(gateway: Gateway) -> http2.Answer:
    """A hundred bytes a second."""
    with _shut(gateway) as client:
        stream = _ask(client, LARGE)

        def trickle() -> None:
            client.h2.increment_flow_control_window(10, stream)
            client.flush()
            time.sleep(0.1)

        return _until_done(client, stream, trickle)


def streams_unread(gateway: Gateway) -> tuple[int, float, bool]:
    """Sends on a stream until its window is shut, and takes no answer: bytes sent, bytes that
    were counted for all clients then, and whether the connection was closed."""
    with _shut(gateway) as client:
        stream = _ask(client, SMALL, STREAM, end=False)
        sent = 0
        while client.h2.local_flow_control_window(stream) > 16_384 and sent < 2 * MIB:
            client.send(stream, SMALL * 100)
            sent += len(SMALL) * 100
            while client.pump(0.01):
                pass
        counted = gateway.metric("serving_buffered_bytes")
        _until_done(client, stream, lambda: None)
        return sent, counted, client.gone


def quiet(gateway: Gateway) -> http2.Answer:
    """A stream whose one answer is taken, and that then waits for longer than any time-out."""
    with http2.Client(gateway.grpc_port) as client:
        stream = _ask(client, SMALL, STREAM, end=False)
        wait_until(lambda: client.pump(0.1) and client.answers[stream].messages, 5, "it is taken")
        deadline = time.monotonic() + 2.5 * TIMEOUT_S
        while time.monotonic() < deadline:
            client.pump(0.2)
        client.send(stream, SMALL, end=True)
        return client.answer(stream)


def holds_its_share(gateway: Gateway) -> tuple[list[http2.Answer], http2.Answer]:
    """Leaves answers until it is refused; another connection asks for as much meanwhile."""
    with _shut(gateway) as client, http2.Client(gateway.grpc_port) as neighbour:
        streams = []
        while len(streams) < 20:
            streams.append(_ask(client, LARGE))
            client.pump(0.1)
            if any(answer.done for answer in client.answers.values()):
                break
        other = neighbour.call(INFER, LARGE)
        return [_until_done(client, stream, lambda: None) for stream in streams], other


def stops_reading(gateway: Gateway) -> bool:
    """Whether a client that pipelines and reads no answer of HTTP/1 is closed."""
    body, headers = oip.binary_body({"X": np.zeros((1, COUNT), np.float32)})
    lines = [f"{key}: {value}" for key, value in headers.items()]
    with http1.connection(gateway.http_port, 20 * TIMEOUT_S) as sock:
        try:
            for _ in range(100):
                sock.sendall(http1.request("/v2/models/id_fp32/infer", body, headers=lines))
        except ConnectionError:
            return True
        except TimeoutError:
            pass
        return False


CLIENTS = (
    takes_nothing,
    takes_a_trickle,
    streams_unread,
    quiet,
    holds_its_share,
    stops_reading,
)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("shut")
    write(folder / "repository", "id_fp32", identity("FP32"))
    one = Gateway(folder / "repository", folder / "gateway", settings=dict(SETTINGS))
    try:
        yield one.wait_ready()
    finally:
        one.finish()


@pytest.fixture(scope="module")
def outcomes(gateway: Gateway) -> dict[str, Future[Any]]:
    with ThreadPoolExecutor(len(CLIENTS)) as pool:
        return {client.__name__: pool.submit(client, gateway) for client in CLIENTS}


def test_fault_104_an_answer_that_is_not_taken_is_reset_whatever_else_the_client_does(
    outcomes: dict[str, Future[Any]],
) -> None:
    answer, gone, last = outcomes["takes_nothing"].result()
    assert answer.reset == CANCEL, answer
    assert not gone, "the connection's other streams went with it"
    assert last.code == 0


def test_fault_104_a_few_bytes_now_and_then_are_no_progress(
    outcomes: dict[str, Future[Any]],
) -> None:
    assert outcomes["takes_a_trickle"].result().reset == CANCEL


def test_fault_103_what_an_unread_stream_sent_counts_and_its_connection_is_closed(
    outcomes: dict[str, Future[Any]],
) -> None:
    sent, counted, closed = outcomes["streams_unread"].result()
    assert counted > sent / 2, f"{counted:.0f} of {sent} bytes were counted"
    assert closed, "a connection of which nothing at all was taken is open"


def test_a_stream_whose_answers_are_taken_may_be_quiet(outcomes: dict[str, Future[Any]]) -> None:
    answer = outcomes["quiet"].result()
    assert answer.code == 0, answer
    assert len(answer.messages) == 2


def test_fault_104_a_connection_holds_its_share_and_its_neighbour_is_served(
    outcomes: dict[str, Future[Any]],
) -> None:
    answers, other = outcomes["holds_its_share"].result()
    refused = [answer for answer in answers if answer.done and answer.reset is None]
    assert refused, "all answers were held"
    assert all(answer.code == 8 for answer in refused), refused
    assert "limits.connection_share" in refused[0].headers["grpc-message"]
    assert other.code == 0, other
    assert len(other.data) > 4 * COUNT


def test_fault_111_a_client_that_stops_reading_is_cut(outcomes: dict[str, Future[Any]]) -> None:
    assert outcomes["stops_reading"].result()


def test_fault_103_what_they_held_is_given_back(
    gateway: Gateway, outcomes: dict[str, Future[Any]]
) -> None:
    assert all(outcome.exception() is None for outcome in outcomes.values())
    wait_until(lambda: gateway.metric("serving_buffered_bytes") == 0, 10, "nothing is held")
