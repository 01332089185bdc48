"""Fault 37 where HTTP/2 begins and where it never ends: half prefaces, and streams at rest."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb

from tests.clients import http1, http2, misbehaving, oip
from tests.clients.gateway import Gateway
from tests.clients.witness import EXPECTED, Witness, X
from tests.small_models import tiny, write

PORTS = ["grpc_port", "http_port"]
HEAD_S = 3.0
BODY_S = 1.0
HALVES = [http2.PREFACE[:1], http2.PREFACE[:14], http2.PREFACE[:-1]]
STREAM = http2.SERVICE + "ModelStreamInfer"
MESSAGE = http2.grpc_frame(oip.grpc_request("tiny", {"x": X}).SerializeToString())


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Heads have three seconds, bodies one, idle connections a minute."""
    folder = tmp_path_factory.mktemp("patient")
    repository = folder / "repository"
    repository.mkdir()
    write(repository, "tiny", tiny())
    settings = {
        "limits.head_timeout_s": str(HEAD_S),
        "limits.body_timeout_s": str(BODY_S),
        "limits.idle_timeout_s": "60",
    }
    gateway = Gateway(repository, folder / "gateway", settings=settings)
    try:
        yield gateway.wait_ready()
    finally:
        gateway.finish()


@pytest.mark.parametrize("half", HALVES, ids=len)
@pytest.mark.parametrize("port", PORTS)
def test_fault_37_half_a_preface_is_closed_after_the_head_time_out(
    patient: Gateway, port: str, half: bytes
) -> None:
    """Twenty of them, and they cost no processor time while they stay."""
    number = int(getattr(patient, port))
    with Witness(patient), contextlib.ExitStack() as stack:
        socks = [stack.enter_context(http1.connection(number)) for _ in range(20)]
        for sock in socks:
            http1.send(sock, half)
        before = patient.cpu_seconds()
        took = misbehaving.time_until_closed(socks[0], 4 * HEAD_S)
        spent = patient.cpu_seconds() - before
        assert took is not None, "the connection stayed open"
        assert took > HEAD_S / 2, f"closed after {took:.1f} s, not by the head time-out"
        # One connection that looks again at once burns a whole core for three seconds.
        assert spent < HEAD_S / 4, f"{spent:.2f} s of processor time for twenty that wait"
        for sock in socks[1:]:
            assert http1.ended(sock, 2.0), "one of them stayed open"


@pytest.mark.parametrize("port", PORTS)
def test_a_preface_in_pieces_begins_a_connection_like_any_other(
    patient: Gateway, port: str
) -> None:
    with http1.connection(int(getattr(patient, port))) as sock:
        for byte in http2.PREFACE:
            sock.sendall(bytes([byte]))
            time.sleep(0.01)
        sock.sendall(b"\0\0\0\4\0\0\0\0\0")
        assert sock.recv(9)[3] == 4, "no SETTINGS came"


def _answers(client: http2.Client, stream: int, count: int, limit: float = 10.0) -> list[bytes]:
    """The stream's messages, once there are ``count``."""
    deadline = time.monotonic() + limit
    while len(client.answers[stream].messages) < count:
        assert not client.answers[stream].done, client.answers[stream]
        assert time.monotonic() < deadline, "no answer came"
        client.pump(0.5)
    return client.answers[stream].messages


def _assert_right(message: bytes) -> None:
    answer = pb.ModelStreamInferResponse.FromString(message)
    assert not answer.error_message
    y = oip.grpc_arrays(answer.infer_response)["y"]
    np.testing.assert_allclose(y, EXPECTED, rtol=1e-5)


@pytest.mark.parametrize("before", [0, 1], ids=["first message", "later message"])
def test_a_stream_may_rest_between_messages_for_longer_than_a_body_may_take(
    patient: Gateway, before: int
) -> None:
    """The body's time-out begins with a message's first byte, not with the wait for it."""
    with http2.Client(patient.grpc_port) as client:
        stream = client.open(http2.grpc_headers(STREAM))
        for count in range(before):
            client.send(stream, MESSAGE)
            _answers(client, stream, count + 1)
        rest = time.monotonic() + 2.5 * BODY_S
        while (left := rest - time.monotonic()) > 0:
            client.pump(left)
            assert not client.answers[stream].done, client.answers[stream]
            assert not client.gone
        # In two parts, the second within the time that the message has of its own.
        client.send(stream, MESSAGE[:9])
        client.pump(0.3 * BODY_S)
        client.send(stream, MESSAGE[9:], end=True)
        _assert_right(_answers(client, stream, before + 1)[-1])
        assert client.answer(stream).code == 0


@pytest.mark.parametrize("sent", [3, 5, 20], ids=["in the prefix", "after it", "in the message"])
def test_a_stream_that_stalls_inside_a_message_is_ended(patient: Gateway, sent: int) -> None:
    with Witness(patient), http2.Client(patient.grpc_port) as client:
        stream = client.open(http2.grpc_headers(STREAM))
        client.send(stream, MESSAGE)
        _assert_right(_answers(client, stream, 1)[0])
        stalled = time.monotonic()
        client.send(stream, MESSAGE[:sent])
        answer = client.answer(stream, 10 * BODY_S)
        took = time.monotonic() - stalled
        assert answer.code == grpc.StatusCode.DEADLINE_EXCEEDED.value[0], answer
        assert took > BODY_S / 2
        assert len(answer.messages) == 1
        # The connection is none the worse for it.
        live = client.call(http2.SERVICE + "ServerLive", http2.grpc_frame(b""))
        assert live.code == 0
