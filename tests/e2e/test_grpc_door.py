"""The gRPC door: infer, health service, reflection, compression, ids."""

from __future__ import annotations

import gzip
import threading
import zlib
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from tritonclient.grpc import service_pb2 as pb

from tests.clients import http2, oip
from tests.clients.gateway import Gateway, wait_until
from tests.clients.triton import channel, refusal, stub
from tests.small_models import UNBATCHED, slow, tiny_expected, write

X = np.array([[1, 2, 3, 4], [0, 0, 0, 0]], np.float32)


def test_health_rpcs_of_the_protocol(gateway: Gateway) -> None:
    with channel(gateway) as one:
        assert stub(one).ServerLive(pb.ServerLiveRequest(), timeout=10).live
        assert stub(one).ServerReady(pb.ServerReadyRequest(), timeout=10).ready
        ready = stub(one).ModelReady
        assert ready(pb.ModelReadyRequest(name="tiny"), timeout=10).ready
        assert ready(pb.ModelReadyRequest(name="versions", version="2"), timeout=10).ready
        # tritonclient raises on any error, so an unknown model is an OK "no".
        assert not ready(pb.ModelReadyRequest(name="nowhere"), timeout=10).ready
        assert not ready(pb.ModelReadyRequest(name="broken"), timeout=10).ready


@pytest.mark.parametrize("version", ["0", "-1", "3abc", "x", "1.0", " 1", "99999999999999999999"])
def test_versions_that_are_no_positive_integers_are_bad_requests(
    gateway: Gateway, version: str
) -> None:
    with channel(gateway) as one:
        request = oip.grpc_request("versions", {"X": np.zeros((1, 2), np.float32)}, version=version)
        error = refusal(stub(one).ModelInfer, request)
    if version.isdigit() and int(version) > 2**62:
        assert error.code().name in {"INVALID_ARGUMENT", "NOT_FOUND"}
        return
    assert error.code().name == "INVALID_ARGUMENT"
    if version.lstrip("-").isdigit():
        assert version in error.details()
    else:
        expected = f"failed to get model version from specified version string '{version}'"
        assert expected in error.details()


def test_parameters_that_only_grpc_has_are_accepted(gateway: Gateway) -> None:
    streams = {"triton_enable_empty_final_response": True}
    request = oip.grpc_request("tiny", {"x": X}, parameters=streams)
    request.parameters["priority"].uint64_param = 1
    with channel(gateway) as one:
        assert stub(one).ModelInfer(request, timeout=10).outputs


# grpc.health.v1


def test_health_service_checks_server_service_and_models(gateway: Gateway) -> None:
    serving = health_pb2.HealthCheckResponse.SERVING
    with channel(gateway) as one:
        check = health_pb2_grpc.HealthStub(one).Check
        for service in ("", "inference.GRPCInferenceService", "tiny"):
            request = health_pb2.HealthCheckRequest(service=service)
            assert check(request, timeout=10).status == serving, service
        broken = check(health_pb2.HealthCheckRequest(service="broken"), timeout=10)
        assert broken.status == health_pb2.HealthCheckResponse.NOT_SERVING
        error = refusal(check, health_pb2.HealthCheckRequest(service="nowhere"))
        assert error.code() == grpc.StatusCode.NOT_FOUND


def test_health_watch_answers_at_once_and_stays_open(gateway: Gateway) -> None:
    with channel(gateway) as one:
        watch = health_pb2_grpc.HealthStub(one).Watch
        expected = {"": 1, "tiny": 1, "broken": 2, "nowhere": 3}
        for service, status in expected.items():
            stream = watch(health_pb2.HealthCheckRequest(service=service), timeout=10)
            assert next(stream).status == status, service
            assert stream.is_active()
            stream.cancel()


def test_health_lists_models(gateway: Gateway) -> None:
    """By its bytes, since older stubs lack the call: entries of name (1) and status (2)."""
    with http2.Client(gateway.grpc_port) as client:
        answer = client.call("/grpc.health.v1.Health/List", http2.grpc_frame(b""))
    assert answer.code == 0, answer
    (message,) = answer.messages
    assert b"\x0a\x04tiny\x12\x02\x08\x01" in message
    assert b"\x0a\x06broken\x12\x02\x08\x02" in message


def test_reflection_serves_the_whole_service(gateway: Gateway) -> None:
    with channel(gateway) as one:
        database = ProtoReflectionDescriptorDatabase(one)
        services = set(database.get_services())
        assert {"inference.GRPCInferenceService", "grpc.health.v1.Health"} <= services
        pool = DescriptorPool(database)
        service = pool.FindServiceByName("inference.GRPCInferenceService")
        own = {
            method.name for method in pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods
        }
        assert set(service.methods_by_name) == own
        message = pool.FindMessageTypeByName("inference.ModelInferRequest")
        assert message.fields_by_name["raw_input_contents"].number == 7
        config = pool.FindMessageTypeByName("inference.ModelConfig")
        assert config.fields_by_name["dynamic_batching"].number == 11


