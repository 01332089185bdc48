"""The process's byte budget counts what a request becomes, not only what came over the wire."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

import grpc
import numpy as np
import pytest

from tests.clients import oip
from tests.clients.gateway import Gateway, wait_until
from tests.clients.triton import channel, refusal, stub
from tests.clients.witness import MIB, Witness
from tests.small_models import identity, pooled, tiny, write

# FP32 numbers whose wire form is 600 kB (typed: four bytes each; JSON: two or three
# characters each), and that become as much again or more as the model's input.
TYPED = np.zeros((1, 150_000), np.float32)
JSON = np.zeros((1, 220_000), np.float32)


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that may hold 1 MiB of requests and answers."""
    folder = tmp_path_factory.mktemp("narrow")
    repository = folder / "repository"
    repository.mkdir()
    write(repository, "pooled", pooled())
    write(repository, "tiny", tiny())
    write(repository, "texts", identity("BYTES"))
    settings = {"limits.process_bytes": str(MIB)}
    gateway = Gateway(repository, folder / "gateway", settings=settings)
    try:
        yield gateway.wait_ready()
    finally:
        gateway.finish()


def _json(x: np.ndarray) -> bytes:
    numbers = b",".join([b"0"] * x.size)
    head = b'{"inputs":[{"name":"X","datatype":"FP32","shape":[1,%d],"data":[' % x.size
    return head + numbers + b"]}]}"


def _all_given_back(gateway: Gateway) -> None:
    wait_until(lambda: gateway.metric("serving_in_flight_requests") == 0, 10, "all ended")


def test_typed_contents_count_again_once_they_are_converted(narrow: Gateway) -> None:
    typed = oip.grpc_request("pooled", {"X": TYPED}, typed=True)
    raw = oip.grpc_request("pooled", {"X": TYPED})
    assert abs(typed.ByteSize() - raw.ByteSize()) < 100
    assert typed.ByteSize() < MIB
    runs = narrow.stats("pooled")["execution_count"]
    with Witness(narrow), channel(narrow) as one:
        for _ in range(3):
            error = refusal(stub(one).ModelInfer, typed)
            assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error
            assert "limits.process_bytes" in error.details()
            # It would never fit: nobody is asked to try again.
            assert "grpc-retry-pushback-ms" not in dict(error.trailing_metadata())
            # The same bytes on the wire, taken as they are; what was refused holds nothing.
            _all_given_back(narrow)
            stub(one).ModelInfer(raw, timeout=20)
    assert narrow.stats("pooled")["execution_count"] - runs == 3


def test_numbers_in_json_count_again_once_they_are_converted(narrow: Gateway) -> None:
    over, within = _json(JSON), _json(JSON[:, : JSON.size // 3])
    assert len(over) < MIB
    path = "/v2/models/pooled/infer"
    with Witness(narrow):
        for _ in range(3):
            answer = narrow.get(path, over, "POST")
            assert answer.status == 413, answer
            assert "limits.process_bytes" in answer.json()["error"]
            assert "retry-after" not in answer.headers
            _all_given_back(narrow)
            assert narrow.get(path, within, "POST").status == 200


def test_fault_105_what_is_inflated_counts_as_it_comes(narrow: Gateway) -> None:
    bomb = gzip.compress(b" " * (60 * MIB), 9)
    headers = {"Content-Encoding": "gzip"}
    before = narrow.peak_rss()
    for _ in range(5):
        answer = narrow.get("/v2/models/pooled/infer", bomb, "POST", headers)
        assert answer.status == 413, answer
        assert "limits.process_bytes" in answer.json()["error"]
    # Each would be 60 MiB; inflating ends at the budget's one.
    assert narrow.peak_rss() - before < 30 * MIB
    wait_until(lambda: narrow.metric("serving_buffered_bytes") == 0, 10, "nothing is held")


def test_fault_110_texts_that_would_never_have_room_to_run_are_refused(narrow: Gateway) -> None:
    """40,000 texts are 160 kB on the wire, and 9 MB as objects."""
    x = np.full((1, 40_000), "", object)
    body, headers = oip.binary_body({"X": x})
    answer = narrow.get("/v2/models/texts/infer", body, "POST", headers)
    assert answer.status == 413, answer
    assert "limits.process_bytes" in answer.json()["error"]
    body, headers = oip.binary_body({"X": x[:, :1000]})
    assert narrow.get("/v2/models/texts/infer", body, "POST", headers).status == 200


def test_strings_in_typed_contents_count_again_once_they_are_converted(
    start_gateway, repository
) -> None:
    """Two bytes of an empty string become the four of its length."""
    write(repository, "strings", identity("BYTES"))
    gateway = start_gateway(
        repository, {"limits.process_bytes": str(MIB), "limits.max_string_elements": "1000000"}
    )
    x = np.full((1, 220_000), "", object)
    with channel(gateway) as one:
        typed = oip.grpc_request("strings", {"X": x}, typed=True, outputs=["Y"])
        assert typed.ByteSize() < MIB / 2
        error = refusal(stub(one).ModelInfer, typed)
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error
    assert gateway.stats("strings")["execution_count"] == 0
