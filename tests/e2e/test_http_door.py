"""The HTTP door: JSON, binary tensors, compression, HTTP/1.1 and h2c."""

from __future__ import annotations

import gzip
import json
import math
import zlib
from typing import Any

import numpy as np
import pytest
import requests
import tritonclient.http

from tests.clients import http1, http2, oip
from tests.clients.gateway import Gateway
from tests.small_models import tiny_expected

X = np.array([[1, 2, 3, 4], [0, 0, 0, 0]], np.float32)
BODY = {"inputs": [oip.json_input("x", X)]}


def _y(answer) -> np.ndarray:
    assert answer.status == 200, answer
    return oip.json_arrays(answer.json())["y"]


@pytest.mark.parametrize(
    "data", [X.ravel().tolist(), X.tolist(), [[[1, 2], [3, 4]], [[0, 0], [0, 0]]], [[X.tolist()]]]
)
def test_json_data_may_be_flat_or_nested(gateway: Gateway, data: list) -> None:
    body = {"inputs": [{"name": "x", "shape": [2, 4], "datatype": "FP32", "data": data}]}
    np.testing.assert_allclose(_y(gateway.infer("tiny", body)), tiny_expected(X), rtol=1e-5)


def test_answers_are_flat_and_have_no_id_that_was_not_sent(gateway: Gateway) -> None:
    body = gateway.infer("tiny", BODY).json()
    (output,) = body["outputs"]
    assert output["shape"] == [2, 3]
    assert len(output["data"]) == 6
    assert "id" not in body


def test_unknown_keys_are_ignored(gateway: Gateway) -> None:
    body = {
        "model_name": "tiny",
        "extra": {"deep": [1, {"x": None}]},
        "parameters": {"a": 1, "b": "x", "c": True, "d": 0.5},
        "inputs": [{**oip.json_input("x", X), "more": [1]}],
        "outputs": [],
    }
    assert gateway.infer("tiny", body).status == 200


def test_no_content_type_is_needed(gateway: Gateway) -> None:
    data = http1.request("/v2/models/tiny/infer", json.dumps(BODY).encode())
    reply = http1.exchange(gateway.http_port, data)
    assert reply is not None
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"


def test_query_strings_and_percent_encoding_on_infer(gateway: Gateway) -> None:
    x = np.array([[1, 2]], np.float32)
    answer = gateway.post(
        "/v2/models/odd%20name/infer?a=1&b=/../", {"inputs": [oip.json_input("X", x)]}
    )
    assert answer.status == 200
    np.testing.assert_array_equal(oip.json_arrays(answer.json())["Y"], x * 3)


@pytest.mark.parametrize("binary", [True, False])
def test_tritonclient_over_http(gateway: Gateway, binary: bool) -> None:
    with tritonclient.http.InferenceServerClient(gateway.http) as client:
        tensor = tritonclient.http.InferInput("x", X.shape, "FP32")
        tensor.set_data_from_numpy(X, binary_data=binary)
        wanted = [tritonclient.http.InferRequestedOutput("y", binary_data=binary)]
        result = client.infer("tiny", [tensor], outputs=wanted, request_id="7")
        np.testing.assert_allclose(result.as_numpy("y"), tiny_expected(X), rtol=1e-5)
        assert result.get_response()["id"] == "7"
        # With no outputs listed it asks for everything in binary.
        result = client.infer("tiny", [tensor])
        np.testing.assert_allclose(result.as_numpy("y"), tiny_expected(X), rtol=1e-5)


@pytest.mark.parametrize("kind", ["gzip", "deflate"])
def test_tritonclient_compression_both_ways(gateway: Gateway, kind: str) -> None:
    x = np.zeros((500, 2), np.float32)
    with tritonclient.http.InferenceServerClient(gateway.http) as client:
        tensor = tritonclient.http.InferInput("X", x.shape, "FP32")
        tensor.set_data_from_numpy(x)
        result = client.infer(
            "id_fp32",
            [tensor],
            request_compression_algorithm=kind,
            response_compression_algorithm=kind,
        )
        np.testing.assert_array_equal(result.as_numpy("Y"), x)


# The binary tensor extension


def _binary(gateway: Gateway, model: str, body: bytes, headers: dict[str, str]):
    return gateway.get(f"/v2/models/{model}/infer", body, "POST", headers)


def test_binary_tensors_both_ways(gateway: Gateway) -> None:
    body, headers = oip.binary_body({"x": X}, id="7")
    answer = _binary(gateway, "tiny", body, headers)
    assert answer.status == 200, answer
    assert answer.headers["content-type"] == "application/octet-stream"
    length = int(answer.headers["inference-header-content-length"])
    head = json.loads(answer.body[:length])
    assert head["outputs"][0]["parameters"]["binary_data_size"] == len(answer.body) - length
    assert "data" not in head["outputs"][0]
    found = oip.binary_arrays(answer.body, answer.headers)["y"]
    np.testing.assert_allclose(found, tiny_expected(X), rtol=1e-5)


