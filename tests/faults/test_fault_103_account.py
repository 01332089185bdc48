"""Fault 103: every byte that a client makes the gateway hold is counted once, while it is held.

The gauge ``serving_buffered_bytes`` is held against the process's resident memory, a kind at a
time; and what is held no longer goes back to the system.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import grpc
import numpy as np
import pytest

from tests.clients import holders, http1, oip
from tests.clients.gateway import Gateway, wait_until
from tests.clients.misbehaving import reset
from tests.clients.triton import channel, refusal, stub
from tests.clients.witness import MIB, Witness

GAUGE = "serving_buffered_bytes"


@pytest.fixture(scope="module")
def roomy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """2 GiB for requests and answers, and lines as long as one likes."""
    folder = tmp_path_factory.mktemp("roomy")
    holders.lay(folder / "repository")
    settings = {
        "limits.process_bytes": str(2048 * MIB),
        "limits.body_timeout_s": "60",
        "batching.max_queue_requests": "100000",
        "batching.max_queue_rows": "100000",
    }
    gateway = Gateway(folder / "repository", folder / "gateway", settings=settings)
    try:
        yield gateway.wait_ready()
    finally:
        gateway.finish()


# Names and ids


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ({"request_id": "i" * 129}, "the request's id has 129 bytes, at most 128 are accepted"),
        ({"model": "m" * 256}, "the model's name has 256 bytes, at most 255 are accepted"),
        ({"version": "1" * 1025}, "the model's version has 1025 bytes, at most 1024 are accepted"),
        ({"outputs": ["o" * 1025]}, "an output's name has 1025 bytes, at most 1024 are accepted"),
    ],
)
def test_fault_103_long_names_are_refused_on_grpc(
    gateway: Gateway, field: dict[str, str], text: str
) -> None:
    asked = {"model": "tiny", "inputs": {"x": np.zeros((1, 4), np.float32)}} | field
    request = oip.grpc_request(**asked)
    with Witness(gateway), channel(gateway) as one:
        error = refusal(stub(one).ModelInfer, request)
        (message,) = stub(one).ModelStreamInfer(iter([request]), timeout=20)
    assert (error.code(), error.details()) == (grpc.StatusCode.INVALID_ARGUMENT, text)
    assert message.error_message == text


def test_fault_103_long_names_are_refused_over_http(gateway: Gateway) -> None:
    one = oip.json_input("x", np.zeros((1, 4), np.float32))
    bodies = {
        "the request's id has 129 bytes": {"id": "i" * 129, "inputs": [one]},
        "an input's name has 1025 bytes": {"inputs": [one | {"name": "x" * 1025}]},
        "an output's name has 1025 bytes": {"inputs": [one], "outputs": [{"name": "y" * 1025}]},
    }
    with Witness(gateway):
        for text, body in bodies.items():
            answer = gateway.infer("tiny", body)
            assert (answer.status, text in answer.json()["error"]) == (400, True), answer


# The gauge and the memory


def _settled(gateway: Gateway) -> int:
    """Resident bytes once they no longer move."""
    last = 0
    while abs((now := gateway.rss()) - last) > MIB:
        last = now
        time.sleep(0.5)
    return now


@pytest.mark.slow
@pytest.mark.parametrize("kind", holders.KINDS)
def test_fault_103_the_gauge_is_what_the_memory_is(roomy: Gateway, kind: str) -> None:
    """Some 200 MB of each kind: counted once, and given back to the system when it goes."""
    before = _settled(roomy)
    with holders.KINDS[kind](roomy):
        wait_until(lambda: roomy.metric(GAUGE) >= 150 * MIB, 60, "it is counted")
        held, counted = _settled(roomy) - before, roomy.metric(GAUGE)
    assert held < 1.4 * counted + 32 * MIB, f"{held / MIB:.0f} MiB, {counted / MIB:.0f} counted"
    assert counted < 1.6 * held + 32 * MIB, f"{held / MIB:.0f} MiB, {counted / MIB:.0f} counted"
    wait_until(lambda: roomy.metric(GAUGE) == 0, 30, "all is given back to the budget")
    wait_until(lambda: roomy.rss() < before + 64 * MIB, 30, "and to the system")


@pytest.mark.slow
def test_fault_103_uploads_whose_client_left_go_back_to_the_system(roomy: Gateway) -> None:
    before = _settled(roomy)
    head = http1.head("/v2/models/tiny/infer", f"Content-Length: {60 * MIB}")
    for _ in range(20):
        sock = socket.create_connection(("127.0.0.1", roomy.http_port))
        sock.sendall(head + b"0" * (5 * MIB))
        reset(sock)
    wait_until(lambda: roomy.metric(GAUGE) == 0, 10, "all is given back to the budget")
    wait_until(lambda: roomy.rss() < before + 24 * MIB, 30, "and to the system")
