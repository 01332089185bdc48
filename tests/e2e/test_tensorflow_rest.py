"""TensorFlow Serving's REST API, asked as its clients ask."""

from __future__ import annotations

import gzip
import json
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import requests

from tests.clients import http2, oip
from tests.clients.gateway import Gateway
from tests.clients.tfs_rest import post, predict, refused
from tests.small_models import UNBATCHED, slow, tiny_expected, write

X = np.array([[1, 2, 3, 4], [0, 0, 0, 0]], np.float32)
ROW = np.zeros((1, 1), np.float32)


@pytest.mark.parametrize(
    "body",
    [
        {"instances": X.tolist()},
        {"instances": [{"x": row} for row in X.tolist()]},
        {"inputs": X.tolist()},
        {"inputs": {"x": X.tolist()}},
        {"signature_name": "serving_default", "instances": X.tolist(), "extra": {"a": [None]}},
    ],
)
def test_rows_and_columns_say_the_same(gateway: Gateway, body: dict[str, Any]) -> None:
    np.testing.assert_allclose(predict(gateway, "tiny", body), tiny_expected(X), rtol=1e-5)


def test_several_inputs_and_outputs_go_by_name(gateway: Gateway) -> None:
    a, b = [[5, 6, 7, 8], [1, 1, 1, 1]], [[1, 2, 3, 4], [1, 1, 1, 1]]
    rows = {"instances": [{"INPUT1": y, "INPUT0": x} for x, y in zip(a, b, strict=True)]}
    assert predict(gateway, "add_sub", rows) == [
        {"OUTPUT0": [6, 8, 10, 12], "OUTPUT1": [4, 4, 4, 4]},
        {"OUTPUT0": [2, 2, 2, 2], "OUTPUT1": [0, 0, 0, 0]},
    ]
    assert predict(gateway, "add_sub", {"inputs": {"INPUT0": a, "INPUT1": b}}) == {
        "OUTPUT0": [[6, 8, 10, 12], [2, 2, 2, 2]],
        "OUTPUT1": [[4, 4, 4, 4], [0, 0, 0, 0]],
    }


@pytest.mark.parametrize(
    ("choice", "factor"), [("", 7), ("/versions/1", 1), ("/versions/0002", 2), ("/Versions/7", 7)]
)
def test_the_head_names_the_version_that_answered(
    gateway: Gateway, choice: str, factor: int
) -> None:
    answer = post(gateway, "versions", {"instances": [[1, 2]]}, choice)
    assert answer.json() == {"predictions": [[factor, 2 * factor]]}
    assert answer.headers["x-model-version"] == str(factor)


@pytest.mark.parametrize("datatype", sorted(set(oip.SAMPLES) - {"FP16", "BF16", "UINT16"}))
def test_every_datatype_with_a_form_in_json_comes_back(gateway: Gateway, datatype: str) -> None:
    sample = oip.SAMPLES[datatype]
    values = sample.tolist()
    for key in ("instances", "inputs"):
        found = predict(gateway, f"id_{datatype.lower()}", {key: values})
        np.testing.assert_array_equal(np.array(found, sample.dtype), sample)


@pytest.mark.parametrize(("datatype", "name"), [("fp16", "half"), ("uint16", "uint16")])
def test_datatypes_without_one_are_named(gateway: Gateway, datatype: str, name: str) -> None:
    words = f"to type: {name}"
    refused(gateway, f"id_{datatype}", {"inputs": [[1]]}, "Conversion of", words, status=501)
    refused(gateway, f"id_{datatype}", {"instances": [[1]]}, "UNIMPLEMENTED: Conversion of", words)


def test_scalars_are_bare_and_have_no_rows(gateway: Gateway) -> None:
    assert predict(gateway, "scalar", {"inputs": 2.5}) == 2.5
    refused(gateway, "scalar", {"instances": [2.5]}, "has no shape information")


