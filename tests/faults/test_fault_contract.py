"""The status contract (docs/faults.md) row by row, over gRPC and /v2; and how answers look."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import time
import zlib

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb

from tests.clients import http1, http2, oip
from tests.clients.busy import line
from tests.clients.gateway import Gateway, HttpAnswer, wait_until
from tests.clients.tfs_rest import post
from tests.clients.triton import channel, refusal, stub
from tests.clients.witness import Witness
from tests.small_models import UNBATCHED, scale, slow, write

ROW = np.zeros((1, 4), np.float32)
SLOW = np.zeros((1, 1), np.float32)
TINY_BODY = {"inputs": [oip.json_input("x", ROW)]}
SLOW_BODY = {"inputs": [oip.json_input("X", SLOW)]}


def over_grpc(gateway: Gateway, request: pb.ModelInferRequest) -> grpc.RpcError:
    with channel(gateway) as one:
        return refusal(stub(one).ModelInfer, request)


def assert_clean(gateway: Gateway, text: str) -> None:
    """Fault 69: no path, stack trace, address or internal name."""
    assert text
    assert str(gateway.repository) not in text
    leaks = (
        r"/(work|tmp|usr|home|root|opt)/|\.(cc|rs|py|h|onnx)\b|Traceback|0x[0-9a-f]{6,}|panicked"
    )
    assert not re.search(leaks, text), text
    for name in ("onnxruntime", "ORT", "RUNTIME_EXCEPTION", "pyo3", "INVALID_ARGUMENT :"):
        assert name not in text, text


def assert_v2(gateway: Gateway, answer: HttpAnswer | http1.Reply | None, status: int) -> str:
    assert answer is not None
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/json"
    text = json.loads(answer.body)["error"]
    assert_clean(gateway, text)
    return str(text)


def refusal_on_v1(answer: HttpAnswer, status: int) -> str:
    assert (answer.status, answer.headers["content-type"]) == (status, "application/json"), answer
    return str(answer.json()["error"])


BAD = {
    "shape": (oip.grpc_request("tiny", {"x": ROW[:, :3]}), ["'x'", "[-1,4]", "[1,3]"]),
    "rank": (oip.grpc_request("tiny", {"x": ROW[0]}), ["'x'", "[-1,4]", "[4]"]),
    "datatype": (oip.grpc_request("tiny", {"x": ROW.astype(np.float64)}), ["'x'", "FP64", "FP32"]),
    "missing": (oip.grpc_request("add_sub", {"INPUT0": ROW.astype(np.int32)}), ["INPUT1"]),
    "unknown input": (oip.grpc_request("tiny", {"x": ROW, "z": ROW}), ["'z'"]),
    "unknown output": (oip.grpc_request("tiny", {"x": ROW}, outputs=["q"]), ["'q'"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_requests_name_the_tensor_expected_and_got(gateway: Gateway, case: str) -> None:
    request, words = BAD[case]
    error = over_grpc(gateway, request)
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    body = {
        "inputs": [
            {
                "name": one.name,
                "shape": list(one.shape),
                "datatype": one.datatype,
                "data": [0] * int(np.prod(one.shape)),
            }
            for one in request.inputs
        ],
        "outputs": [{"name": one.name} for one in request.outputs],
    }
    text = assert_v2(gateway, gateway.infer(request.model_name, body), 400)
    assert_clean(gateway, error.details())
    for word in words:
        for found in (error.details(), text):
            assert word in found.replace(", ", ","), (word, found)


DATA = {
    "gather": {"I": np.array([10])},
    "divide": {"A": np.array([1], np.int32), "B": np.array([0], np.int32)},
    "reshape": {"X": np.zeros(6, np.float32), "S": np.array([4, 2])},
}


@pytest.mark.parametrize("model", DATA)
def test_data_that_an_operator_refuses_is_the_clients_fault(gateway: Gateway, model: str) -> None:
    error = over_grpc(gateway, oip.grpc_request(model, DATA[model]))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
    assert_clean(gateway, error.details())
    body = {"inputs": [oip.json_input(k, v) for k, v in DATA[model].items()]}
    assert_v2(gateway, gateway.infer(model, body), 400)
    on_v1 = post(gateway, model, {"inputs": {k: v.tolist() for k, v in DATA[model].items()}})
    assert_clean(gateway, refusal_on_v1(on_v1, 400))


@pytest.mark.parametrize(("model", "version"), [("nowhere", ""), ("versions", "9"), ("tiny", "2")])
def test_unknown_models_and_versions_are_not_found(
    gateway: Gateway, model: str, version: str
) -> None:
    error = over_grpc(gateway, oip.grpc_request(model, {"x": ROW}, version=version))
    assert error.code() == grpc.StatusCode.NOT_FOUND
    assert error.details().startswith("Request for unknown model")
    answer = gateway.infer(model, TINY_BODY, int(version) if version else None)
    assert assert_v2(gateway, answer, 404).startswith("Request for unknown model")


SLOW_REQUEST = oip.grpc_request("slow", {"X": SLOW})


def test_a_full_queue_answers_at_once_with_a_retry_hint(start_gateway, repository) -> None:
    write(repository, "busy", slow(0.8), config=UNBATCHED)
    gateway = start_gateway(repository, {"batching.max_queue_requests": "2"})
    with line(gateway, "busy", oip.grpc_request("busy", {"X": SLOW}), 2, called_off=True):
        started = time.monotonic()
        error = over_grpc(gateway, oip.grpc_request("busy", {"X": SLOW}))
        answer = gateway.infer("busy", SLOW_BODY)
        on_v1 = post(gateway, "busy", {"instances": SLOW.tolist()})
        # The only model there is.
        scored = gateway.post("/invocations", {"inputs": [[0]]})
        took = time.monotonic() - started
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert int(dict(error.trailing_metadata())["grpc-retry-pushback-ms"]) >= 0
    assert_v2(gateway, answer, 503)
    assert_clean(gateway, refusal_on_v1(on_v1, 429))
    assert scored.status == 429
    assert scored.json()["error_code"] == "RESOURCE_EXHAUSTED"
    assert min(int(one.headers["retry-after"]) for one in (answer, on_v1, scored)) >= 1
    assert took < 1
    codes = gateway.metrics_text()
    assert re.search(
        r'serving_request_total\{[^}]*model="busy"[^}]*code="RESOURCE_EXHAUSTED"', codes
    )
    # The two that are told 429 are counted as that.
    for status, count in (503, 1), (429, 2):
        labels = {"protocol": "http", "code": str(status)}
        assert gateway.metric("serving_request_total", model="busy", **labels) == count


def test_a_deadline_that_passes_in_the_queue(gateway: Gateway) -> None:
    runs = gateway.stats("slow")["execution_count"]
    with line(gateway, "slow", SLOW_REQUEST, 1) as sent:
        request = oip.grpc_request("slow", {"X": SLOW}, parameters={"timeout": 20_000})
        error = over_grpc(gateway, request)
        answer = gateway.infer("slow", {**SLOW_BODY, "parameters": {"timeout": 20_000}})
    assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert_clean(gateway, error.details())
    assert_v2(gateway, answer, 504)
    assert gateway.stats("slow")["execution_count"] - runs == sent


def test_bodies_over_the_limit_also_after_decompression(tight: Gateway) -> None:
    big = np.zeros((1 << 19, 4), np.float32)
    with Witness(tight):
        error = over_grpc(tight, oip.grpc_request("tiny", {"x": big}))
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "1048576" in error.details()
        with channel(tight) as one:
            request = oip.grpc_request("tiny", {"x": big})
            error = refusal(stub(one).ModelInfer, request, compression=grpc.Compression.Gzip)
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        body, headers = oip.binary_body({"x": big})
        path = "/v2/models/tiny/infer"
        lines = [f"{key}: {value}" for key, value in headers.items()]
        declared = http1.head(path, f"Content-Length: {len(body)}", *lines)
        assert "1048576" in assert_v2(tight, http1.exchange(tight.http_port, declared), 413)
        squeezed = tight.get(
            path, zlib.compress(body), "POST", {**headers, "Content-Encoding": "deflate"}
        )
        assert_v2(tight, squeezed, 413)


def test_versions_that_failed_to_load_are_unavailable_never_unknown(gateway: Gateway) -> None:
    for version in ("", "1"):
        error = over_grpc(gateway, oip.grpc_request("broken", {"x": ROW}, version=version))
        assert error.code() == grpc.StatusCode.UNAVAILABLE
        assert_clean(gateway, error.details())
        answer = gateway.infer("broken", TINY_BODY, int(version) if version else None)
        assert_v2(gateway, answer, 503)
        assert answer.headers["retry-after"]


def test_models_that_load_and_a_gateway_that_drains_are_unavailable(
    start_gateway, repository
) -> None:
    write(repository, "m", scale(1))
    gateway = start_gateway(
        repository, {"registry.settle_s": "2.5", "shutdown.drain_delay_s": "1"}, wait=False
    )

    def live() -> bool:
        with contextlib.suppress(OSError):
            return gateway.get("/v2/health/live").status == 200
        return False

    wait_until(live, 30, "it is live", every=0.01)
    body = {"inputs": [oip.json_input("X", np.zeros((1, 2), np.float32))]}
    first = gateway.infer("m", body)
    assert first.status == 503, first
    assert first.headers["retry-after"]
    assert_v2(gateway, first, 503)
    on_v1 = post(gateway, "m", {"instances": [[0, 0]]})
    assert refusal_on_v1(on_v1, 503)
    assert on_v1.headers["retry-after"]
    gateway.wait_ready()
    gateway.signal(signal.SIGTERM)
    wait_until(
        lambda: gateway.get("/v2/health/ready", timeout=2).status == 503, 1, "draining", 0.02
    )
    with channel(gateway) as one:
        ready = stub(one).ServerReady(pb.ServerReadyRequest(), timeout=5)
        assert not ready.ready
    assert gateway.infer("m", body).status == 200
    assert post(gateway, "m", {"instances": [[0, 0]]}).status == 200
    assert gateway.process.wait(20) == 0


UNBUILT = [
    (
        "SystemSharedMemoryRegister",
        pb.SystemSharedMemoryRegisterRequest(name="r", key="/k", byte_size=8),
    ),
    ("CudaSharedMemoryRegister", pb.CudaSharedMemoryRegisterRequest(name="r", byte_size=8)),
]


@pytest.mark.parametrize(("rpc", "request_"), UNBUILT)
def test_rpcs_not_built_are_unimplemented(gateway: Gateway, rpc: str, request_: object) -> None:
    with channel(gateway) as one:
        error = refusal(getattr(stub(one), rpc), request_)
    assert error.code() == grpc.StatusCode.UNIMPLEMENTED
    assert_clean(gateway, error.details())


@pytest.mark.parametrize(
    "path", [http2.SERVICE + "NoSuch", "/inference.Other/ModelInfer", "/", "/a/b/c", "/x"]
)
def test_unknown_rpcs_are_unimplemented(gateway: Gateway, path: str) -> None:
    with http2.Client(gateway.grpc_port) as client:
        assert client.call(path, http2.grpc_frame(b"")).code == 12


@pytest.mark.parametrize(
    "path",
    [
        "/v2/systemsharedmemory/region/r/register",
        "/v2/cudasharedmemory/region/r/register",
        "/v2/models/tiny/generate",
    ],
)
def test_paths_not_built_are_501(gateway: Gateway, path: str) -> None:
    assert_v2(gateway, gateway.post(path, {}), 501)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v2/models/tiny/infer", "POST"),
        ("PUT", "/v2/models/tiny/infer", "POST"),
        ("POST", "/v2/models/tiny", "GET"),
        ("POST", "/v2/health/live", "GET"),
        ("DELETE", "/v2/health/ready", "GET"),
        ("GET", "/v2/repository/index", "POST"),
        ("POST", "/v2", "GET"),
        ("TRACE", "/v2/health/live", "GET"),
        ("TRACE", "/v2/models/tiny/infer", "POST"),
        ("PATCH", "/v2/models/tiny/stats", "GET"),
        ("BREW", "/v2/models/tiny/infer", "POST"),
    ],
)
def test_fault_43_wrong_methods_are_405_not_501(
    gateway: Gateway, method: str, path: str, allowed: str
) -> None:
    reply = http1.exchange(gateway.http_port, http1.request(path, method=method))
    assert_v2(gateway, reply, 405)
    assert reply is not None
    assert allowed in reply.headers["allow"]


@pytest.mark.parametrize("kind", ["text/csv", "application/xml", "multipart/form-data; boundary=x"])
def test_wrong_content_types_are_415(gateway: Gateway, kind: str) -> None:
    body = json.dumps(TINY_BODY).encode()
    reply = http1.exchange(
        gateway.http_port,
        http1.request("/v2/models/tiny/infer", body, headers=[f"Content-Type: {kind}"]),
    )
    assert_v2(gateway, reply, 415)


def test_grpc_with_a_wrong_content_type_is_refused(gateway: Gateway) -> None:
    headers = http2.grpc_headers(http2.SERVICE + "ModelInfer")
    headers = [(k, "text/plain" if k == "content-type" else v) for k, v in headers]
    with http2.Client(gateway.grpc_port) as client:
        stream = client.open(headers, end=True)
        answer = client.answer(stream)
    assert answer.headers[":status"] == "415" or answer.code not in {None, 0}


def test_heads_too_big_and_uris_too_long(gateway: Gateway) -> None:
    with Witness(gateway):
        big = http1.request("/v2/health/live", method="GET", headers=[f"X: {'a' * 200_000}"])
        reply = http1.exchange(gateway.http_port, big)
        assert reply is not None
        assert reply.status == 431
        long = http1.request("/v2/health/live?" + "a" * 200_000, method="GET")
        reply = http1.exchange(gateway.http_port, long)
        assert reply is not None
        assert reply.status in {414, 431}


# Faults about the form of answers


def test_fault_81_grpc_status_is_always_there(gateway: Gateway) -> None:
    """On OK, on errors and for an empty body: a trailer, or headers only, but always a status."""
    good = oip.grpc_request("tiny", {"x": ROW}).SerializeToString()
    bad = oip.grpc_request("nowhere", {"x": ROW}).SerializeToString()
    infer = http2.SERVICE + "ModelInfer"
    with http2.Client(gateway.grpc_port) as client:
        assert client.call(infer, http2.grpc_frame(good)).trailers["grpc-status"] == "0"
        assert client.call(infer, http2.grpc_frame(bad)).code == 5
        assert client.call(infer, b"").code not in {None, 0}
        assert client.call(infer, http2.grpc_frame(b"")).code not in {None, 0}
        assert client.call(infer, http2.grpc_frame(good)[:-3]).code not in {None, 0}
        live = client.call(http2.SERVICE + "ServerLive", http2.grpc_frame(b""))
        assert live.code == 0
        assert pb.ServerLiveResponse.FromString(live.messages[0]).live
        stream = client.call(http2.SERVICE + "ModelStreamInfer", b"")
        assert stream.code == 0
        two = client.call(infer, http2.grpc_frame(good) * 2)
        assert two.code not in {None, 0}
        assert client.call(infer, http2.grpc_frame(good)).code == 0


def test_grpc_messages_survive_odd_characters(gateway: Gateway) -> None:
    """grpc-message is percent-encoded: names from requests come back whole, and harmless."""
    for name in ("ключ", "a\nb", "100%", "\x7f", "a" * 20_000):
        error = over_grpc(gateway, oip.grpc_request(name, {"x": ROW}))
        assert error.code() in {grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT}
        assert len(error.details()) < 4096


def test_fault_93_the_limit_is_explicit_and_named(gateway: Gateway, tight: Gateway) -> None:
    """Not the library's 4 MiB: 64 MiB by default, and the error says which limit it was."""
    x = np.ones((1, 12 << 20), np.float32)
    with channel(gateway) as one:
        response = stub(one).ModelInfer(oip.grpc_request("id_fp32", {"X": x}), timeout=60)
    np.testing.assert_array_equal(oip.grpc_arrays(response)["Y"], x)
    over = np.zeros((1, 17 << 20), np.float32)
    error = over_grpc(gateway, oip.grpc_request("id_fp32", {"X": over}))
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "67108864" in error.details()
    error = over_grpc(tight, oip.grpc_request("id_fp32", {"X": x}))
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "1048576" in error.details()


