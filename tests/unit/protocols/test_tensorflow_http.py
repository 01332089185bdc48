"""TensorFlow Serving's URLs that Python answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from serving.errors import ErrorCode
from serving.models.state import State
from serving.protocols import tensorflow_http
from serving.protocols.tensorflow_serving import CODES
from serving.signature import Signature, Tensor
from tests.unit.protocol_views import Models, RecordedCall, call, failed, http, model, version

SIGNATURE = Signature(
    inputs=(Tensor("x", "FP32", (-1, 4), dim_names=("batch", "")), Tensor("k", "INT64", ())),
    outputs=(Tensor("y", "BYTES", (-1,)),),
)
LABELLED = model("labelled", version(1), version(2))
MODELS = Models(
    model("m", version(1), version(2, signature=SIGNATURE), failed(3, "it is broken")),
    model("a b:c", version(1)),
    model("none"),
    replace(LABELLED, route=replace(LABELLED.route, aliases={"st able": 1})),
)


def status(number: int, state: str, code: str = "OK", message: str = "") -> dict[str, Any]:
    told = {"error_code": code, "error_message": message}
    return {"version": str(number), "state": state, "status": told}


def get(path: str, method: str = "GET") -> Any:
    return http(MODELS, method, path)


def test_only_paths_below_v1_are_theirs() -> None:
    for path in ("/v1", "/v1/", "/V1/models", "/v1/a\nb"):
        assert tensorflow_http.answers(path), path
    for path in ("/", "/v2", "/v2/v1/", "/v11/models"):
        assert not tensorflow_http.answers(path), path


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/v1/models/m", "/V1/Models/m"])
def test_the_status_is_of_all_versions_the_newest_first(path: str, method: str) -> None:
    assert get(path, method) == {
        "model_version_status": [
            status(3, "END", "UNKNOWN", "it is broken"),
            status(2, "AVAILABLE"),
            status(1, "AVAILABLE"),
        ]
    }


def test_the_status_may_be_of_one_version() -> None:
    one = {"model_version_status": [status(1, "AVAILABLE")]}
    assert get("/v1/models/m/versions/1") == get(f"/v1/models/m/versions/{'0' * 5000}1") == one


def test_a_label_is_the_version_that_it_names() -> None:
    one = {"model_version_status": [status(1, "AVAILABLE")]}
    assert get("/v1/models/labelled/labels/st%20able") == one
    told = get("/v1/models/labelled/labels/st%20able/metadata")
    assert told["model_spec"]["version"] == "1"


def test_every_code_that_a_status_can_have_has_a_name() -> None:
    for state in State:
        views = Models(model("m", version(1, state=state)))
        told = http(views, "GET", "/v1/models/m")
        assert told["model_version_status"][0]["status"]["error_code"] in CODES.values()


def test_the_metadata_has_all_keys_and_sizes_as_texts() -> None:
    def info(name: str, dtype: str, *dims: tuple[str, str]) -> dict[str, Any]:
        told = [{"size": size, "name": dim} for size, dim in dims]
        shape = {"dim": told, "unknown_rank": False}
        return {"name": f"{name}:0", "dtype": dtype, "tensor_shape": shape}

    definition = {
        "inputs": {
            "x": info("x", "DT_FLOAT", ("-1", "batch"), ("4", "")),
            "k": info("k", "DT_INT64"),
        },
        "outputs": {"y": info("y", "DT_STRING", ("-1", ""))},
        "method_name": "tensorflow/serving/predict",
        "defaults": {},
    }
    expected = {
        "model_spec": {"name": "m", "signature_name": "", "version": "2"},
        "metadata": {"signature_def": {"signature_def": {"serving_default": definition}}},
    }
    assert get("/v1/models/m/metadata") == expected
    assert get("/v1/models/m/versions/2/metadata") == expected


@pytest.mark.parametrize(
    ("path", "word", "words"),
    [
        ("/v1/models/x", ErrorCode.NOT_FOUND, "Could not find any versions of model x"),
        ("/v1/models/none", ErrorCode.NOT_FOUND, "Could not find any versions of model none"),
        ("/v1/models/m/versions/9", ErrorCode.NOT_FOUND, "Could not find version 9 of model m"),
        ("/v1/models/x/metadata", ErrorCode.NOT_FOUND, "Servable not found for request: Latest(x)"),
        (
            "/v1/models/m/versions/9/metadata",
            ErrorCode.NOT_FOUND,
            "Servable not found for request: Specific(m, 9)",
        ),
        (
            "/v1/models/m/labels/a%20b",
            ErrorCode.BAD_REQUEST,
            "Unrecognized servable version label: a b",
        ),
        (
            "/v1/models/m/labels/a/metadata",
            ErrorCode.BAD_REQUEST,
            "Unrecognized servable version label: a",
        ),
        ("/v1/models", ErrorCode.BAD_REQUEST, "Missing model name in request."),
        ("/v1/models/versions/1", ErrorCode.BAD_REQUEST, "Missing model name in request."),
        ("/v1/models/metadata", ErrorCode.NOT_FOUND, "of model metadata"),
        (
            "/v1/models/m/versions/9223372036854775808",
            ErrorCode.BAD_REQUEST,
            "Failed to convert version: 9223372036854775808 to numeric.",
        ),
        (
            f"/v1/models/m/versions/{'9' * 6000}",
            ErrorCode.BAD_REQUEST,
            "Failed to convert version: 999",
        ),
        ("/v1/models/%2e%2e", ErrorCode.BAD_REQUEST, "path traversal"),
    ],
)
def test_what_is_not_there_is_said_in_their_words(path: str, word: str, words: str) -> None:
    found, message = get(path)
    assert found == word
    assert words in message


def test_names_are_decoded_after_matching() -> None:
    assert get("/v1/models/a%20b%3Ac") == {"model_version_status": [status(1, "AVAILABLE")]}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/v1/models/m"),
        ("POST", "/v1/models/m"),
        ("GET", "/v1/models/m:predict"),
        ("TRACE", "/v1/models/m:predict"),
        ("GET", "/v1/models/m/"),
        ("GET", "/v1/models/m/versions/a"),
        ("GET", "/v1/models/m/versions/1/labels/a"),
        ("POST", "/v1/models/m/versions/1/labels/a:classify"),
        ("GET", "/v1/models/m:x"),
        ("POST", "/v1/chat/completions"),
        ("GET", "/v1/"),
        ("GET", "/v1"),
    ],
)
def test_whatever_no_row_takes_is_malformed(method: str, path: str) -> None:
    word, message = get(path, method)
    assert word == ErrorCode.BAD_REQUEST
    assert message.startswith(f"Malformed request: {method} {path}: expected POST /v1/models/NAME")


@pytest.mark.parametrize("path", ["/v1/models/m:predict", "/v1/models", "/v1/x"])
def test_options_want_an_origin_and_let_nobody_in(path: str) -> None:
    word, message = get(path, "OPTIONS")
    assert (word, message) == (
        ErrorCode.FAILED_PRECONDITION,
        "Origin header is missing in CORS preflight",
    )
    asked = RecordedCall("http", "OPTIONS", path, headers={"origin": "https://example.org"})
    assert call(MODELS, asked).answer == b""