def test_fault_22_nan_and_infinity_go_both_ways_as_words(gateway: Gateway) -> None:
    answer = post(gateway, "id_fp32", '{"instances":[[NaN,Infinity,-Infinity,1e39]]}')
    assert answer.body == b'{"predictions":[[NaN,Infinity,-Infinity,Infinity]]}'
    (row,) = json.loads(answer.body)["predictions"]
    assert math.isnan(row[0])


def test_whole_numbers_are_printed_as_floats(gateway: Gateway) -> None:
    answer = post(gateway, "id_fp32", '{"instances":[[1,0.1,9000000,-0.0]]}')
    assert answer.body == b'{"predictions":[[1.0,0.1,9000000.0,-0.0]]}'


def test_fault_56_texts_and_base64_come_back_unaltered(gateway: Gateway) -> None:
    texts = ["", "\0", "é", "漢字", "🎈", "'b'", '"\\\n']
    assert predict(gateway, "id_bytes", {"instances": [texts]}) == [texts]
    body = '{"inputs":{"X":[["a",{"b64":"w6k="}]]}}'
    assert predict(gateway, "id_bytes", body) == [["a", "é"]]
    refused(gateway, "id_bytes", '{"inputs":[[{"b64":"/w=="}]]}', "is not valid UTF-8")


@pytest.mark.parametrize(
    ("model", "body", "status", "words"),
    [
        ("nope", {"instances": [1]}, 404, "Servable not found for request: Latest(nope)"),
        ("tiny", "", 400, "JSON Parse error: The document is empty"),
        ("tiny", "{", 400, "at offset: 1"),
        ("tiny", "[]", 400, "Is not object"),
        ("tiny", {}, 400, "Missing 'inputs' or 'instances' key"),
        ("tiny", {"instances": []}, 400, "No values in 'instances' array"),
        ("tiny", {"instances": [[1, 2]]}, 400, "Expected [-1,4], got [1,2]"),
        ("tiny", {"instances": [[1, 2], [1]]}, 400, "Expecting tensor size: 2 but got: 1"),
        ("tiny", {"inputs": [["x"] * 4]}, 400, 'JSON Value: "x" Type: String is not of expected'),
        ("tiny", {"inputs": {"z": [[1] * 4]}}, 400, "does not have named input: z"),
        (
            "tiny",
            {"signature_name": "s", "instances": [[1] * 4]},
            400,
            'Serving signature name: "s" not found in signature def',
        ),
        ("add_sub", {"inputs": {"INPUT0": [[1] * 4]}}, 400, "Missing named input: INPUT1"),
        ("gather", {"inputs": [10**6]}, 400, ""),
        ("broken", {"instances": [1]}, 503, "broken"),
        ("%2e%2e", {"instances": [1]}, 400, "path traversal"),
    ],
)
def test_errors_are_in_their_words(
    gateway: Gateway, model: str, body: object, status: int, words: str
) -> None:
    refused(gateway, model, body, words, status=status)


def test_a_version_or_label_that_is_not_there(gateway: Gateway) -> None:
    for choice, status, words in (
        ("/versions/9", 404, "Servable not found for request: Specific(versions, 9)"),
        ("/versions/0", 404, "Servable not found for request: Specific(versions, 0)"),
        ("/versions/99999999999999999999", 400, "Failed to convert version: 99999999999999999999"),
        ("/labels/canary", 400, "Unrecognized servable version label: canary"),
        ("/versions/1/labels/canary", 400, "Malformed request: POST /v1/models/versions/versions"),
    ):
        answer = post(gateway, "versions", {"instances": [[1]]}, choice)
        assert (answer.status, words in answer.json()["error"]) == (status, True), answer


def test_fault_43_other_verbs_and_paths_are_malformed(gateway: Gateway) -> None:
    for method, path in (
        ("GET", "/v1/models/tiny:predict"),
        ("TRACE", "/v1/models/tiny:predict"),
        ("DELETE", "/v1/models/tiny"),
        ("POST", "/v1/chat/completions"),
        ("GET", "/v1/"),
    ):
        answer = gateway.get(path, b"{}" if method == "POST" else None, method)
        assert answer.status == 400
        assert answer.json()["error"].startswith(f"Malformed request: {method} {path}")


