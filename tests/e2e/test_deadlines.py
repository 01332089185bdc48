"""Deadlines and cancellation: work that nobody waits for any more is never run."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from tests.clients import http1, http2, misbehaving, oip
from tests.clients.forms import FORMS, Question, RefusedError
from tests.clients.gateway import Gateway, wait_until
from tests.clients.triton import channel, refusal, stub
from tests.small_models import UNBATCHED, slow, tiny, write

X = np.zeros((1, 1), np.float32)
BODY = {"inputs": [oip.json_input("X", X)]}
# Runs of 0.3 s that keep the model busy: long enough to queue and to leave meanwhile.
RUNS = 4


@pytest.fixture(autouse=True)
def idle(gateway: Gateway) -> Iterator[None]:
    """Each test begins and ends with nothing queued: the queue returns to 0 whatever happened."""
    yield
    wait_until(lambda: _depth(gateway) == 0, 20, "the queue is empty again")
    wait_until(
        lambda: gateway.metric("serving_in_flight_requests") == 0, 20, "nothing is in flight"
    )


def _depth(gateway: Gateway) -> float:
    return gateway.metric("serving_queue_requests", model="slow")


def _runs(gateway: Gateway) -> int:
    return int(gateway.stats("slow")["execution_count"])


@contextlib.contextmanager
def busy(gateway: Gateway) -> Iterator[list[Any]]:
    """The model's only instance has ``RUNS`` runs of 0.3 s before it."""
    with channel(gateway) as one:
        request = oip.grpc_request("slow", {"X": X})
        futures = [stub(one).ModelInfer.future(request, timeout=30) for _ in range(RUNS)]
        time.sleep(0.1)
        yield futures
        for future in futures:
            future.result()


def runs_caused(gateway: Gateway, ask_and_leave: Callable[[], None]) -> int:
    """How many runs are made for clients that ask while the model is busy, and leave.

    Asked again when the machine was so slow that the model was idle before they had left.
    """
    for _ in range(5):
        before = _runs(gateway)
        with busy(gateway) as futures:
            ask_and_leave()
            in_time = not futures[-2].done()
        wait_until(lambda: _depth(gateway) == 0, 10, "the queue is empty")
        wait_until(lambda: gateway.metric("serving_executing_batches") == 0, 10, "nothing runs")
        if in_time:
            return _runs(gateway) - before - RUNS
    raise AssertionError("the machine is too slow for this test")


@pytest.mark.parametrize("form", ["raw", "json", "binary"])
def test_the_timeout_parameter_is_a_deadline(gateway: Gateway, form: str) -> None:
    before = _runs(gateway)
    question = Question("slow", {"X": X}, parameters={"timeout": 50_000})
    with busy(gateway), pytest.raises(RefusedError) as refused:
        FORMS[form](gateway, question)
    assert refused.value.code == "DEADLINE_EXCEEDED"
    assert refused.value.message
    assert _runs(gateway) - before == RUNS, "expired work was run"


def test_grpc_timeout_is_honoured_by_the_server(gateway: Gateway) -> None:
    """Sent as a bare header, so that no client library gives up first."""
    before = _runs(gateway)
    message = oip.grpc_request("slow", {"X": X}).SerializeToString()
    with busy(gateway), http2.Client(gateway.grpc_port) as client:
        answer = client.call(
            http2.SERVICE + "ModelInfer", http2.grpc_frame(message), ("grpc-timeout", "50m")
        )
    assert answer.code == grpc.StatusCode.DEADLINE_EXCEEDED.value[0], answer
    assert _runs(gateway) - before == RUNS, "expired work was run"


@pytest.mark.parametrize(("header", "parameter"), [("20S", 50_000), ("50m", 20_000_000)])
def test_the_smallest_deadline_wins(gateway: Gateway, header: str, parameter: int) -> None:
    request = oip.grpc_request("slow", {"X": X}, parameters={"timeout": parameter})
    with busy(gateway), http2.Client(gateway.grpc_port) as client:
        answer = client.call(
            http2.SERVICE + "ModelInfer",
            http2.grpc_frame(request.SerializeToString()),
            ("grpc-timeout", header),
        )
    assert answer.code == grpc.StatusCode.DEADLINE_EXCEEDED.value[0], answer


