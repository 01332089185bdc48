"""Classify, Regress and MultiInference of TensorFlow Serving's gRPC service: models of ONNX with
signatures that their configuration names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from serving.wire import tf_messages, tfs_messages
from tests.clients.gateway import Gateway
from tests.clients.tf_records import PREDICT, SESSION_RUN, log, write_warmup
from tests.clients.tfs import array_of, model_spec, predict_request, stub
from tests.clients.triton import channel, refusal
from tests.small_models import (
    EXAMPLES_PBTXT,
    gather,
    identity,
    lay_examples,
    scale,
    tiny,
    tiny_expected,
    write,
)

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"
X = np.array([[1, 2, 3, 4], [4, -3, 2, 1], [0, 0, 0, 0]], np.float32)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("examples")
    repository = folder / "repository"
    repository.mkdir()
    lay_examples(repository)
    write(repository, "texts", identity("BYTES", ("n", 1)), yaml=_yaml("classify", "classes: Y"))
    write(repository, "numbers", identity("INT16", ("n",)), yaml=_yaml("classify", "classes: Y"))
    gateway = Gateway(repository, folder / "gateway")
    try:
        yield gateway.wait_ready()
    finally:
        gateway.finish()


def _yaml(method: str, gives: str) -> str:
    return f"signatures: {{s: {{method: {method}, {gives}}}}}\n"


def fill(feature: Any, values: Sequence[Any]) -> None:
    """The list that TensorFlow's own clients put values of that type in."""
    first = values[0]
    if isinstance(first, (str, bytes)):
        texts = [one.encode() if isinstance(one, str) else one for one in values]
        feature.bytes_list.value.extend(texts)
    elif isinstance(first, float):
        feature.float_list.value.extend(values)
    else:
        feature.int64_list.value.extend(values)


def example(**features: Sequence[Any]) -> Any:
    made = tf_messages.Example()
    for name, values in features.items():
        fill(made.features.feature[name], values)
    return made


def rows(x: np.ndarray) -> list[Any]:
    return [example(x=row.tolist()) for row in x]


def asking(kind: str, spec: Any, examples: Sequence[Any], context: Any = None) -> Any:
    request = getattr(tfs_messages, kind)(model_spec=spec)
    if context is None:
        request.input.example_list.examples.extend(examples)
    else:
        request.input.example_list_with_context.examples.extend(examples)
        request.input.example_list_with_context.context.CopyFrom(context)
    return request


def classify(spec: Any, examples: Sequence[Any], context: Any = None) -> Any:
    return asking("ClassificationRequest", spec, examples, context)


def regress(spec: Any, examples: Sequence[Any], context: Any = None) -> Any:
    return asking("RegressionRequest", spec, examples, context)


def answered(gateway: Gateway, method: str, request: Any) -> Any:
    with channel(gateway) as one:
        return stub(one, method)(request, timeout=20)


def refused(gateway: Gateway, method: str, request: Any) -> tuple[str, str]:
    with channel(gateway) as one:
        error: Any = refusal(stub(one, method), request)
    return error.code().name, error.details()


def _pairs(result: Any) -> list[list[tuple[str, float]]]:
    return [[(one.label, one.score) for one in row.classes] for row in result.classifications]


@pytest.mark.parametrize("signature", ["kinds", ""])
def test_each_example_gets_its_classes_with_labels_and_scores(
    models: Gateway, signature: str
) -> None:
    said = answered(models, "Classify", classify(model_spec("tiny", 1, signature), rows(X)))
    assert said.model_spec == model_spec("tiny", 1, "kinds")
    expected = tiny_expected(X)
    for row, found in zip(expected, _pairs(said.result), strict=True):
        assert [label for label, _ in found] == ["cat", "big dog", "fish"]
        np.testing.assert_allclose([score for _, score in found], row, rtol=1e-6)


def test_classes_may_be_an_output_of_texts_or_integers(models: Gateway) -> None:
    request = classify(model_spec("texts"), [example(X=["é"]), example(X=["b c"])])
    said = answered(models, "Classify", request)
    assert _pairs(said.result) == [[("é", 0.0)], [("b c", 0.0)]]
    request = classify(model_spec("numbers"), [example(X=[-7]), example(X=[3])])
    said = answered(models, "Classify", request)
    assert _pairs(said.result) == [[("-7", 0.0)], [("3", 0.0)]]


def test_each_example_gets_its_value(models: Gateway) -> None:
    examples = [example(X=[1.5]), example(X=[-2.0]), example(X=[3])]
    said = answered(models, "Regress", regress(model_spec("double", None, "values"), examples))
    assert [one.value for one in said.result.regressions] == [3.0, -4.0, 6.0]
    assert said.model_spec == model_spec("double", 1, "values")