@pytest.mark.parametrize("path", ["v1", "v1alpha"])
def test_reflection_on_both_paths_and_unknown_symbols(gateway: Gateway, path: str) -> None:
    """What is unknown is told in its answer, and the stream goes on."""
    from grpc_reflection.v1alpha import reflection_pb2 as reflection

    asked = [
        reflection.ServerReflectionRequest(file_containing_symbol="no.such.Thing"),
        reflection.ServerReflectionRequest(file_by_filename="no/such.proto"),
        reflection.ServerReflectionRequest(list_services=""),
        reflection.ServerReflectionRequest(file_containing_symbol="inference.ModelInferRequest"),
    ]
    with channel(gateway) as one:
        call = one.stream_stream(
            f"/grpc.reflection.{path}.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection.ServerReflectionResponse.FromString,
        )
        answers = list(call(iter(asked), timeout=10))
    assert [answer.original_request for answer in answers] == asked
    for answer, part in zip(answers[:2], ("no symbol 'no.such.Thing'", "no file"), strict=True):
        assert answer.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
        assert part in answer.error_response.error_message
    assert answers[2].list_services_response.service
    assert answers[3].file_descriptor_response.file_descriptor_proto


@pytest.mark.parametrize(
    "service", ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"]
)
def test_reflection_defines_all_that_is_served(gateway: Gateway, service: str) -> None:
    with channel(gateway) as one:
        pool = DescriptorPool(ProtoReflectionDescriptorDatabase(one))
        assert pool.FindServiceByName(service).methods


def test_health_answers_compressed_checks(gateway: Gateway) -> None:
    with channel(gateway) as one:
        stub = health_pb2_grpc.HealthStub(one)
        asked = health_pb2.HealthCheckRequest(service="tiny")
        for call in (stub.Check, lambda *a, **k: next(stub.Watch(*a, **k))):
            answer = call(asked, timeout=10, compression=grpc.Compression.Gzip)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


# Compression