def test_binary_and_json_may_be_mixed(gateway: Gateway) -> None:
    a, b = np.full((1, 4), 5, np.int32), np.ones((1, 4), np.int32)
    raw = b.tobytes()
    head = json.dumps(
        {
            "inputs": [
                oip.json_input("INPUT0", a),
                {
                    "name": "INPUT1",
                    "shape": [1, 4],
                    "datatype": "INT32",
                    "parameters": {"binary_data_size": len(raw)},
                },
            ],
            "outputs": [
                {"name": "OUTPUT0", "parameters": {"binary_data": True}},
                {"name": "OUTPUT1", "parameters": {"binary_data": False}},
            ],
        }
    ).encode()
    answer = _binary(
        gateway, "add_sub", head + raw, {"Inference-Header-Content-Length": str(len(head))}
    )
    assert answer.status == 200, answer
    found = oip.binary_arrays(answer.body, answer.headers)
    np.testing.assert_array_equal(found["OUTPUT0"], a + b)
    np.testing.assert_array_equal(found["OUTPUT1"], a - b)


def test_an_outputs_own_flag_overrides_the_requests(gateway: Gateway) -> None:
    ones = np.ones((1, 4), np.int32)
    inputs = [oip.json_input("INPUT0", ones), oip.json_input("INPUT1", ones)]
    body = {
        "inputs": inputs,
        "parameters": {"binary_data_output": True},
        "outputs": [{"name": "OUTPUT0", "parameters": {"binary_data": False}}, {"name": "OUTPUT1"}],
    }
    answer = gateway.infer("add_sub", body)
    length = int(answer.headers["inference-header-content-length"])
    first, second = json.loads(answer.body[:length])["outputs"]
    assert "data" in first
    assert second["parameters"]["binary_data_size"] == 16


def test_a_raw_binary_request_is_one_inputs_bytes(gateway: Gateway) -> None:
    values = np.arange(5, dtype=np.float32)
    answer = _binary(
        gateway,
        "vector_fp32",
        values.tobytes(),
        {"Inference-Header-Content-Length": "0", "Content-Type": "application/octet-stream"},
    )
    assert answer.status == 200, answer
    np.testing.assert_array_equal(
        oip.binary_arrays(answer.body, answer.headers)["Y"].ravel(), values
    )


def test_a_raw_binary_request_is_one_row_where_its_length_varies_too(gateway: Gateway) -> None:
    values = np.arange(5, dtype=np.float32)
    header = {"Inference-Header-Content-Length": "0"}
    answer = _binary(gateway, "id_fp32", values.tobytes(), header)
    assert answer.status == 200, answer
    np.testing.assert_array_equal(
        oip.binary_arrays(answer.body, answer.headers)["Y"], values.reshape(1, 5)
    )


@pytest.mark.parametrize(
    ("model", "words"),
    [("add_sub", "1 input"), ("id_bytes", "BYTE")],
)
def test_a_raw_binary_request_needs_a_shape_that_can_be_deduced(
    gateway: Gateway, model: str, words: str
) -> None:
    refused = _binary(gateway, model, b"1234", {"Inference-Header-Content-Length": "0"})
    assert refused.status == 400
    assert words in refused.json()["error"]


def test_a_zero_size_binary_output_says_so(gateway: Gateway) -> None:
    body, headers = oip.binary_body({"X": np.zeros((0, 3), np.float32)})
    answer = _binary(gateway, "id_fp32", body, headers)
    assert answer.status == 200, answer
    found = oip.binary_arrays(answer.body, answer.headers)["Y"]
    assert found.shape == (0, 3)
    length = int(answer.headers.get("inference-header-content-length", len(answer.body)))
    output = json.loads(answer.body[:length])["outputs"][0]
    assert output["parameters"]["binary_data_size"] == 0


# Compression

SQUEEZE = {"gzip": gzip.compress, "deflate": zlib.compress}


@pytest.mark.parametrize("encoding", SQUEEZE)
def test_compressed_bodies_are_read(gateway: Gateway, encoding: str) -> None:
    data = SQUEEZE[encoding](json.dumps(BODY).encode())
    answer = gateway.get("/v2/models/tiny/infer", data, "POST", {"Content-Encoding": encoding})
    np.testing.assert_allclose(_y(answer), tiny_expected(X), rtol=1e-5)


