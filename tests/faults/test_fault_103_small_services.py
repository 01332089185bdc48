"""Fault 103 at health and reflection: what a client sends them is bounded, counted and timed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np
import pytest
from grpc_health.v1 import health_pb2
from h2.settings import SettingCodes

from tests.clients import http2, oip
from tests.clients.gateway import Gateway, wait_until
from tests.small_models import tiny, write

CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"
REFLECTION = [
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
]
ALL = [CHECK, WATCH, *REFLECTION]
BODY_S = 1.0
LARGE = 60_000
SMALL_LIMIT = 64 << 10
# Codes of gRPC.
INVALID_ARGUMENT, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED = 3, 4, 8


# A connection's, of the narrow gateway: four of the largest messages.
SHARE = 400_000


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("narrow")
    write(folder / "repository", "tiny", tiny())
    settings = {
        "limits.max_message_bytes": str(SHARE // 4),
        "limits.process_bytes": str(64 << 20),
        "limits.connection_share": "0.001",
    }
    one = Gateway(folder / "repository", folder / "gateway", settings=settings)
    try:
        yield one.wait_ready()
    finally:
        one.finish()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("small-services")
    write(folder / "repository", "tiny", tiny())
    settings = {"limits.body_timeout_s": str(BODY_S), "limits.idle_timeout_s": "2"}
    one = Gateway(folder / "repository", folder / "gateway", settings=settings)
    try:
        yield one.wait_ready()
    finally:
        one.finish()


def _asked(name: str) -> bytes:
    return http2.grpc_frame(health_pb2.HealthCheckRequest(service=name).SerializeToString())


def _held(gateway: Gateway) -> float:
    return gateway.metric("serving_buffered_bytes")


@pytest.mark.parametrize("path", ALL)
def test_fault_103_half_a_message_is_counted_and_given_up(gateway: Gateway, path: str) -> None:
    half = http2.grpc_frame(b"x" * LARGE)[: LARGE // 2]
    with http2.Client(gateway.grpc_port) as client:
        streams = [client.open(http2.grpc_headers(path)) for _ in range(10)]
        for stream in streams:
            client.send(stream, half)
        wait_until(lambda: _held(gateway) >= 10 * (LARGE // 2), 5, "what came is counted")
        codes = {client.answer(stream).code for stream in streams}
        assert codes == {DEADLINE_EXCEEDED}
        wait_until(lambda: _held(gateway) == 0, 5, "what was given up is not held")


@pytest.mark.parametrize("path", ALL)
def test_fault_103_a_message_that_is_no_small_one_is_refused_unread(
    gateway: Gateway, path: str
) -> None:
    head = http2.grpc_frame(b"x" * (SMALL_LIMIT + 1))[:100]
    with http2.Client(gateway.grpc_port) as client:
        stream = client.open(http2.grpc_headers(path))
        client.send(stream, head)
        answer = client.answer(stream)
    assert answer.code == RESOURCE_EXHAUSTED
    told = {**answer.headers, **answer.trailers}["grpc-message"]
    assert told == f"messages of this service have at most {SMALL_LIMIT} bytes"


@pytest.mark.parametrize("path", [CHECK, WATCH])
def test_fault_103_a_longer_name_than_any_model_has_is_refused(gateway: Gateway, path: str) -> None:
    with http2.Client(gateway.grpc_port) as client:
        answer = client.call(path, _asked("x" * 1025))
    assert answer.code == INVALID_ARGUMENT


def test_fault_103_names_that_are_watched_for_are_counted(gateway: Gateway) -> None:
    with http2.Client(gateway.grpc_port) as client:
        for _ in range(50):
            client.send(client.open(http2.grpc_headers(WATCH)), _asked("x" * 1000), end=True)
        wait_until(lambda: _held(gateway) >= 50_000, 5, "the names are counted")
    wait_until(lambda: _held(gateway) == 0, 5, "the names went with their watches")


@pytest.mark.parametrize("path", REFLECTION)
def test_fault_103_a_stream_that_asks_nothing_ends(gateway: Gateway, path: str) -> None:
    question = b"\x3a\x01*"  # list_services
    with ExitStack() as stack:
        for said in (b"", http2.grpc_frame(question)):
            client = stack.enter_context(http2.Client(gateway.grpc_port))
            stream = client.open(http2.grpc_headers(path))
            client.send(stream, said)
            answer = client.answer(stream)
            assert answer.code == DEADLINE_EXCEEDED
            assert bool(answer.messages) == bool(said)


STREAM = http2.SERVICE + "ModelStreamInfer"
INFER = http2.SERVICE + "ModelInfer"
ASKED = http2.grpc_frame(
    oip.grpc_request("tiny", {"x": np.zeros((1, 4), np.float32)}).SerializeToString()
)
# Of a request that is open, and of a stream or a watch that is quiet.
REQUEST_BYTES = 8 << 10
OPEN_BYTES = REQUEST_BYTES + (10 << 10)


@pytest.mark.parametrize("path", [STREAM, WATCH])
def test_fault_103_open_streams_count_though_nothing_is_sent(gateway: Gateway, path: str) -> None:
    with http2.Client(gateway.grpc_port) as client:
        for _ in range(50):
            stream = client.open(http2.grpc_headers(path))
            if path == WATCH:
                client.send(stream, _asked("tiny"), end=True)
        wait_until(lambda: _held(gateway) >= 50 * OPEN_BYTES, 10, "each has its price")
    wait_until(lambda: _held(gateway) == 0, 10, "it is given back")


CALL = http2.SERVICE + "ServerMetadata"
PADDING = ("x-padding", "p" * 10_000)


@pytest.mark.parametrize("path", [CALL, "/v2/repository/index"])
def test_fault_103_heads_that_wait_for_their_message_count(gateway: Gateway, path: str) -> None:
    port = gateway.grpc_port if path == CALL else gateway.http_port
    headers = dict(http2.grpc_headers(path, PADDING))
    if path != CALL:
        headers["content-type"] = "application/json"
    with http2.Client(port) as client:
        for _ in range(10):
            client.open(list(headers.items()))
        wait_until(lambda: _held(gateway) >= 100_000, 10, "the heads are counted")
    wait_until(lambda: _held(gateway) == 0, 10, "they are given back")


def test_fault_103_requests_count_from_their_head_to_the_end_of_their_answer(
    gateway: Gateway,
) -> None:
    with http2.Client(gateway.grpc_port) as client:
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
        waiting = [client.open(http2.grpc_headers(INFER)) for _ in range(50)]
        wait_until(lambda: _held(gateway) >= 50 * REQUEST_BYTES, 10, "their heads came")
        for stream in waiting:
            client.send(stream, ASKED, end=True)
        answers = [client.answers[stream] for stream in waiting]
        wait_until(
            lambda: client.pump(1) and all(one.headers for one in answers), 10, "they are answered"
        )
        assert _held(gateway) >= 50 * REQUEST_BYTES, "their answers are not taken"
    wait_until(lambda: _held(gateway) == 0, 10, "they are given back")


def test_fault_103_a_connection_opens_no_more_requests_than_its_share_holds(
    narrow: Gateway,
) -> None:
    with http2.Client(narrow.grpc_port) as client, http2.Client(narrow.grpc_port) as other:
        waiting = [client.open(http2.grpc_headers(INFER)) for _ in range(SHARE // REQUEST_BYTES)]
        answer = client.call(INFER, ASKED)
        assert answer.code == RESOURCE_EXHAUSTED
        assert "limits.connection_share" in answer.headers["grpc-message"]
        assert other.call(INFER, ASKED).code == 0
        client.send(waiting[0], ASKED, end=True)
        assert client.answer(waiting[0]).code == 0, "it has its place already"