@pytest.mark.parametrize("value", ["", "50", "m", "-5m", "123456789012m", "5x", "5 m"])
def test_a_malformed_grpc_timeout_does_no_harm(gateway: Gateway, value: str) -> None:
    message = oip.grpc_request("id_fp32", {"X": np.ones((1, 1), np.float32)}).SerializeToString()
    with http2.Client(gateway.grpc_port) as client:
        answer = client.call(
            http2.SERVICE + "ModelInfer", http2.grpc_frame(message), ("grpc-timeout", value)
        )
    assert answer.code is not None
    assert answer.code != grpc.StatusCode.UNKNOWN.value[0]


def test_the_default_limit_per_request_is_a_setting(start_gateway, repository) -> None:
    write(repository, "slow", slow(0.3), config=UNBATCHED)
    write(repository, "tiny", tiny())
    gateway = start_gateway(repository, {"limits.request_timeout_s": "0.1"})
    with channel(gateway) as one:
        request = oip.grpc_request("slow", {"X": X})
        futures = [stub(one).ModelInfer.future(request, timeout=30) for _ in range(3)]
        codes = [future.exception() and future.exception().code() for future in futures]
    assert codes.count(grpc.StatusCode.DEADLINE_EXCEEDED) >= 2, codes
    assert (
        gateway.infer("tiny", {"inputs": [oip.json_input("x", np.ones((1, 4), np.float32))]}).status
        == 200
    )


def _queued(gateway: Gateway, count: int) -> None:
    wait_until(lambda: _depth(gateway) >= count, 5, "the requests are queued", every=0.01)


def test_a_cancelled_call_is_dropped_from_the_queue(gateway: Gateway) -> None:
    def ask_and_leave() -> None:
        with channel(gateway) as one:
            request = oip.grpc_request("slow", {"X": X})
            futures = [stub(one).ModelInfer.future(request, timeout=30) for _ in range(10)]
            _queued(gateway, 10)
            for future in futures:
                assert future.cancel()

    assert runs_caused(gateway, ask_and_leave) == 0


def test_a_reset_stream_is_a_cancellation(gateway: Gateway) -> None:
    message = http2.grpc_frame(oip.grpc_request("slow", {"X": X}).SerializeToString())

    def ask_and_leave() -> None:
        with http2.Client(gateway.grpc_port) as client:
            for _ in range(5):
                stream = client.open(http2.grpc_headers(http2.SERVICE + "ModelInfer"))
                client.send(stream, message, end=True)
                client.h2.reset_stream(stream, error_code=8)
                client.flush()

    assert runs_caused(gateway, ask_and_leave) == 0


@pytest.mark.parametrize("close", ["fin", "rst"])
def test_an_http_client_that_leaves_cancels_its_request(gateway: Gateway, close: str) -> None:
    """Fault 27, on HTTP/1.1 too."""
    data = http1.request("/v2/models/slow/infer", json.dumps(BODY).encode())

    def ask_and_leave() -> None:
        socks = [socket.create_connection(("127.0.0.1", gateway.http_port)) for _ in range(5)]
        for sock in socks:
            sock.sendall(data)
        _queued(gateway, 5)
        for sock in socks:
            misbehaving.reset(sock) if close == "rst" else sock.close()

    assert runs_caused(gateway, ask_and_leave) == 0


def test_a_stream_that_is_cancelled_drops_its_requests(gateway: Gateway) -> None:
    requests = [oip.grpc_request("slow", {"X": X}, request_id=str(i)) for i in range(8)]

    def ask_and_leave() -> None:
        with channel(gateway) as one:
            stream = stub(one).ModelStreamInfer(iter(requests), timeout=30)
            _queued(gateway, 8)
            stream.cancel()

    assert runs_caused(gateway, ask_and_leave) == 0


def test_drops_are_counted(gateway: Gateway) -> None:
    names = ("serving_dropped_expired_total", "serving_dropped_cancelled_total")
    expired, cancelled = (gateway.metric(name, model="slow") for name in names)
    request = oip.grpc_request("slow", {"X": X}, parameters={"timeout": 50_000})
    with busy(gateway), channel(gateway) as one:
        future = stub(one).ModelInfer.future(oip.grpc_request("slow", {"X": X}), timeout=20)
        wait_until(lambda: _depth(gateway) >= 2, 5, "it is queued", every=0.01)
        future.cancel()
        refusal(stub(one).ModelInfer, request)
    wait_until(lambda: gateway.metric(names[0], model="slow") == expired + 1, 5, "one expired")
    wait_until(lambda: gateway.metric(names[1], model="slow") == cancelled + 1, 5, "one cancelled")