@pytest.mark.parametrize("encoding", SQUEEZE)
def test_the_binary_header_counts_uncompressed_bytes(gateway: Gateway, encoding: str) -> None:
    body, headers = oip.binary_body({"x": X})
    headers["Content-Encoding"] = encoding
    answer = _binary(gateway, "tiny", SQUEEZE[encoding](body), headers)
    assert answer.status == 200, answer
    found = oip.binary_arrays(answer.body, answer.headers)["y"]
    np.testing.assert_allclose(found, tiny_expected(X), rtol=1e-5)


@pytest.mark.parametrize(
    ("accept", "used"),
    [
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("gzip;q=0.1, deflate;q=0.9", "deflate"),
        ("identity", None),
        ("gzip;q=0", None),
        ("br", None),
    ],
)
def test_answers_are_compressed_as_accepted(
    gateway: Gateway, accept: str, used: str | None
) -> None:
    body = {"inputs": [oip.json_input("X", np.zeros((400, 2), np.float32))]}
    with requests.post(
        f"http://{gateway.http}/v2/models/id_fp32/infer",
        json=body,
        headers={"Accept-Encoding": accept},
        stream=True,
        timeout=10,
    ) as answer:
        raw = answer.raw.read(decode_content=False)
        assert answer.headers.get("content-encoding") == used
    restore: Any = {"gzip": gzip.decompress, "deflate": zlib.decompress, None: bytes}[used]
    restored = restore(raw)
    assert len(json.loads(restored)["outputs"][0]["data"]) == 800
    if used:
        assert len(raw) < len(restored)


def test_unknown_compression_is_415_and_names_the_known(gateway: Gateway) -> None:
    answer = gateway.get("/v2/models/tiny/infer", b"x", "POST", {"Content-Encoding": "br"})
    assert answer.status == 415
    assert {"gzip", "deflate"} <= {
        one.strip() for one in answer.headers["accept-encoding"].split(",")
    }


# Numbers


def test_nan_and_infinities_go_both_ways(gateway: Gateway) -> None:
    text = (
        '{"inputs":[{"name":"X","shape":[1,4],"datatype":"FP32",'
        '"data":[NaN, Infinity, -Infinity, -0.0]}]}'
    )
    answer = gateway.get("/v2/models/id_fp32/infer", text.encode(), "POST")
    assert answer.status == 200, answer
    nan, infinity, minus, zero = json.loads(answer.body)["outputs"][0]["data"]
    assert math.isnan(nan)
    assert (infinity, minus) == (math.inf, -math.inf)
    assert math.copysign(1, zero) == -1


@pytest.mark.parametrize("datatype", ["FP32", "FP64"])
def test_floats_print_as_the_shortest_text_that_reads_back(gateway: Gateway, datatype: str) -> None:
    dtype = oip.DTYPES[datatype]
    random = np.random.default_rng(7)
    bits = random.integers(0, 2 ** (8 * dtype().itemsize - 1) - 1, 500, dtype=np.int64)
    values = bits.astype(f"i{dtype().itemsize}").view(dtype)
    values = np.concatenate([values[np.isfinite(values)], np.array([0.1, 1 / 3], dtype)])
    body = {"inputs": [oip.json_input("X", values.reshape(1, -1))]}
    answer = gateway.infer(f"id_{datatype.lower()}", body)
    assert answer.status == 200, answer
    found = answer.json()["outputs"][0]["data"]
    np.testing.assert_array_equal(np.array(found, dtype), values)
    if datatype == "FP32":
        assert found[-2] == 0.1


@pytest.mark.parametrize("datatype", ["UINT64", "INT64"])
def test_large_integers_do_not_round(gateway: Gateway, datatype: str) -> None:
    values = [[0, 1, 2**53 + 1, np.iinfo(oip.DTYPES[datatype]).max]]
    body = {"inputs": [{"name": "X", "shape": [1, 4], "datatype": datatype, "data": values}]}
    assert gateway.infer(f"id_{datatype.lower()}", body).json()["outputs"][0]["data"] == values[0]


def test_integers_are_accepted_for_floats(gateway: Gateway) -> None:
    body = {"inputs": [{"name": "X", "shape": [1, 2], "datatype": "FP32", "data": [1, 2e0]}]}
    assert gateway.infer("id_fp32", body).json()["outputs"][0]["data"] == [1, 2]


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_half_floats_have_no_json_form(gateway: Gateway, datatype: str) -> None:
    model = f"id_{datatype.lower()}"
    body = {"inputs": [{"name": "X", "shape": [1, 1], "datatype": datatype, "data": [1]}]}
    answer = gateway.infer(model, body)
    assert answer.status == 400
    assert f"receiving {datatype} data via JSON is not supported" in answer.json()["error"]
    binary, headers = oip.binary_body(
        {"X": np.ones((1, 1), np.uint16)}, {"X": datatype}, parameters={"binary_data_output": False}
    )
    answer = _binary(gateway, model, binary, headers)
    assert answer.status == 400
    assert f"sending {datatype} data via JSON" in answer.json()["error"]


