"""TensorFlow Serving's calls that Python answers, driven with the bytes of real messages."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from serving.errors import ErrorCode
from serving.model_config import ModelConfig
from serving.model_config.schema import SignatureConfig
from serving.models.state import State
from serving.protocols.tensorflow_serving import DTYPES, STATES, listed, signatures
from serving.signature import DATATYPES, Signature, Tensor
from serving.wire import tf_messages, tfs_messages
from tests.unit.protocol_views import Models, RecordedCall, call, failed, model, version

PREDICTION = "tensorflow.serving.PredictionService"
MODEL = "tensorflow.serving.ModelService"
SCALED = Signature(
    inputs=(
        Tensor("x", "FP32", (-1, 4), dim_names=("batch", "4")),
        Tensor("k", "INT64", (), optional=True),
        Tensor("z", "BYTES", (-1,), dim_names=("n",), described=(-1, 1)),
    ),
    outputs=(Tensor("y", "BF16", (-1, -1), dim_names=("", "m")),),
)
LABELLED = model("labelled", version(1), version(2), failed(3, "it is broken"))
MODELS = Models(
    model("m", version(1), version(2), failed(3, "it is broken")),
    model("n", version(7, signature=SCALED)),
    model("none"),
    replace(LABELLED, route=replace(LABELLED.route, aliases={"stable": 1, "next": 3, "gone": 9})),
)


def asked(service: str, method: str, request: Any) -> RecordedCall:
    body = request if isinstance(request, bytes) else request.SerializeToString()
    return call(MODELS, RecordedCall("grpc", method, body=body, service=service))


def spec(name: str, number: int | None = None, label: str = "") -> Any:
    message = tfs_messages.ModelSpec(name=name)
    if number is not None:
        message.version.value = number
    if label:
        message.version_label = label
    return message


def metadata(*fields: str, **named: Any) -> Any:
    request = tfs_messages.GetModelMetadataRequest(model_spec=spec(**named), metadata_field=fields)
    return asked(PREDICTION, "GetModelMetadata", request)


def test_signatures_for_examples_are_listed_as_their_clients_know_them() -> None:
    outputs = (
        Tensor("y", "INT64", (-1,)),
        Tensor("p", "FP32", (-1, 3)),
        Tensor("v", "FP64", (-1,)),
    )
    named = (
        SignatureConfig("kinds", "classify", classes="y", scores="p"),
        SignatureConfig("price", "regress", output="v"),
    )
    facts = {
        "signature": Signature((Tensor("x", "FP32", (-1, 4)),), outputs),
        "config": ModelConfig(signatures=named),
    }
    found = signatures(version(1, **facts)).signature_def
    assert set(found) == {"serving_default", "kinds", "price"}
    types = {number: name for name, number in tf_messages.enum("DataType").items()}

    def told(tensors: Any) -> dict[str, tuple[str, str, list[int]]]:
        return {
            role: (info.name, types[info.dtype], [dim.size for dim in info.tensor_shape.dim])
            for role, info in tensors.items()
        }

    for name, method, gives in (
        (
            "kinds",
            "classify",
            {"classes": ("y:0", "DT_STRING", [-1]), "scores": ("p:0", "DT_FLOAT", [-1, 3])},
        ),
        ("price", "regress", {"outputs": ("v:0", "DT_FLOAT", [-1])}),
    ):
        assert found[name].method_name == f"tensorflow/serving/{method}"
        assert told(found[name].inputs) == {"inputs": ("input_example_tensor:0", "DT_STRING", [-1])}
        assert told(found[name].outputs) == gives


def status(**named: Any) -> RecordedCall:
    request = tfs_messages.GetModelStatusRequest(model_spec=spec(**named))
    return asked(MODEL, "GetModelStatus", request)


def test_a_label_leads_to_its_version() -> None:
    assert numbers(status(name="labelled", label="stable")) == [(1, "AVAILABLE", 0, "")]
    assert numbers(status(name="labelled", label="next")) == [(3, "END", 2, "it is broken")]
    done = metadata("signature_def", name="labelled", label="stable")
    assert done.answer is not None, done.failure
    said = tfs_messages.GetModelMetadataResponse.FromString(done.answer)
    assert said.model_spec == spec("labelled", 1)


def test_every_datatype_and_state_has_a_word_that_the_protocol_knows() -> None:
    assert set(DTYPES) == set(DATATYPES)
    assert set(DTYPES.values()) < set(tf_messages.enum("DataType"))
    assert set(STATES) == set(State)
    assert set(STATES.values()) < set(tfs_messages.enum("ModelVersionStatus.State"))


def test_metadata_has_names_types_and_dimensions() -> None:
    done = metadata("signature_def", name="n")
    assert done.answer is not None, done.failure
    said = tfs_messages.GetModelMetadataResponse.FromString(done.answer)
    assert said.model_spec == spec("n", 7)
    found = tfs_messages.SignatureDefMap.FromString(said.metadata["signature_def"].value)
    definition = found.signature_def["serving_default"]

    def told(info: Any) -> tuple[str, str, list[tuple[int, str]]]:
        assert info.HasField("tensor_shape")
        dims = [(dim.size, dim.name) for dim in info.tensor_shape.dim]
        return info.name, DTYPE_NAMES[info.dtype], dims

    assert {name: told(info) for name, info in definition.inputs.items()} == {
        "x": ("x:0", "DT_FLOAT", [(-1, "batch"), (4, "")]),
        "k": ("k:0", "DT_INT64", []),
        "z": ("z:0", "DT_STRING", [(-1, ""), (1, "")]),
    }
    assert told(definition.outputs["y"]) == ("y:0", "DT_BFLOAT16", [(-1, ""), (-1, "m")])


DTYPE_NAMES = {number: name for name, number in tf_messages.enum("DataType").items()}


def numbers(done: RecordedCall) -> list[tuple[int, str, int, str]]:
    assert done.answer is not None, done.failure
    names = {v: k for k, v in tfs_messages.enum("ModelVersionStatus.State").items()}
    said = tfs_messages.GetModelStatusResponse.FromString(done.answer)
    return [
        (one.version, names[one.state], one.status.error_code, one.status.error_message)
        for one in said.model_version_status
    ]


def test_status_is_told_of_the_newest_first() -> None:
    assert numbers(status(name="m")) == [
        (3, "END", 2, "it is broken"),
        (2, "AVAILABLE", 0, ""),
        (1, "AVAILABLE", 0, ""),
    ]
    assert numbers(status(name="m", number=1)) == [(1, "AVAILABLE", 0, "")]
    assert numbers(status(name="m", number=3)) == [(3, "END", 2, "it is broken")]


@pytest.mark.parametrize(
    ("states", "shown"),
    [
        ({1: State.READY, 2: State.FAILED}, [2, 1]),
        ({1: State.FAILED, 2: State.READY}, [2]),
        ({1: State.FAILED, 2: State.READY, 3: State.FAILED}, [3, 2]),
        ({1: State.FAILED, 2: State.FAILED}, [2, 1]),
        ({1: State.FAILED, 2: State.LOADING}, [2, 1]),
        ({1: State.LOADING, 2: State.READY}, [2, 1]),
        ({1: State.DRAINING, 2: State.READY}, [2, 1]),
    ],
)
def test_a_failed_version_is_listed_until_a_higher_one_answers(
    states: dict[int, State], shown: list[int]
) -> None:
    versions = tuple(version(number, state=state) for number, state in states.items())
    assert [one.number for one in listed(versions)] == shown


@pytest.mark.parametrize(
    ("done", "code", "words"),
    [
        (status(name="x"), ErrorCode.NOT_FOUND, "Could not find any versions of model x"),
        (status(name="none"), ErrorCode.NOT_FOUND, "Could not find any versions of model none"),
        (status(name="m", number=9), ErrorCode.NOT_FOUND, "Could not find version 9 of model m"),
        (status(name="m", number=-1), ErrorCode.NOT_FOUND, "Could not find version -1 of model m"),
        (status(name=""), ErrorCode.BAD_REQUEST, "ModelSpec has no name specified."),
        (status(name="m", label="a"), ErrorCode.BAD_REQUEST, "servable version label: a"),
        (status(name="x", label="a"), ErrorCode.BAD_REQUEST, "servable version label: a"),
        (status(name="labelled", label="gone"), ErrorCode.NOT_FOUND, "find version 9 of model lab"),
        (metadata(name="m"), ErrorCode.BAD_REQUEST, "at least one metadata_field"),
        (metadata("graph", name="m"), ErrorCode.BAD_REQUEST, "field graph is not supported"),
        (metadata("signature_def", name="x"), ErrorCode.NOT_FOUND, "for request: Latest(x)"),
        (
            metadata("signature_def", name="m", number=9),
            ErrorCode.NOT_FOUND,
            "for request: Specific(m, 9)",
        ),
        (
            metadata("signature_def", name="m", number=0),
            ErrorCode.NOT_FOUND,
            "for request: Specific(m, 0)",
        ),
        (metadata("signature_def", name="m", number=3), ErrorCode.UNAVAILABLE, "it is broken"),
        (metadata("signature_def", name="m", label="a"), ErrorCode.BAD_REQUEST, "label: a"),
        (metadata("signature_def", name="x", label="a"), ErrorCode.BAD_REQUEST, "label: a"),
        (
            metadata("signature_def", name="labelled", label="gone"),
            ErrorCode.NOT_FOUND,
            "Servable not found for request: Specific(labelled, 9): Request for unknown model: 'l",
        ),
        (metadata("signature_def", name="labelled", label="1"), ErrorCode.BAD_REQUEST, "label: 1"),
        (
            metadata("signature_def", name="labelled", label="next"),
            ErrorCode.UNAVAILABLE,
            "version 3 is not at ready state: could not be loaded: it is broken",
        ),
        (asked(MODEL, "GetModelStatus", b""), ErrorCode.BAD_REQUEST, "Missing ModelSpec"),
        (asked(MODEL, "GetModelStatus", b"\xff"), ErrorCode.BAD_REQUEST, "not a valid GetModel"),
        (asked(MODEL, "GetModelStatus", b"\0" * 70_000), ErrorCode.TOO_LARGE, "at most 65536"),
        (asked(PREDICTION, "Nothing", b""), ErrorCode.UNIMPLEMENTED, "Nothing is not supported"),
        (asked(MODEL, "HandleReloadConfigRequest", b""), ErrorCode.UNAVAILABLE, "not allowed"),
    ],
)
def test_refusals_have_the_originals_words(done: RecordedCall, code: str, words: str) -> None:
    assert done.failure is not None
    assert (done.failure[0], words in done.failure[1]) == (code, True), done.failure
