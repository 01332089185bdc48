"""The RPCs that Python answers, driven with the bytes of real messages."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from serving import __version__
from serving.errors import ErrorCode
from serving.wire import messages
from tests.unit.protocol_views import Counted, Models, RecordedCall, call, failed, model, version

MODELS = Models(
    model("m", version(1), version(2), failed(3, "it is broken")),
    model("n", version(7, stats=Counted({"inference_count": 4}))),
)


def done(method: str, body: bytes) -> RecordedCall:
    return call(MODELS, RecordedCall("grpc", method, body=body))


def rpc(method: str, **fields: Any) -> Any:
    """The response message, or the error as (word, message)."""
    request = getattr(messages, f"{method}Request")(**fields)
    answered = done(method, request.SerializeToString())
    if answered.failure is not None:
        return answered.failure[:2]
    assert answered.answer is not None
    return getattr(messages, f"{method}Response").FromString(answered.answer)


def test_server_metadata() -> None:
    found = rpc("ServerMetadata")

    assert (found.name, found.version) == ("serving", __version__)
    assert "statistics" in found.extensions


def test_model_metadata() -> None:
    found = rpc("ModelMetadata", name="m")

    assert list(found.versions) == ["1", "2"]
    assert [(t.name, t.datatype, list(t.shape)) for t in found.inputs] == [
        ("x", "FP32", [-1, 4]),
        ("k", "INT64", []),
    ]
    assert list(rpc("ModelMetadata", name="m", version="2").versions) == ["2"]


def test_a_version_may_be_named_by_its_alias() -> None:
    aliased = model("a", version(1), version(2))
    aliased = replace(aliased, route=replace(aliased.route, aliases={"stable": 1, "gone": 9}))
    models = Models(aliased)

    def ask(method: str, name: str) -> Any:
        body = getattr(messages, f"{method}Request")(name="a", version=name).SerializeToString()
        answered = call(models, RecordedCall("grpc", method, body=body))
        return answered.failure or getattr(messages, f"{method}Response").FromString(
            answered.answer or b""
        )

    assert list(ask("ModelMetadata", "stable").versions) == ["1"]
    assert [one.version for one in ask("ModelStatistics", "stable").model_stats] == ["1"]
    assert ask("ModelConfig", "stable").config.name == "a"
    assert ask("ModelMetadata", "gone")[0] == ErrorCode.NOT_FOUND
    assert ask("ModelMetadata", "other")[0] == ErrorCode.BAD_REQUEST


def test_model_config() -> None:
    found = rpc("ModelConfig", name="m").config

    assert found.name == "m"
    assert list(found.input[0].dims) == [-1, 4]
    assert not found.HasField("sequence_batching")
    assert not found.HasField("model_transaction_policy")


def test_model_statistics() -> None:
    every = rpc("ModelStatistics").model_stats
    assert [(s.name, s.version) for s in every] == [("m", "1"), ("m", "2"), ("n", "7")]

    (one,) = rpc("ModelStatistics", name="n", version="7").model_stats
    assert one.inference_count == 4
    assert one.inference_stats.HasField("cache_miss")


def test_repository_index() -> None:
    every = rpc("RepositoryIndex").models
    assert [(m.version, m.state, m.reason) for m in every] == [
        ("1", "READY", ""),
        ("2", "READY", ""),
        ("3", "UNAVAILABLE", "it is broken"),
        ("7", "READY", ""),
    ]
    assert len(rpc("RepositoryIndex", ready=True).models) == 3
    assert rpc("RepositoryIndex", repository_name="r")[0] is ErrorCode.UNIMPLEMENTED


def test_the_index_of_a_thousand_models_fits_into_a_message_many_times() -> None:
    names = [f"model-{at:04d}" for at in range(1000)]
    fleet = Models(*(model(name, version(1)) for name in names))
    answered = call(fleet, RecordedCall("grpc", "RepositoryIndex", body=b""))
    assert answered.answer is not None
    # gRPC's clients take 4 MiB unless told otherwise.
    assert len(answered.answer) < 100_000
    found = messages.RepositoryIndexResponse.FromString(answered.answer)
    assert [entry.name for entry in found.models] == names


@pytest.mark.parametrize("method", ["ModelMetadata", "ModelConfig", "ModelStatistics"])
def test_what_is_named_must_exist_and_be_ready(method: str) -> None:
    assert rpc(method, name="x") == (
        ErrorCode.NOT_FOUND,
        "Request for unknown model: 'x' is not found; known models: 'm', 'n'",
    )
    assert rpc(method, name="m", version="9")[0] is ErrorCode.NOT_FOUND
    assert rpc(method, name="m", version="3")[0] is ErrorCode.UNAVAILABLE
    word, message = rpc(method, name="m", version="3abc")
    assert word is ErrorCode.BAD_REQUEST
    assert "failed to get model version from specified version string '3abc'" in message
    assert rpc(method, name="m", version="-1")[0] is ErrorCode.BAD_REQUEST


def test_a_name_that_is_too_long_for_any_model_is_refused() -> None:
    word, message = rpc("ModelMetadata", name="\n" * 5000)

    assert word is ErrorCode.BAD_REQUEST
    assert message == "the model's name has 5000 bytes, at most 255 are accepted"


@pytest.mark.parametrize("name", ["../m", "a/b", "m\x00", "\n" * 255])
def test_fault_61_a_name_that_looks_like_a_path_is_just_unknown(name: str) -> None:
    word, message = rpc("ModelMetadata", name=name)

    assert word is ErrorCode.NOT_FOUND
    assert message.isprintable()
    assert len(message) < 400


@pytest.mark.parametrize("method", ["RepositoryModelLoad", "RepositoryModelUnload"])
def test_loading_by_call_is_refused_while_directories_are_followed(method: str) -> None:
    word, message = rpc(method, model_name="m")

    assert word is ErrorCode.UNAVAILABLE
    assert message == "explicit model load / unload is not allowed if polling is enabled"


@pytest.mark.parametrize(
    "method",
    [
        "TraceSetting",
        "LogSettings",
        "NoSuchMethod",
    ],
)
def test_unbuilt_rpcs_are_unimplemented(method: str) -> None:
    answered = done(method, b"")

    assert answered.failure is not None
    assert answered.failure[:2] == (ErrorCode.UNIMPLEMENTED, f"{method} is not supported")


@pytest.mark.parametrize(
    "body", [b"\x0a\xff", b"\x0a\x02\xff\xfe", b"\x0b" * 10_000, b"\xff" * 100]
)
def test_fault_47_a_malformed_message_is_a_bad_request(body: bytes) -> None:
    answered = done("ModelMetadata", body)

    assert answered.failure is not None
    assert answered.failure[0] is ErrorCode.BAD_REQUEST


def test_every_rpc_of_the_service_has_a_way_out() -> None:
    service = messages.pool.FindServiceByName("inference.GRPCInferenceService")

    for method in service.methods:
        request = getattr(messages, method.input_type.name)()
        done(method.name, request.SerializeToString())


def test_a_large_message_is_not_parsed() -> None:
    answered = done(
        "ModelMetadata", messages.ModelMetadataRequest(name="x" * 70_000).SerializeToString()
    )

    assert answered.failure is not None
    assert answered.failure[0] is ErrorCode.TOO_LARGE


def test_a_load_with_a_whole_model_in_it_is_refused_for_what_it_is() -> None:
    word, _ = rpc("RepositoryModelLoad", model_name="x" * 70_000)

    assert word is ErrorCode.UNAVAILABLE