# Connections


def test_keep_alive_and_pipelining(gateway: Gateway) -> None:
    one = http1.request("/v2/models/tiny/infer", json.dumps(BODY).encode())
    with http1.connection(gateway.http_port) as sock:
        http1.send(sock, one * 5)
        stream = sock.makefile("rb")
        for _ in range(5):
            line = stream.readline()
            assert b" 200 " in line
            length = 0
            while (header := stream.readline().strip()) != b"":
                key, _, value = header.partition(b":")
                length = int(value) if key.lower() == b"content-length" else length
            assert json.loads(stream.read(length))["model_name"] == "tiny"


def test_expect_continue_is_honoured(gateway: Gateway) -> None:
    body = json.dumps(BODY).encode()
    lines = [
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Expect: 100-continue",
    ]
    with http1.connection(gateway.http_port) as sock:
        http1.send(sock, http1.head("/v2/models/tiny/infer", *lines))
        assert sock.recv(100).startswith(b"HTTP/1.1 100")
        http1.send(sock, body)
        reply = http1.read_reply(sock)
    assert reply is not None
    assert reply.status == 200


def test_h2c_serves_the_same_paths(gateway: Gateway) -> None:
    body = json.dumps(BODY).encode()
    head = [(":scheme", "http"), (":authority", "localhost")]
    with http2.Client(gateway.http_port) as client:
        health = client.open([(":method", "GET"), (":path", "/v2/health/ready"), *head], end=True)
        infer = client.open([(":method", "POST"), (":path", "/v2/models/tiny/infer"), *head])
        client.send(infer, body, end=True)
        metadata = client.open([(":method", "GET"), (":path", "/v2/models/tiny"), *head], end=True)
        assert json.loads(client.answer(health).data) == {"ready": True}
        y = oip.json_arrays(json.loads(client.answer(infer).data))["y"]
        np.testing.assert_allclose(y, tiny_expected(X), rtol=1e-5)
        assert json.loads(client.answer(metadata).data)["name"] == "tiny"


def test_http_1_0_is_answered(gateway: Gateway) -> None:
    reply = http1.exchange(gateway.http_port, b"GET /v2/health/live HTTP/1.0\r\n\r\n", closes=True)
    assert reply is not None
    assert reply.status == 200
    assert reply.closed


def test_an_answer_goes_out_in_one_piece(gateway: Gateway) -> None:
    """Split writes can cost a client 40 ms each (delayed ACK)."""
    with http1.connection(gateway.http_port) as sock:
        http1.send(sock, http1.request("/v2/models/tiny/infer", json.dumps(BODY).encode()))
        first = sock.recv(65536)
    assert b'"model_name"' in first
    assert b"\r\n\r\n" in first


# Ids


def test_a_request_id_comes_back_from_metadata_too(gateway: Gateway) -> None:
    answer = requests.get(
        f"http://{gateway.http}/v2/models/tiny", headers={"X-Request-Id": "mine-3"}, timeout=10
    )
    assert answer.headers["x-request-id"] == "mine-3"


def test_every_error_has_a_request_id(gateway: Gateway) -> None:
    for path, body in [("/v2/models/nowhere/infer", b"{}"), ("/v2/models/tiny/infer", b"{")]:
        answer = gateway.get(path, body, "POST")
        assert answer.status in {400, 404}
        assert answer.headers["x-request-id"]
        answer = gateway.get(path, body, "POST", {"X-Request-Id": "mine-4"})
        assert answer.headers["x-request-id"] == "mine-4"


@pytest.mark.parametrize("name", ["a" * 4000, "ctrl\x01", "sp ace\ttab"])
def test_odd_request_ids_do_no_harm(gateway: Gateway, name: str) -> None:
    data = http1.request("/v2/health/live", method="GET", headers=[f"X-Request-Id: {name}"])
    reply = http1.exchange(gateway.http_port, data)
    assert reply is None or reply.status in {200, 400}


def test_a_head_request_over_http2_gets_the_head_and_no_body(gateway: Gateway) -> None:
    head = [
        (":method", "HEAD"),
        (":scheme", "http"),
        (":path", "/v2/health/live"),
        (":authority", "x"),
    ]
    with http2.Client(gateway.http_port) as client:
        answer = client.answer(client.open(head, end=True))
    assert answer.done
    assert answer.reset is None
    assert (answer.headers[":status"], answer.data) == ("200", b"")
    assert int(answer.headers["content-length"]) > 0
