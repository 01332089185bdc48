"""Triton's further extensions as its clients ask for them: schedule policy, free and reserved
parameters, and what is not built, which is refused in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from tests.clients import oip
from tests.clients.busy import line
from tests.clients.gateway import Gateway
from tests.clients.triton import channel, refusal, stub
from tests.small_models import identity, slow, tiny, write

LEVELS = """
max_batch_size: 1
dynamic_batching {
  priority_levels: 2
  default_priority_level: 1
  priority_queue_policy { key: 2 value { default_timeout_microseconds: 50000 max_queue_size: 1 } }
}
"""
# Model -> its configuration, and what is said of it.
REFUSED = {
    "sequences": ("sequence_batching { }", "sequence_batching is not supported"),
    "ensemble": ("ensemble_scheduling { }", "ensemble_scheduling is not supported"),
    "decoupled": ("model_transaction_policy { decoupled: true }", "decoupled models"),
    "cached": ("response_cache { enable: true }", "response_cache is not supported"),
    "delaying": (
        "dynamic_batching { default_queue_policy { timeout_action: DELAY } }",
        "timeout_action DELAY is not supported",
    ),
}
X = np.ones((1, 4), np.float32)


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("extended")
    repository = folder / "repository"
    repository.mkdir()
    write(repository, "tiny", tiny())
    write(repository, "cube", identity("FP32", ["n", "m", "k"]))
    write(repository, "levels", slow(0.4), config=LEVELS)
    for name, (config, _) in REFUSED.items():
        write(repository, name, tiny(), config=config)
    gateway = Gateway(repository, folder / "gateway")
    try:
        yield gateway.wait_ready()
    finally:
        gateway.finish()


@pytest.mark.parametrize("model", REFUSED)
def test_a_model_of_a_kind_that_is_not_built_says_so(extended: Gateway, model: str) -> None:
    entry = extended.index()[(model, "1")]
    assert entry["state"] == "UNAVAILABLE"
    assert REFUSED[model][1] in entry["reason"]
    answer = extended.infer(model, {"inputs": [oip.json_input("x", X)]})
    assert answer.status == 503
    assert REFUSED[model][1] in answer.json()["error"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/v2/models/tiny/generate", "generate"),
        ("/v2/models/tiny/versions/1/generate_stream", "generate"),
        ("/v2/cudasharedmemory/region/r/register", "shared memory"),
    ],
)
def test_a_call_that_is_not_built_says_so(extended: Gateway, path: str, words: str) -> None:
    answer = extended.post(path, {})
    assert answer.status in (400, 501)
    assert words in answer.json()["error"]


def _asked(extended: Gateway, **how: Any) -> Any:
    with tritonclient.grpc.InferenceServerClient(extended.grpc) as client:
        given = tritonclient.grpc.InferInput("x", X.shape, "FP32")
        given.set_data_from_numpy(X)
        return client.infer("tiny", [given], **how)


SEQUENCES: list[dict[str, Any]] = [
    {"sequence_id": 5},
    {"sequence_id": "five", "sequence_start": True},
    {"sequence_id": 5, "sequence_end": True},
]


@pytest.mark.parametrize("parameters", SEQUENCES)
def test_a_request_of_a_sequence_is_refused(extended: Gateway, parameters: dict[str, Any]) -> None:
    with pytest.raises(InferenceServerException, match="sequences are not built"):
        _asked(extended, **parameters)
    body = {"inputs": [oip.json_input("x", X)], "parameters": parameters}
    answer = extended.infer("tiny", body)
    assert answer.status == 501
    assert "sequences are not built" in answer.json()["error"]


def test_free_parameters_of_every_kind_are_taken(extended: Gateway) -> None:
    free = {"tenant": "a", "number": -3, "on": True}
    assert _asked(extended, parameters=free).as_numpy("y").shape == (1, 3)
    with channel(extended) as one:
        parameters = {**free, "share": 0.5}
        request = oip.grpc_request("tiny", {"x": X}, parameters=parameters)
        assert stub(one).ModelInfer(request, timeout=20).outputs[0].shape == [1, 3]
    body = {"inputs": [oip.json_input("x", X)], "parameters": parameters}
    assert extended.infer("tiny", body).status == 200


def test_reserved_parameters_are_refused(extended: Gateway) -> None:
    words = "parameter keys starting with 'triton_' are reserved"
    body = {"inputs": [oip.json_input("x", X)], "parameters": {"triton_anything": 1}}
    answer = extended.infer("tiny", body)
    assert (answer.status, words in answer.json()["error"]) == (400, True)
    with channel(extended) as one:
        request = oip.grpc_request("tiny", {"x": X}, parameters={"triton_anything": 1})
        assert words in refusal(stub(one).ModelInfer, request).details()
    allowed = {"triton_enable_empty_final_response": True}
    with channel(extended) as one:
        request = oip.grpc_request("tiny", {"x": X}, parameters=allowed)
        stub(one).ModelInfer(request, timeout=20)


def test_a_raw_binary_request_needs_a_shape_that_can_be_deduced(extended: Gateway) -> None:
    header = {"Inference-Header-Content-Length": "0"}
    answer = extended.get("/v2/models/cube/infer", b"1234", "POST", header)
    assert answer.status == 400
    assert "more than one variable-sized dimension" in answer.json()["error"]


def _of_level(priority: int) -> Any:
    parameters = {"priority": priority}
    return oip.grpc_request("levels", {"X": np.ones((1, 1), np.float32)}, parameters=parameters)


def test_a_priority_level_has_a_time_out_and_a_bound_of_its_own(extended: Gateway) -> None:
    shown = extended.get("/v2/models/levels/config").json()["dynamic_batching"]
    assert shown["priority_queue_policy"]["2"]["default_timeout_microseconds"] == 50000
    codes: set[Any] = set()
    with line(extended, "levels", _of_level(1), 2, called_off=True), channel(extended) as one:
        # Those of the first level wait for their turn; of the second one may, and not for long.
        while len(codes) < 2:
            burst = [stub(one).ModelInfer.future(_of_level(2), timeout=30) for _ in range(8)]
            codes |= {future.exception().code() for future in burst if future.exception()}
    assert codes == {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED}