@pytest.mark.parametrize("kind", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compressed_requests_are_answered(gateway: Gateway, kind: grpc.Compression) -> None:
    x = np.tile(X, (200, 1))
    with channel(gateway) as one:
        response = stub(one).ModelInfer(
            oip.grpc_request("tiny", {"x": x}), timeout=10, compression=kind
        )
    np.testing.assert_allclose(oip.grpc_arrays(response)["y"], tiny_expected(x), rtol=1e-5)


SQUEEZE: dict[str, tuple[Any, Any]] = {
    "gzip": (gzip.compress, gzip.decompress),
    "deflate": (zlib.compress, zlib.decompress),
}


@pytest.mark.parametrize("encoding", SQUEEZE)
def test_answers_come_compressed_as_the_request_came(gateway: Gateway, encoding: str) -> None:
    squeeze, restore = SQUEEZE[encoding]
    x = np.zeros((500, 2), np.float32)
    message = oip.grpc_request("id_fp32", {"X": x}).SerializeToString()
    with http2.Client(gateway.grpc_port) as client:
        answer = client.call(
            http2.SERVICE + "ModelInfer",
            http2.grpc_frame(squeeze(message), compressed=True),
            ("grpc-encoding", encoding),
            ("grpc-accept-encoding", f"identity,{encoding}"),
        )
    assert answer.code == 0, answer
    assert answer.headers["grpc-encoding"] == encoding
    assert answer.data[0] == 1
    response = pb.ModelInferResponse.FromString(restore(answer.messages[0]))
    np.testing.assert_array_equal(oip.grpc_arrays(response)["Y"], x)


def test_answers_stay_plain_for_who_does_not_accept_compression(gateway: Gateway) -> None:
    message = oip.grpc_request("tiny", {"x": X}).SerializeToString()
    with http2.Client(gateway.grpc_port) as client:
        answer = client.call(
            http2.SERVICE + "ModelInfer",
            http2.grpc_frame(gzip.compress(message), compressed=True),
            ("grpc-encoding", "gzip"),
        )
    assert answer.code == 0
    assert answer.data[0] == 0


def test_unknown_compression_is_unimplemented_and_names_the_known(gateway: Gateway) -> None:
    with http2.Client(gateway.grpc_port) as client:
        answer = client.call(
            http2.SERVICE + "ModelInfer",
            http2.grpc_frame(b"xx", compressed=True),
            ("grpc-encoding", "snappy"),
        )
    assert answer.code == grpc.StatusCode.UNIMPLEMENTED.value[0]
    accepted = {**answer.headers, **answer.trailers}["grpc-accept-encoding"]
    assert {"gzip", "deflate"} <= {one.strip() for one in accepted.split(",")}


# Ids


def test_every_error_has_a_request_id_that_the_log_knows(gateway: Gateway) -> None:
    with channel(gateway) as one:
        request = oip.grpc_request("gather", {"I": np.array([99])})
        error = refusal(stub(one).ModelInfer, request)
        everything = dict(error.initial_metadata() or ()) | dict(error.trailing_metadata() or ())
    made = everything["x-request-id"]
    assert made
    wait_until(lambda: made in gateway.log(), 5, "the log names the request id of the error")


# ModelStreamInfer


def _streamed(gateway: Gateway, requests: list[pb.ModelInferRequest], **keywords: object) -> list:
    with channel(gateway) as one:
        return list(stub(one).ModelStreamInfer(iter(requests), timeout=30, **keywords))


def test_a_stream_answers_in_order_and_marks_the_final(gateway: Gateway) -> None:
    requests = [
        oip.grpc_request("tiny", {"x": X * (i % 9)}, request_id=f"n{i}") for i in range(300)
    ]
    answers = _streamed(gateway, requests)
    assert [one.infer_response.id for one in answers] == [f"n{i}" for i in range(300)]
    for i, one in enumerate(answers):
        assert not one.error_message
        assert one.infer_response.parameters["triton_final_response"].bool_param
        np.testing.assert_allclose(
            oip.grpc_arrays(one.infer_response)["y"], tiny_expected(X * (i % 9)), rtol=1e-5
        )


def test_a_stream_keeps_order_across_models_of_different_speed(gateway: Gateway) -> None:
    requests = [
        oip.grpc_request("slow", {"X": np.ones((1, 1), np.float32)}, request_id="slow"),
        oip.grpc_request("tiny", {"x": X}, request_id="fast"),
    ]
    assert [one.infer_response.id for one in _streamed(gateway, requests)] == ["slow", "fast"]


def test_an_error_in_a_stream_leaves_the_stream_open(gateway: Gateway) -> None:
    requests = [
        oip.grpc_request("tiny", {"x": X}, request_id="a"),
        oip.grpc_request("nowhere", {"x": X}, request_id="b"),
        oip.grpc_request("tiny", {"x": X[:, :2]}, request_id="c"),
        oip.grpc_request("tiny", {"x": X}, request_id="d"),
    ]
    a, b, c, d = _streamed(gateway, requests)
    assert not a.error_message
    assert "Request for unknown model" in b.error_message
    assert b.infer_response.id == "b"
    assert not b.infer_response.outputs
    assert "'x'" in c.error_message
    assert c.infer_response.id == "c"
    assert not d.error_message
    assert d.infer_response.outputs


def test_triton_grpc_error_turns_the_first_error_into_the_status(gateway: Gateway) -> None:
    requests = [
        oip.grpc_request("tiny", {"x": X}, request_id="a"),
        oip.grpc_request("nowhere", {"x": X}, request_id="b"),
        oip.grpc_request("tiny", {"x": X}, request_id="c"),
    ]
    with channel(gateway) as one:
        stream = stub(one).ModelStreamInfer(
            iter(requests), timeout=20, metadata=[("triton_grpc_error", "true")]
        )
        assert next(stream).infer_response.id == "a"
        with pytest.raises(grpc.RpcError) as caught:
            next(stream)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_an_empty_stream_ends_ok(gateway: Gateway) -> None:
    assert _streamed(gateway, []) == []


def test_a_stream_bounds_what_is_in_flight(start_gateway, repository) -> None:
    """With 2 in flight, the third request of a stream is not read before one is answered."""
    write(repository, "slow", slow(0.2), config=UNBATCHED)
    gateway = start_gateway(repository, {"limits.stream_in_flight": "2"})
    sent: list[int] = []
    answered = threading.Event()

    def requests():
        for i in range(40):
            sent.append(i)
            yield oip.grpc_request(
                "slow", {"X": np.zeros((2000, 1), np.float32)}, request_id=str(i)
            )

    with channel(gateway, **{"http2.lookahead_bytes": 1024}) as one:
        stream = stub(one).ModelStreamInfer(requests(), timeout=30)
        next(stream)
        answered.set()
        queued = gateway.stats("slow")["inference_stats"]["success"]["count"]
        depth = gateway.metric("serving_queue_requests", model="slow")
        assert depth <= 2, (depth, queued)
        stream.cancel()


def test_many_streams_and_unary_calls_share_a_connection(gateway: Gateway) -> None:
    with channel(gateway) as one:
        futures = [
            stub(one).ModelInfer.future(
                oip.grpc_request("tiny", {"x": X * (i % 9)}, request_id=str(i)), timeout=30
            )
            for i in range(200)
        ]
        for i, future in enumerate(futures):
            response = future.result()
            assert response.id == str(i)
            np.testing.assert_allclose(
                oip.grpc_arrays(response)["y"], tiny_expected(X * (i % 9)), rtol=1e-5
            )
