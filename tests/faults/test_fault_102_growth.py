"""Models that make as much as a request's values say: they run where that can be stopped, and
who asks for too much is told so, alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from onnx import helper

from tests.clients import oip
from tests.clients.gateway import Gateway
from tests.clients.processes import children_of
from tests.clients.triton import channel, refusal, stub
from tests.clients.witness import MIB
from tests.crash_models import allocate
from tests.small_models import _model, _value, scale, write

MOST = MIB  # of an answer
MEMORY = 96 * MIB
FLOATS = MIB // 4


def fill() -> Any:
    """``Y`` is N zeros: an answer as long as eight bytes say."""
    node = helper.make_node("ConstantOfShape", ["N"], ["Y"], name="zeros")
    return _model([node], [_value("N", "INT64", [1])], [_value("Y", "FP32", ["n"])])


@pytest.fixture(scope="module")
def growing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("growing")
    repository = folder / "repository"
    repository.mkdir()
    write(repository, "fill", fill())
    write(repository, "ones", allocate())
    write(repository, "plain", scale(2))
    batching = "max_batch_size: 8\nbatching: {enabled: true, delay_us: 300000}\n"
    wide = scale(1, ("n", FLOATS // 2))
    write(repository, "wide", wide, yaml=f"isolation: process\n{batching}")
    settings = {
        "limits.max_message_bytes": str(MOST),
        "isolation.memory_bytes": str(MEMORY),
        # Whoever is counted as crashed is away for the rest of the test.
        "isolation.restart_first_s": "100",
        "isolation.restart_max_s": "100",
    }
    gateway = Gateway(repository, folder / "gateway", settings=settings)
    try:
        yield gateway.wait_ready()
    finally:
        gateway.finish()


def of(count: int, model: str = "fill") -> Any:
    return oip.grpc_request(model, {"N": np.array([count])})


def y_of(response: Any) -> np.ndarray[Any, Any]:
    return oip.grpc_arrays(response)["Y"]


def test_fault_102_what_grows_with_values_is_isolated_unasked_and_says_where(
    growing: Gateway,
) -> None:
    said = {model["name"]: model["versions"][0]["isolated"] for model in growing.models()["models"]}
    assert said["fill"] == (
        "requests' values decide how much it makes: node 'zeros' (ConstantOfShape)"
    )
    assert "ConstantOfShape" in said["ones"]
    assert said["plain"] == ""


def test_fault_102_an_answer_over_the_limit_is_refused_in_the_child_again_and_again(
    growing: Gateway,
) -> None:
    children = children_of(growing.process.pid)
    with channel(growing) as one:
        infer = stub(one).ModelInfer
        for _ in range(20):
            error = refusal(infer, of(FLOATS + 1))
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert error.details() == (
                f"the answer takes {MOST + 4} bytes, over the limit of {MOST} bytes"
                " (setting limits.max_message_bytes); ask for fewer rows or outputs"
            )
        assert y_of(infer(of(1000), timeout=20)).shape == (1000,)
    body = {"inputs": [oip.json_input("N", np.array([FLOATS + 1]))]}
    refused = growing.infer("fill", body)
    assert (refused.status, "limits.max_message_bytes" in str(refused.json())) == (413, True)
    assert children_of(growing.process.pid) == children


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (2**40, f"ask for {4 * 2**40} bytes of memory at once, and it may take {MEMORY}"),
        # Twice as much in two pieces, each of which would fit; and all but all of it in one.
        (60 * FLOATS, f"take more memory than it may, {MEMORY} bytes"),
        (94 * FLOATS, f"take more memory than it may, {MEMORY} bytes"),
    ],
)
def test_fault_102_more_memory_than_the_child_may_take_is_the_requests_fault(
    growing: Gateway, count: int, words: str
) -> None:
    children = children_of(growing.process.pid)
    with channel(growing) as one:
        infer = stub(one).ModelInfer
        for _ in range(5):
            error = refusal(infer, of(count, "ones"))
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert words in error.details()
            assert y_of(infer(of(5, "ones"), timeout=20)).tolist() == [5]
        # Nothing of what failed is missing to those who ask for what they may have.
        half = 40 * FLOATS
        assert y_of(infer(of(half, "ones"), timeout=20)).tolist() == [half]
        plain = oip.grpc_request("plain", {"X": np.ones((1, 2), np.float32)})
        assert y_of(infer(plain, timeout=20)).tolist() == [[2, 2]]
    assert children_of(growing.process.pid) == children


def test_fault_102_what_runs_left_behind_is_had_back_by_one_that_needs_it(
    growing: Gateway,
) -> None:
    """Each takes twice what it says; together they would take three times what there is."""
    with channel(growing) as one:
        infer = stub(one).ModelInfer
        for size in (8, 16, 24, 32, 40):
            assert y_of(infer(of(size * FLOATS, "ones"), timeout=20)).tolist() == [size * FLOATS]


def test_fault_102_a_batch_may_answer_as_many_times_the_limit_as_it_has_requests(
    growing: Gateway,
) -> None:
    """Eight answers of half the limit each, in one run."""
    row = np.ones((1, FLOATS // 2), np.float32)
    with channel(growing) as one:
        infer = stub(one).ModelInfer
        before = growing.stats("wide")["execution_count"]
        asked = [infer.future(oip.grpc_request("wide", {"X": row}), timeout=60) for _ in range(8)]
        assert all(y_of(future.result()).shape == row.shape for future in asked)
        assert growing.stats("wide")["execution_count"] - before <= 4