def test_a_context_is_merged_into_each_example(models: Gateway) -> None:
    request = regress(model_spec("double"), [example(other=[1]), example()], example(X=[2.5]))
    said = answered(models, "Regress", request)
    assert [one.value for one in said.result.regressions] == [5.0, 5.0]
    request = regress(model_spec("double"), [example(X=[1.0])], example(X=[2.5]))
    assert refused(models, "Regress", request) == (
        "INVALID_ARGUMENT",
        "Key: X, Index: 0.  The feature stands in the example and in its context",
    )


def test_several_inferences_are_one_run_and_come_in_order(models: Gateway) -> None:
    request = tfs_messages.MultiInferenceRequest()
    request.tasks.add(model_spec=model_spec("double", None, "values"), method_name=REGRESS)
    request.tasks.add(model_spec=model_spec("double", None, "scores"), method_name=CLASSIFY)
    request.input.example_list.examples.extend([example(X=[1.0]), example(X=[2.0])])
    before = int(models.stats("double")["execution_count"])
    said = answered(models, "MultiInference", request)
    assert int(models.stats("double")["execution_count"]) == before + 1
    first, second = said.results
    assert first.model_spec == model_spec("double", 1, "values")
    assert second.model_spec == model_spec("double", 1, "scores")
    assert [one.value for one in first.regression_result.regressions] == [2.0, 4.0]
    assert _pairs(second.classification_result) == [[("", 2.0)], [("", 4.0)]]


def test_requests_for_examples_and_tensors_are_answered_alike_under_load(models: Gateway) -> None:
    def ask(i: int) -> bool:
        x = np.full((1 + i % 3, 4), i / 8, np.float32)
        said = answered(models, "Classify", classify(model_spec("tiny"), rows(x)))
        found = np.array([[score for _, score in row] for row in _pairs(said.result)])
        answer = answered(models, "Predict", predict_request("tiny", {"x": x}))
        np.testing.assert_allclose(found, array_of(answer.outputs["y"]), rtol=1e-5)
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(48)))


def _definitions(gateway: Gateway, model: str) -> list[Any]:
    request = tfs_messages.GetModelMetadataRequest(
        model_spec=model_spec(model), metadata_field=["signature_def"]
    )
    said = answered(gateway, "GetModelMetadata", request)
    packed = said.metadata["signature_def"].value
    found = tfs_messages.SignatureDefMap.FromString(packed).signature_def
    names = sorted(found, key=lambda name: (name != "serving_default", name))
    return [found[name] for name in names]


def test_metadata_lists_the_signatures_with_their_methods(models: Gateway) -> None:
    default, scores, values = _definitions(models, "double")
    assert default.method_name == "tensorflow/serving/predict"
    assert (scores.method_name, values.method_name) == (CLASSIFY, REGRESS)
    types = tf_messages.enum("DataType")
    for definition, output in ((scores, "scores"), (values, "outputs")):
        assert list(definition.outputs) == [output]
        assert definition.outputs[output].dtype == types["DT_FLOAT"]
        assert definition.outputs[output].name == "Y:0"
        assert definition.inputs["inputs"].dtype == types["DT_STRING"]
        assert [dim.size for dim in definition.inputs["inputs"].tensor_shape.dim] == [-1]