def test_status_and_metadata_over_http(gateway: Gateway) -> None:
    ok = {"error_code": "OK", "error_message": ""}
    told = gateway.get("/v1/models/versions/versions/2").json()
    assert told == {"model_version_status": [{"version": "2", "state": "AVAILABLE", "status": ok}]}
    (failed,) = gateway.get("/v1/models/broken").json()["model_version_status"]
    assert (failed["state"], failed["status"]["error_code"]) == ("END", "UNKNOWN")
    # As perf_analyzer walks it.
    found = gateway.get("/v1/models/tiny/metadata").json()
    definition = found["metadata"]["signature_def"]["signature_def"]["serving_default"]
    shape = definition["inputs"]["x"]["tensor_shape"]
    assert [dim["size"] for dim in shape["dim"]] == ["-1", "4"]
    assert (shape["unknown_rank"], definition["inputs"]["x"]["dtype"]) == (False, "DT_FLOAT")
    assert found["model_spec"]["version"] == "1"
    answer = gateway.get("/v1/models/tiny", method="HEAD")
    assert (answer.status, answer.body) == (200, b"")


def test_options_let_no_other_origin_in(gateway: Gateway) -> None:
    path = "/v1/models/tiny:predict"
    assert gateway.get(path, method="OPTIONS").status == 400
    answer = gateway.get(path, None, "OPTIONS", {"Origin": "https://example.org"})
    assert (answer.status, answer.body) == (200, b"")
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "image/png", ""])
def test_whatever_the_type_of_a_body_it_is_json(gateway: Gateway, kind: str) -> None:
    answer = post(gateway, "tiny", {"instances": X.tolist()}, headers={"Content-Type": kind})
    assert answer.status == 200


def test_bodies_are_compressed_both_ways(gateway: Gateway) -> None:
    body = gzip.compress(json.dumps({"instances": [[0.0] * 500]}).encode())
    headers = {"Content-Encoding": "gzip"}
    url = f"http://{gateway.http}/v1/models/id_fp32:predict"
    answer = requests.post(url, body, headers=headers, timeout=20)
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.json() == {"predictions": [[0.0] * 500]}


def test_large_bodies_are_decoded_beside_the_io_threads(gateway: Gateway) -> None:
    rows = np.arange(60_000, dtype=np.float32).reshape(20_000, 3)
    for body in ({"instances": rows.tolist()}, {"inputs": {"X": rows.tolist()}}):
        np.testing.assert_array_equal(predict(gateway, "id_fp32", body), rows)


def test_it_speaks_http2_too(gateway: Gateway) -> None:
    body = json.dumps({"instances": X.tolist()}).encode()
    head = [(":method", "POST"), (":scheme", "http"), (":path", "/v1/models/tiny:predict")]
    with http2.Client(gateway.http_port) as client:
        stream = client.open([*head, (":authority", "x")])
        client.send(stream, body, end=True)
        answer = client.answer(stream)
    np.testing.assert_allclose(json.loads(answer.data)["predictions"], tiny_expected(X), rtol=1e-5)


def test_answers_are_each_callers_own_under_load(gateway: Gateway) -> None:
    def ask(i: int) -> bool:
        x = np.full((1 + i % 3, 4), i, np.float32)
        body = {"instances": x.tolist()} if i % 2 else {"inputs": x.tolist()}
        return bool(np.allclose(predict(gateway, "tiny", body), tiny_expected(x), rtol=1e-4))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(40)))


def test_a_deadline_that_passes_is_504(start_gateway, repository) -> None:
    """There is none in a request: it is the model's own."""
    late = "default_queue_policy { default_timeout_microseconds: 20000 }"
    write(repository, "late", slow(0.8), config=f"{UNBATCHED}dynamic_batching {{ {late} }}\n")
    answer = post(start_gateway(repository), "late", {"instances": ROW.tolist()})
    assert answer.status == 504, answer