@pytest.mark.parametrize("model", ["tiny", "add_sub"])
def test_fault_97_bad_input_is_never_a_500(gateway: Gateway, model: str) -> None:
    for body in (
        b"",
        b"[]",
        b"null",
        b'{"inputs": 3}',
        b'{"inputs": [3]}',
        b'{"inputs": [{}]}',
        b"\xff",
    ):
        answer = gateway.get(f"/v2/models/{model}/infer", body, "POST")
        assert_v2(gateway, answer, 400)


def test_fault_97_outputs_keep_row_order(gateway: Gateway) -> None:
    a = np.arange(80, dtype=np.int32).reshape(20, 4)
    body = {"inputs": [oip.json_input("INPUT0", a), oip.json_input("INPUT1", np.zeros_like(a))]}
    found = oip.json_arrays(gateway.infer("add_sub", body).json())
    np.testing.assert_array_equal(found["OUTPUT0"], a)


def test_fault_69_no_error_carries_a_path_or_an_internal_name(gateway: Gateway) -> None:
    """All of this module looks at its errors so; here, the index and the paths beside it."""
    for entry in gateway.index().values():
        if entry.get("reason"):
            assert_clean(gateway, entry["reason"])
    for path in (
        "/v2/models/broken",
        "/v2/models/nowhere/config",
        "/v2/x",
        "/v2/models/broken/stats",
    ):
        assert_clean(gateway, gateway.get(path).json()["error"])


def test_fault_69_the_log_keeps_the_original_under_the_request_id(gateway: Gateway) -> None:
    body = {"inputs": [oip.json_input("I", np.array([77]))]}
    answer = gateway.get(
        "/v2/models/gather/infer", json.dumps(body).encode(), "POST", {"X-Request-Id": "find-me-77"}
    )
    assert answer.status == 400

    def original() -> bool:
        lines = [line for line in gateway.log().splitlines() if "find-me-77" in line]
        return any("idx=77" in line or "out of" in line.lower() for line in lines)

    wait_until(original, 5, "a log line with the original")
