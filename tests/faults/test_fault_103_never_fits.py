"""Fault 103: what can never fit into a client's share is too large, and not asked for again."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import numpy as np
import pytest

from tests.clients import http1, http2, oip
from tests.clients.gateway import Gateway
from tests.clients.witness import Witness
from tests.small_models import identity, tiny, write

PROCESS = 600_000
INFER = "/v2/models/id/infer"
SIZES = {
    # As it comes, before a byte of it is read.
    "request": PROCESS,
    # With its answer.
    "answer": PROCESS * 2 // 3,
}


@pytest.fixture(scope="module")
def scant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Messages may be larger than what the process may hold."""
    folder = tmp_path_factory.mktemp("scant")
    repository = folder / "repository"
    repository.mkdir()
    write(repository, "id", identity("FP32"))
    write(repository, "tiny", tiny())
    settings = {"limits.process_bytes": str(PROCESS), "limits.max_message_bytes": str(4 * PROCESS)}
    gateway = Gateway(repository, folder / "gateway", settings=settings)
    try:
        yield gateway.wait_ready()
    finally:
        gateway.finish()


def _assert_says_why(text: str) -> None:
    assert f"over the {PROCESS} that a connection may hold" in text, text
    assert "limits.connection_share, limits.process_bytes" in text, text
    assert "try again" not in text


@pytest.mark.parametrize("what", SIZES)
def test_fault_103_what_never_fits_is_413(scant: Gateway, what: str) -> None:
    body, headers = oip.binary_body({"X": np.zeros((1, SIZES[what] // 4), np.float32)})
    lines = [f"{key}: {value}" for key, value in headers.items()]
    with Witness(scant):
        reply = http1.exchange(scant.http_port, http1.request(INFER, body, headers=lines))
        assert reply is not None
        assert reply.status == 413, reply
        assert "retry-after" not in reply.headers
        _assert_says_why(reply.error)


@pytest.mark.parametrize("what", SIZES)
def test_fault_103_what_never_fits_is_not_retried_on_grpc(scant: Gateway, what: str) -> None:
    x = np.zeros((1, SIZES[what] // 4), np.float32)
    message = oip.grpc_request("id", {"X": x}).SerializeToString()
    with Witness(scant), http2.Client(scant.grpc_port) as client:
        answer = client.call(http2.SERVICE + "ModelInfer", http2.grpc_frame(message))
    assert answer.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], answer
    assert "grpc-retry-pushback-ms" not in {**answer.headers, **answer.trailers}
    _assert_says_why(answer.headers["grpc-message"])