ONE = [example(x=[1.0, 2.0, 3.0, 4.0])]
EXPECTED = "Expected {} signature method_name to be {}. Was: {}"
WRONG: dict[str, tuple[str, Any, str, str]] = {
    "an unknown signature": (
        "Classify",
        classify(model_spec("tiny", None, "nope"), ONE),
        "FAILED_PRECONDITION",
        'Serving signature key "nope" not found.',
    ),
    "a signature of another method": (
        "Regress",
        regress(model_spec("tiny", None, "kinds"), ONE),
        "INVALID_ARGUMENT",
        EXPECTED.format("regression", REGRESS, CLASSIFY),
    ),
    "the default signature": (
        "Classify",
        classify(model_spec("tiny", None, "serving_default"), ONE),
        "INVALID_ARGUMENT",
        EXPECTED.format("classification", CLASSIFY, "tensorflow/serving/predict"),
    ),
    "a signature of examples by Predict": (
        "Predict",
        predict_request("tiny", {"x": X}, signature="kinds"),
        "FAILED_PRECONDITION",
        'Serving signature key "kinds" not found.',
    ),
    "no examples": (
        "Classify",
        classify(model_spec("tiny"), []),
        "INVALID_ARGUMENT",
        "Input is empty.",
    ),
    "a feature that is missing": (
        "Classify",
        classify(model_spec("tiny"), [example(y=[1.0])]),
        "INVALID_ARGUMENT",
        "Feature: x (data type: float) is required but could not be found.",
    ),
    "a feature of another type": (
        "Classify",
        classify(model_spec("tiny"), [example(x=["a"])]),
        "INVALID_ARGUMENT",
        "Data types don't match. Data type: string but expected type: float",
    ),
    "a feature of another length": (
        "Classify",
        classify(model_spec("tiny"), [*ONE, example(x=[1.0])]),
        "INVALID_ARGUMENT",
        "Number of float values != expected.  Values size: 1 but output shape: [4]",
    ),
    "an unknown model": (
        "Classify",
        classify(model_spec("nowhere"), ONE),
        "NOT_FOUND",
        "Servable not found for request: Latest(nowhere)",
    ),
    "an unknown version": (
        "Classify",
        classify(model_spec("tiny", 9), ONE),
        "NOT_FOUND",
        "Servable not found for request: Specific(tiny, 9)",
    ),
    "an unknown label": (
        "Regress",
        regress(model_spec("tiny", "canary"), ONE),
        "INVALID_ARGUMENT",
        "Unrecognized servable version label: canary",
    ),
    "no model": ("Classify", classify(None, ONE), "INVALID_ARGUMENT", "Missing ModelSpec"),
    "no name": (
        "Regress",
        regress(model_spec(""), ONE),
        "INVALID_ARGUMENT",
        "ModelSpec has no name specified.",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_in_the_originals_words(models: Gateway, case: str) -> None:
    method, request, code, words = WRONG[case]
    found, told = refused(models, method, request)
    assert (found, words in told) == (code, True), told


def test_fault_102_a_context_may_not_be_repeated_beyond_the_limit(models: Gateway) -> None:
    """1.6 MB of message that would be 160 GB of tensors."""
    context = example(x=[1.0] * 100_000)
    request = classify(model_spec("tiny"), [example()] * 200_000, context)
    code, words = refused(models, "Classify", request)
    assert code == "RESOURCE_EXHAUSTED"
    assert "the context, repeated for each of 200000 examples" in words


def test_fault_47_bytes_that_are_no_message(models: Gateway) -> None:
    with channel(models) as one:
        for method in ("Classify", "Regress", "MultiInference"):
            call = one.unary_unary(f"/tensorflow.serving.PredictionService/{method}")
            for bad in (b"\xff", b"\x0a\x05", b"\x12\x04\x0a\x02\x0a\x05"):
                with pytest.raises(grpc.RpcError) as error:
                    call(bad, timeout=20)
                assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT


REFUSED: dict[str, tuple[Any, str, str]] = {
    "input": (tiny(), "inputs: [z], scores: y", "the model has no input 'z'"),
    "output": (tiny(), "scores: z", "the model has no output 'z'"),
    "half": (identity("FP16"), "classes: Y", "input 'X' is FP16, which no feature"),
    "rank": (identity("FP32", ("n", 2, 2)), "scores: Y", "one dimension beside the examples'"),
    "fixed": (identity("FP32", (3, 2)), "scores: Y", "axis 0 must vary"),
    "classes": (tiny(), "classes: y", "output 'y' is FP32, classes are BYTES or integers"),
}


def test_a_signature_that_does_not_fit_its_model_is_a_failed_load(
    start_gateway: Any, repository: Path
) -> None:
    for name, (made, gives, _) in REFUSED.items():
        write(repository, name, made, yaml=_yaml("classify", gives))
    index = start_gateway(repository).index()
    for name, (_, _, words) in REFUSED.items():
        said = index[name, "1"]["reason"]
        assert ("signature 's'" in said, words in said) == (True, True), said


def test_logged_requests_are_run_before_a_version_serves(
    start_gateway: Any, repository: Path
) -> None:
    def lay(name: str, index: int) -> None:
        version = write(repository.parent / "made", name, gather())
        good = predict_request("another", {"I": np.array([3, 4])})
        other = predict_request("another", {"I": np.array([0, index])})
        write_warmup(version, [log(PREDICT, good), log(SESSION_RUN, b""), log(PREDICT, other)])
        version.parent.rename(repository / name)

    (repository.parent / "made").mkdir()
    lay("good", 9)
    lay("bad", 10)
    gateway = start_gateway(repository, {"loading.trial": "on"})
    index = gateway.index()
    assert index["good", "1"]["state"] == "READY"
    said = index["bad", "1"]["reason"]
    assert "record 2 of assets.extra/tf_serving_warmup_requests failed" in said
    assert gateway.metric("serving_trial_total", outcome="refused") == 1, "by the trial"
    assert gateway.metric("serving_trial_total", outcome="passed") == 1
    (note,) = [one for one in gateway.events("load_note") if one["model"] == "good"]
    assert "1 of the records" in note["note"]
    assert "session_run_log" in note["note"]


# REST


def test_rest_answers_examples_as_pairs_and_values(models: Gateway) -> None:
    path = "/v1/models/tiny/versions/1:classify"
    said = models.post(path, {"examples": [{"x": row.tolist()} for row in X]})
    assert (said.status, said.headers["x-model-version"]) == (200, "1")
    expected = tiny_expected(X)
    for row, found in zip(expected, said.json()["results"], strict=True):
        assert [label for label, _ in found] == ["cat", "big dog", "fish"]
        np.testing.assert_allclose([score for _, score in found], row, rtol=1e-6)
    body = {"signature_name": "values", "context": {"X": 2.5}, "examples": [{}, {"other": "a"}]}
    assert models.post("/v1/models/double:regress", body).json() == {"results": [5.0, 5.0]}
    texts = {"examples": [{"X": {"b64": "w6k="}}, {"X": ["plain"]}]}
    said = models.post("/v1/models/texts:classify", texts)
    assert said.json() == {"results": [[["é", 0.0]], [["plain", 0.0]]]}


REST_WRONG: dict[str, tuple[str, Any, int, str]] = {
    "no examples": ("tiny:classify", {}, 400, "key 'examples' is expected and was not found"),
    "examples that are no list": (
        "tiny:classify",
        {"examples": {}},
        400,
        "Expecting 'examples' value to be an list/array",
    ),
    "an empty list": ("tiny:regress", {"examples": []}, 400, "'examples' value is an empty array"),
    "a signature": (
        "tiny:classify",
        {"signature_name": "z", "examples": [{"x": [1.0, 2.0, 3.0, 4.0]}]},
        400,
        'Serving signature name: "z" not found in signature def',
    ),
    "a signature that prediction does not answer": (
        "double:predict",
        {"signature_name": "values", "instances": [[1.0]]},
        400,
        'Serving signature name: "values" has the method tensorflow/serving/regress',
    ),
    "a method": (
        "tiny:regress",
        {"examples": [{"x": [1.0, 2.0, 3.0, 4.0]}]},
        400,
        EXPECTED.format("regression", REGRESS, "tensorflow/serving/predict"),
    ),
    "a feature": (
        "tiny:classify",
        {"examples": [{"x": [None]}]},
        400,
        "Feature: x has element with unexpected JSON type: Null",
    ),
    "a length": (
        "tiny:classify",
        {"examples": [{"x": [1.0]}]},
        400,
        "Number of float values != expected.  Values size: 1 but output shape: [4]",
    ),
    "a model": (
        "nowhere:classify",
        {"examples": [{"x": 1}]},
        404,
        "Servable not found for request: Latest(nowhere)",
    ),
    "a version": (
        "tiny/versions/9:classify",
        {"examples": [{"x": 1}]},
        404,
        "Servable not found for request: Specific(tiny, 9)",
    ),
    "a label": (
        "tiny/labels/stable:classify",
        {"examples": [{"x": 1}]},
        400,
        "Unrecognized servable version label: stable",
    ),
}


@pytest.mark.parametrize("case", REST_WRONG)
def test_rest_tells_what_is_wrong_in_the_originals_words(models: Gateway, case: str) -> None:
    path, body, status, words = REST_WRONG[case]
    said = models.post(f"/v1/models/{path}", body)
    assert (said.status, words in said.json()["error"]) == (status, True), said.body


def test_metrics_are_told_under_the_originals_names_where_that_is_set(
    models: Gateway, start_gateway: Any, repository: Path
) -> None:
    path = "/monitoring/prometheus/metrics"
    said = models.get(path)
    assert (said.status, "tensorflow_serving.metrics" in said.json()["error"]) == (404, True)
    write(repository, "m", scale(2, ("n", 1)), config=EXAMPLES_PBTXT)
    gateway = start_gateway(repository, {"tensorflow_serving.metrics": "true"})
    answered(gateway, "Regress", regress(model_spec("m"), [example(X=[1.0])]))
    gateway.post("/v1/models/m:predict", {"instances": [["a"]]})
    said = gateway.get(path)
    assert said.headers["content-type"].startswith("text/plain")
    lines = said.body.decode().splitlines()
    of, name = 'model_name="m"', ":tensorflow:serving:"
    for expected in (
        f"# TYPE {name}request_count counter",
        f'{name}request_count{{{of},status="OK"}} 1',
        f'{name}request_count{{{of},status="INVALID_ARGUMENT"}} 1',
        f'{name}request_latency_count{{{of},API="Predict",entrypoint="GRPC"}} 1',
        f'{name}runtime_latency_count{{{of},API="Predict",runtime="ONNXRuntime"}} 1',
    ):
        assert expected in lines
