"""Requests held against their model's schema by a real gateway, through every door."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import onnx
import pytest
import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException, shared_memory

from serving.signature import DATATYPES
from tests import small_models
from tests.clients import oip
from tests.clients.gateway import Gateway, wait_until
from tests.clients.triton import channel, stub
from tests.e2e.test_shared_memory import region

if TYPE_CHECKING:
    from tests.conftest import StartGateway

RANGES = """
feature { name: "x[1]" type: FLOAT float_domain { min: 0 max: 5 } }
feature { name: "x[2]" type: FLOAT presence { min_fraction: 1 } }
feature { name: "x[3]" type: FLOAT float_domain { max: 1 } }
"""
TEXTS = """
feature { name: "X" type: BYTES domain: "colours" presence { min_fraction: 1 } }
string_domain { name: "colours" value: "red" value: "green" }
"""
GOOD = np.array([[9, 0, 1, 1], [9, 5, 2, -9]], np.float32)
BAD = np.array([[9, 0, 1, 1], [9, 7.5, 2, 0]], np.float32)
NOT_THERE = np.array([[9, 0, np.nan, 1]], np.float32)
WORDS = "feature 'x[1]' of input 'x': expected at most 5, got 7.5 (row 1)"
SETTINGS = {
    "mlflow.default_model": "tiny",
    "shared_memory.enabled": "true",
    "loading.trial": "off",
}
REJECT = "validation: {mode: reject}\n"


RANGE = "float_domain { min: -1 max: 2.5 disallow_nan: true }"
# Input -> datatype.
NUMBERS = {name: name for name in small_models.ELEMENT_TYPES if name != "BYTES"}
# Most requests have no value outside.
ODDS = [0.02, 0.1, 0.15, 0.2, 0.2, 0.2, 0.1, 0.02, 0.01]


def cast(x: np.ndarray, datatype: str) -> np.ndarray:
    """BF16 as its bits."""
    if datatype == "BF16":
        return (x.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    whole = np.nan_to_num(x) if np.dtype(DATATYPES[datatype][0]).kind != "f" else x
    if datatype == "BOOL" or datatype.startswith("UINT"):
        whole = np.abs(whole)
    return whole.astype(DATATYPES[datatype][0])


def floats(given: np.ndarray, datatype: str) -> np.ndarray:
    if datatype == "BF16":
        return (given.astype(np.uint32) << 16).view(np.float32)
    return given.astype(np.float64)


def lay(
    repository: Path, name: str, model: onnx.ModelProto, schema: str, config: str = REJECT
) -> Path:
    small_models.write(repository, name, model)
    (repository / name / "schema.pbtxt").write_text(schema)
    if config:
        (repository / name / "model.yaml").write_text(config)
    return repository / name


def refused(
    gateway: Gateway, model: str, x: np.ndarray | dict[str, np.ndarray], **keywords: Any
) -> str:
    """What gRPC says of it; "" where it answers."""
    name = "x" if model.startswith("tiny") else "X"
    inputs = x if isinstance(x, dict) else {name: x}
    with channel(gateway) as one:
        call = stub(one).ModelInfer.future(oip.grpc_request(model, inputs, **keywords))
        if (error := call.exception(20)) is None:
            return ""
    assert isinstance(error, grpc.RpcError)
    assert call.code() is grpc.StatusCode.INVALID_ARGUMENT, error
    return str(call.details())


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("schemas")
    repository = folder / "repository"
    lay(repository, "tiny", small_models.tiny(), RANGES)
    lay(repository, "tiny_log", small_models.tiny(), RANGES, "validation: {mode: log}\n")
    mixed = 'validation: {mode: reject, features: {"x[1]": log, "x[2]": off}}\n'
    lay(repository, "tiny_mixed", small_models.tiny(), RANGES, mixed)
    lay(repository, "tiny_usual", small_models.tiny(), RANGES, "")
    lay(repository, "tiny_broken", small_models.tiny(), "feature {")
    lay(repository, "texts", small_models.identity("BYTES", ("n", "m")), TEXTS)
    wide = "\n".join(
        f'feature {{ name: "{name}" type: FLOAT {RANGE} }}' for name in sorted(NUMBERS)
    )
    lay(repository, "every", small_models.identities(NUMBERS, ("n", "m")), wide)
    halves = 'feature { name: "X" type: FLOAT float_domain { disallow_nan: true } }'
    lay(repository, "halves", small_models.identity("FP16", ("n", 1000)), halves)
    one = Gateway(repository, folder / "gateway", settings=SETTINGS)
    yield one.wait_ready()
    one.finish()


def test_a_value_out_of_range_is_refused_in_each_protocols_own_form(gateway: Gateway) -> None:
    assert refused(gateway, "tiny", GOOD) == ""
    assert refused(gateway, "tiny", BAD) == WORDS
    assert refused(gateway, "tiny", BAD, typed=True) == WORDS
    answer = gateway.infer("tiny", {"inputs": [oip.json_input("x", BAD)]})
    assert (answer.status, answer.json()) == (400, {"error": WORDS})
    body, headers = oip.binary_body({"x": BAD}, {"x": "FP32"})
    answer = gateway.get("/v2/models/tiny/infer", body, "POST", headers)
    assert (answer.status, answer.json()) == (400, {"error": WORDS})
    answer = gateway.post("/v1/models/tiny:predict", {"instances": BAD.tolist()})
    assert answer.status == 400
    assert WORDS in answer.json()["error"]
    answer = gateway.post("/invocations", {"inputs": BAD.tolist()})
    assert answer.status == 400, answer
    assert WORDS in answer.json()["message"]
    answer = gateway.infer("tiny", {"inputs": [oip.json_input("x", GOOD)]})
    assert answer.status == 200


def test_what_is_missing_is_refused_and_a_stream_goes_on(gateway: Gateway) -> None:
    missing = "feature 'x[2]' of input 'x': expected a value, got NaN (row 0)"
    requests = [oip.grpc_request("tiny", {"x": x}) for x in (GOOD, NOT_THERE, GOOD)]
    with channel(gateway) as one:
        told = [each.error_message for each in stub(one).ModelStreamInfer(iter(requests))]
    assert sorted(told) == sorted(["", missing, ""])


def test_texts_are_held_against_the_list(gateway: Gateway) -> None:
    def of(*texts: str) -> np.ndarray:
        return np.array([texts], object)

    assert refused(gateway, "texts", of("red", "green")) == ""
    words = "feature 'X': expected one of the values that the model's schema lists, got 'blue'"
    assert refused(gateway, "texts", of("red", "blue")) == f"{words} (element 1)"
    assert refused(gateway, "texts", of("")) == "feature 'X': expected a value, got '' (element 0)"
    # Off the I/O threads.
    many = np.array([["red"] * 20_000], object)
    assert refused(gateway, "texts", many) == ""
    many[0, -1] = "blue"
    assert refused(gateway, "texts", many) == f"{words} (element 19999)"


def test_nan_among_many_halves_is_found(gateway: Gateway) -> None:
    x = np.full((100, 1000), np.inf, np.float16)
    assert refused(gateway, "halves", x) == ""
    x[99, 998] = np.nan
    assert (
        refused(gateway, "halves", x) == "feature 'X': expected a number, got NaN (element 99998)"
    )


def test_every_datatype_is_held_against_the_range_as_numpy_would(gateway: Gateway) -> None:
    random = np.random.default_rng(16)
    usual = {name: cast(np.zeros((3, 5)), name) for name in NUMBERS}
    for name in NUMBERS:
        for _ in range(8):
            x = random.choice([-2.0, -1, -0.0, 0, 1, 2, 2.5, 3, np.nan], (3, 5), p=ODDS)
            given = cast(x, name)
            values = floats(given, name).reshape(-1)
            outside = np.flatnonzero(~((values >= -1) & (values <= 2.5)))
            words = refused(gateway, "every", {**usual, name: given}, datatypes=NUMBERS)
            if outside.size:
                assert words.startswith(f"feature '{name}'"), (values, words)
                assert words.endswith(f"(element {outside[0]})"), (values, words)
            else:
                assert words == "", (name, values)


def test_what_lies_in_shared_memory_is_checked(gateway: Gateway) -> None:
    x = np.repeat(GOOD, 3000, axis=0)
    with (
        region("schema", x.nbytes) as handle,
        grpcclient.InferenceServerClient(gateway.grpc) as client,
    ):
        client.register_system_shared_memory("schema", handle._shm_key, x.nbytes)
        tensor = grpcclient.InferInput("x", list(x.shape), "FP32")
        tensor.set_shared_memory("schema", x.nbytes)
        shared_memory.set_shared_memory_region(handle, [x])
        answer = client.infer("tiny", [tensor]).as_numpy("y")
        np.testing.assert_allclose(answer, small_models.tiny_expected(x), atol=1e-5)
        x[-1, 1] = 7.5
        shared_memory.set_shared_memory_region(handle, [x])
        with pytest.raises(InferenceServerException, match=r"at most 5, got 7.5 \(row 5999\)"):
            client.infer("tiny", [tensor])
        client.unregister_system_shared_memory("schema")


def test_log_answers_counts_and_tells(gateway: Gateway) -> None:
    labels = {"model": "tiny_log", "version": "1", "type": "too_large", "mode": "log"}
    assert refused(gateway, "tiny_log", BAD) == ""
    assert refused(gateway, "tiny_log", BAD) == ""
    assert gateway.metric("serving_request_anomalies_total", **labels) == 2

    def told() -> list[dict[str, Any]]:
        found = gateway.events("request_anomaly")
        return [one for one in found if one["model"] == "tiny_log"]

    wait_until(told, 10, "the anomaly is told")
    assert told()[0]["reason"] == WORDS
    assert len(told()) <= 2


def test_a_feature_has_a_mode_of_its_own(gateway: Gateway) -> None:
    assert refused(gateway, "tiny_mixed", BAD) == ""
    assert refused(gateway, "tiny_mixed", NOT_THERE) == ""
    far = np.array([[0, 0, 0, 2]], np.float32)
    assert "feature 'x[3]'" in refused(gateway, "tiny_mixed", far)


def test_off_is_the_default_and_a_broken_schema_is_told_and_fails_nothing(
    gateway: Gateway,
) -> None:
    assert refused(gateway, "tiny_usual", BAD) == ""
    assert refused(gateway, "tiny_broken", BAD) == ""
    answer = gateway.get("/api/v1/models/tiny_broken", port=gateway.admin_port)
    assert "requests are not checked: schema.pbtxt" in answer.body.decode()


def test_the_setting_is_for_models_that_say_nothing(
    repository: Path, start_gateway: StartGateway
) -> None:
    lay(repository, "tiny", small_models.tiny(), RANGES, "")
    lay(repository, "tiny_off", small_models.tiny(), RANGES, "validation: {mode: 'off'}\n")
    (repository / "tiny_off" / "1" / "schema.pbtxt").write_text(RANGES)
    started = start_gateway(repository, {"validation.mode": "reject", "loading.trial": "off"})
    assert refused(started, "tiny", BAD) == WORDS
    assert refused(started, "tiny_off", BAD) == ""
