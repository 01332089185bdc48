"""Fault 110: texts cost what they are, in time and in memory, in whatever batches they run."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tests.clients import oip
from tests.clients.gateway import Gateway
from tests.clients.triton import channel, stub
from tests.small_models import identity, write

MOST = 20_000


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that takes 20,000 texts of a request or a batch: of a model that gathers up to
    eight rows for a while, and of one whose requests are cut into pieces of eight rows."""
    folder = tmp_path_factory.mktemp("texts")
    repository = folder / "repository"
    repository.mkdir()
    batching = "max_batch_size: 8\ndynamic_batching { max_queue_delay_microseconds: 200000 }\n"
    write(repository, "gathers", identity("BYTES"), config=batching)
    write(repository, "cuts", identity("BYTES"), config="max_batch_size: 8\n")
    settings = {"limits.max_string_elements": str(MOST)}
    gateway = Gateway(repository, folder / "gateway", settings=settings)
    try:
        yield gateway.wait_ready()
    finally:
        gateway.finish()


def test_fault_110_pieces_of_a_large_request_bring_back_every_row(texts: Gateway) -> None:
    x = np.array([["é" * (i % 7) + str(i * j) for j in range(16)] for i in range(1250)], object)
    with channel(texts) as one:
        answer = stub(one).ModelInfer(oip.grpc_request("cuts", {"X": x}), timeout=60)
    np.testing.assert_array_equal(oip.grpc_arrays(answer)["Y"], x)
    assert max(size["batch_size"] for size in texts.stats("cuts")["batch_stats"]) == 8


def test_fault_110_a_batch_gathers_no_more_texts_than_a_request_may_bring(texts: Gateway) -> None:
    rows = [np.full((1, MOST * 2 // 5), str(i), object) for i in range(10)]
    with channel(texts) as one:
        infer = stub(one).ModelInfer
        answers = [infer.future(oip.grpc_request("gathers", {"X": x}), timeout=60) for x in rows]
        for x, answer in zip(rows, answers, strict=True):
            np.testing.assert_array_equal(oip.grpc_arrays(answer.result())["Y"], x)
    sizes = {size["batch_size"] for size in texts.stats("gathers")["batch_stats"]}
    assert 2 in sizes, "nothing was gathered"
    assert max(sizes) == 2
