"""The status contract's last row: any other failure while running is INTERNAL and 500, in words."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import numpy as np
import pytest

from tests import faulty_models
from tests.clients import oip
from tests.clients.gateway import Gateway, wait_until
from tests.clients.triton import channel, refusal, stub
from tests.faults.test_fault_contract import assert_clean, assert_v2
from tests.small_models import BATCHED, write

LOW = np.float32(2 * faulty_models.LEAST)


def _rows(count: int, low: int | None = None) -> np.ndarray:
    x = np.arange(count, dtype=np.float32).reshape(count, 1)
    if low is not None:
        x[low] = LOW
    return x


# Model -> an input it answers, one on which it fails, what its own words would be,
# and what ours are.
CASES: dict[str, tuple[dict[str, np.ndarray], dict[str, np.ndarray], str, str]] = {
    "text": ({"I": np.array([0])}, {"I": np.array([0, 1])}, "codec can't decode", "UTF-8"),
    "optional": ({"X": _rows(2)}, {"X": _rows(2, low=0)}, "contains no data", "failed"),
}


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("faulty")
    repository = folder / "repository"
    repository.mkdir()
    write(repository, "text", faulty_models.answers_bytes_that_are_no_text())
    write(repository, "optional", faulty_models.opens_what_is_empty())
    write(repository, "rows", faulty_models.drops_rows(), config=BATCHED)
    gateway = Gateway(repository, folder / "gateway")
    try:
        yield gateway.wait_ready()
    finally:
        gateway.finish()


def _assert_ours(text: str, original: str, words: str) -> None:
    assert words in text
    for theirs in (original, "UnicodeDecodeError", "InvalidArgument", "ValueError", "Status"):
        assert theirs not in text, text


@pytest.mark.parametrize("model", CASES)
def test_other_failures_while_running_are_internal_on_both_doors(
    faulty: Gateway, model: str
) -> None:
    good, bad, original, words = CASES[model]
    with channel(faulty) as one:
        infer = stub(one).ModelInfer
        infer(oip.grpc_request(model, good), timeout=20)
        error = refusal(infer, oip.grpc_request(model, bad))
    assert error.code() == grpc.StatusCode.INTERNAL, error
    assert_clean(faulty, error.details())
    _assert_ours(error.details(), original, words)
    body = {"inputs": [oip.json_input(name, array) for name, array in bad.items()]}
    _assert_ours(assert_v2(faulty, faulty.infer(model, body), 500), original, words)
    fine = {"inputs": [oip.json_input(name, array) for name, array in good.items()]}
    assert faulty.infer(model, fine).status == 200


@pytest.mark.parametrize("model", CASES)
def test_fault_69_the_log_has_the_original_of_what_was_internal(
    faulty: Gateway, model: str
) -> None:
    _, bad, original, _ = CASES[model]
    mark = f"find-{model}"
    with channel(faulty) as one:
        refusal(
            stub(one).ModelInfer,
            oip.grpc_request(model, bad),
            metadata=[("x-request-id", mark)],
        )
    lines = wait_until(
        lambda: [line for line in faulty.log().splitlines() if mark in line], 5, "a log line"
    )
    assert any(original in line for line in lines), lines


def test_rows_that_fall_out_of_an_answer_are_no_error_of_ours(faulty: Gateway) -> None:
    """Batching is asked for, and would have to make eight and four rows of twelve: such a model
    is never batched, and answers as it does alone."""
    sent = _rows(12, low=9)
    body = {"inputs": [oip.json_input("X", sent)]}
    answer = faulty.infer("rows", body)
    assert answer.status == 200
    (output,) = answer.json()["outputs"]
    assert (output["shape"], output["data"]) == ([11, 1], np.delete(sent, 9).tolist())
    said = faulty.get("/v2/models/rows").json()["properties"]["batching"]
    assert said.startswith("unbatched: not batchable: output 'Y'")
