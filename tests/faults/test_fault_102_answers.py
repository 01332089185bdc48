"""Fault 102: answers are bounded before they are encoded, on every door, and by what the process
may hold; memory that is not there fails a request and nothing else."""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import pytest
from tritonclient.grpc import service_pb2 as pb

from tests.clients import oip
from tests.clients.gateway import Gateway, wait_until
from tests.clients.triton import channel, refusal, stub
from tests.clients.witness import MIB, Witness
from tests.small_models import fill, tiny, widen, write

LIMIT = 2 * MIB
# Elements of FP32 whose raw bytes are just within the limit, and just over it.
WITHIN, OVER = LIMIT // 4 - 100, LIMIT // 4 + 1
SETTING = "limits.max_message_bytes"


@pytest.fixture(scope="module")
def bounded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Messages of 2 MiB, and 6 MiB for all."""
    folder = tmp_path_factory.mktemp("bounded")
    repository = folder / "repository"
    repository.mkdir()
    write(repository, "tiny", tiny())
    # Left to itself it would run in a child, which refuses such answers before this process does.
    write(repository, "fill", fill(), yaml="isolation: none\n")
    write(repository, "widen", widen(100_000), config="max_batch_size: 2\ndynamic_batching {}\n")
    shares = {"limits.connection_share": "1", "limits.address_share": "1"}
    settings = {SETTING: str(LIMIT), "limits.process_bytes": str(3 * LIMIT), **shares}
    gateway = Gateway(repository, folder / "gateway", settings=settings)
    try:
        yield gateway.wait_ready()
    finally:
        gateway.finish()


def _sized(elements: int, binary: bool) -> bytes:
    output = {"name": "Y", "parameters": {"binary_data": binary}}
    sizes = oip.json_input("N", np.array([elements]))
    return json.dumps({"inputs": [sizes], "outputs": [output]}).encode()


def _over_http(gateway: Gateway, elements: int, binary: bool, packed: bool) -> tuple[bool, str]:
    headers = {"Accept-Encoding": "gzip"} if packed else {}
    answer = gateway.get("/v2/models/fill/infer", _sized(elements, binary), "POST", headers=headers)
    if answer.status == 200:
        body = gzip.decompress(answer.body) if packed else answer.body
        assert len(body) <= LIMIT
        return True, ""
    assert answer.status == 413, answer
    return False, answer.json()["error"]


def _over_grpc(gateway: Gateway, elements: int, stream: bool, packed: bool) -> tuple[bool, str]:
    request = oip.grpc_request("fill", {"N": np.array([elements])})
    options: dict[str, Any] = {"compression": grpc.Compression.Gzip} if packed else {}
    with channel(gateway) as one:
        if stream:
            (message,) = stub(one).ModelStreamInfer(iter([request]), timeout=20, **options)
            return not message.error_message, message.error_message
        try:
            answer = stub(one).ModelInfer(request, timeout=20, **options)
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
            return False, error.details()
    assert oip.grpc_arrays(answer)["Y"].size == elements
    return True, ""


FORMS = {
    # Four characters of JSON for each zero and comma.
    "JSON": lambda gateway, n: _over_http(gateway, n, binary=False, packed=False),
    "JSON, gzip": lambda gateway, n: _over_http(gateway, n, binary=False, packed=True),
    "binary": lambda gateway, n: _over_http(gateway, n, binary=True, packed=False),
    "binary, gzip": lambda gateway, n: _over_http(gateway, n, binary=True, packed=True),
    "gRPC": lambda gateway, n: _over_grpc(gateway, n, stream=False, packed=False),
    "gRPC, gzip": lambda gateway, n: _over_grpc(gateway, n, stream=False, packed=True),
    "stream": lambda gateway, n: _over_grpc(gateway, n, stream=True, packed=False),
    "stream, gzip": lambda gateway, n: _over_grpc(gateway, n, stream=True, packed=True),
}


@pytest.mark.parametrize("form", FORMS)
def test_fault_102_an_answer_over_the_limit_is_refused_by_name(bounded: Gateway, form: str) -> None:
    """The limit is on what is not packed."""
    # The runtime may keep what the model's output took.
    with Witness(bounded, slack=160 * MIB):
        assert FORMS[form](bounded, WITHIN) == (True, "")
        for elements in (OVER, 25_000_000):
            answered, text = FORMS[form](bounded, elements)
            assert not answered
            assert f"over the limit of {LIMIT} bytes (setting {SETTING})" in text


def test_fault_102_pieces_of_a_request_are_joined_up_to_the_limit(bounded: Gateway) -> None:
    """400 kB a row, two rows a batch."""
    with Witness(bounded), channel(bounded) as one:
        infer = stub(one).ModelInfer
        request = oip.grpc_request("widen", {"X": np.ones((5, 1), np.float32)})
        assert oip.grpc_arrays(infer(request, timeout=20))["Y"].shape == (5, 100_000)
        error = refusal(infer, oip.grpc_request("widen", {"X": np.ones((9, 1), np.float32)}))
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error
    assert SETTING in error.details()
    wait_until(lambda: bounded.metric("serving_buffered_bytes") == 0, 10, "all is given back")


def test_fault_102_an_answer_without_room_in_the_budget_may_be_tried_again(
    bounded: Gateway,
) -> None:
    """Uploads that stop half-way hold what an answer would need."""
    head = b"POST /v2/models/tiny/infer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % LIMIT
    held = []
    for _ in range(3):
        sock = socket.create_connection(("127.0.0.1", bounded.http_port))
        sock.sendall(head + b" " * (LIMIT * 3 // 4))
        held.append(sock)
    most = 3 * LIMIT * 3 // 4
    wait_until(lambda: bounded.metric("serving_buffered_bytes") >= most, 10, "they are held")
    with Witness(bounded):
        refused = bounded.get("/v2/models/fill/infer", _sized(WITHIN, True), "POST")
        assert refused.status == 503, refused
        assert "as many bytes" in refused.json()["error"]
        assert int(refused.headers["retry-after"]) >= 1
        request = oip.grpc_request("fill", {"N": np.array([WITHIN])})
        with channel(bounded) as one:
            error = refusal(stub(one).ModelInfer, request)
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "grpc-retry-pushback-ms" in dict(error.trailing_metadata())
    for sock in held:
        sock.close()
    wait_until(lambda: bounded.metric("serving_buffered_bytes") == 0, 10, "all is given back")
    assert bounded.get("/v2/models/fill/infer", _sized(WITHIN, True), "POST").status == 200


def test_fault_102_an_error_in_a_stream_leaves_its_other_answers(bounded: Gateway) -> None:
    sizes = [10, OVER, 20]
    requests = [oip.grpc_request("fill", {"N": np.array([n])}, request_id=str(n)) for n in sizes]
    with Witness(bounded), channel(bounded) as one:
        answers: list[pb.ModelStreamInferResponse] = list(
            stub(one).ModelStreamInfer(iter(requests), timeout=20)
        )
    assert [bool(answer.error_message) for answer in answers] == [False, True, False]
    assert answers[1].infer_response.id == str(OVER)


@pytest.mark.slow
def test_fault_102_memory_that_is_not_there_ends_a_request_and_not_the_process(
    start_gateway, repository
) -> None:
    """The operating system gives what the model's output needs, and not its copy."""
    write(repository, "tiny", tiny())
    # Left to itself it would run in a child, which refuses such answers before this process does.
    write(repository, "fill", fill(), yaml="isolation: none\n")
    elements, size = 300_000_000, 1200 * 10**6
    settings = {SETTING: str(4 * size), "limits.process_bytes": str(8 * size)}
    gateway = start_gateway(repository, settings)
    limit = _data_bytes(gateway) + size + size // 4
    with Witness(gateway, slack=2 * size):
        psutil.Process(gateway.process.pid).rlimit(psutil.RLIMIT_DATA, (limit, limit))
        for binary in (True, False):
            answer = gateway.get("/v2/models/fill/infer", _sized(elements, binary), "POST")
            assert answer.status == 503, (answer.status, answer.body[:200])
            assert "no memory for this" in answer.json()["error"]
        with channel(gateway) as one:
            request = oip.grpc_request("fill", {"N": np.array([elements])})
            error = refusal(stub(one).ModelInfer, request)
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error


def _data_bytes(gateway: Gateway) -> int:
    lines = Path(f"/proc/{gateway.process.pid}/status").read_text().splitlines()
    (size,) = [line.split()[1] for line in lines if line.startswith("VmData")]
    return int(size) << 10
