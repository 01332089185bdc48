"""TensorFlow Serving's gRPC services, called with real messages."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from serving.wire import tf_messages, tfs_messages
from tests.clients import forked, http2, oip
from tests.clients.busy import line
from tests.clients.forms import Question
from tests.clients.gateway import Gateway, wait_until
from tests.clients.tfs import (
    MODELS,
    PREDICTION,
    array_of,
    model_spec,
    over_predict,
    predict_request,
    stub,
    tensor_proto,
)
from tests.clients.tfs_rest import post
from tests.clients.triton import channel, refusal
from tests.clients.triton import stub as oip_stub
from tests.clients.witness import MIB, Witness
from tests.small_models import UNBATCHED, scale, slow, tiny_expected, write

X = np.array([[1, 2, 3, 4], [0, 0, 0, 0]], np.float32)
ROW = np.zeros((1, 1), np.float32)
PAIR = {"INPUT0": np.full((1, 4), 5, np.int32), "INPUT1": np.ones((1, 4), np.int32)}


def predict(gateway: Gateway, request: Any, **keywords: Any) -> Any:
    with channel(gateway) as one:
        return stub(one, "Predict")(request, timeout=20, **keywords)


def refused(gateway: Gateway, request: Any, method: str = "Predict", of: str = PREDICTION) -> Any:
    with channel(gateway) as one:
        error: Any = refusal(stub(one, method, of=of), request)
    return error


def test_an_answer_names_the_version_that_answered_and_its_signature(gateway: Gateway) -> None:
    x = np.array([[1, 2]], np.float32)
    for version, factor in ((1, 1), (2, 2), (7, 7), (None, 7)):
        said = predict(gateway, predict_request("versions", {"X": x}, version=version))
        assert said.model_spec == model_spec("versions", factor, "serving_default")
        np.testing.assert_array_equal(array_of(said.outputs["Y"]), x * factor)


def test_a_label_is_an_alias_that_moves_while_it_is_asked_for(start_gateway, repository) -> None:
    """Every answer is of one of the two versions, before or after, and none is lost."""
    write(repository, "m", scale(1), 1, config="version_policy: { latest: { num_versions: 2 } }")
    write(repository, "m", scale(2), 2)
    gateway = start_gateway(repository)
    x = np.array([[1, 2]], np.float32)

    def label(version: int, code: int = 0) -> str:
        environment = {"SERVING_ADMIN_URL": f"http://{gateway.admin}"}
        done = forked.run("models", "label", "m", "stable", version, environment=environment)
        assert done.returncode == code, done
        return done.stdout + done.stderr

    assert "  aliases: stable is version 1\n" in label(1)
    spec = model_spec("m", "stable")
    assert [one[:2] for one in status(gateway, spec)] == [(1, AVAILABLE)]
    asked = predict_request("m", {"X": x}, version="stable")
    begun, moved = Barrier(3), Event()

    def ask() -> list[int]:
        """From before the move until after it."""
        with channel(gateway) as one:
            call = stub(one, "Predict")
            numbers = [call(asked, timeout=20).model_spec.version.value]
            begun.wait(20)
            while not moved.is_set():
                numbers.append(call(asked, timeout=20).model_spec.version.value)
            return [*numbers, call(asked, timeout=20).model_spec.version.value]

    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(ask) for _ in range(2)]
        begun.wait(20)
        label(2)
        moved.set()
        for answer in answers:
            numbers = answer.result()
            assert (numbers, set(numbers)) == (sorted(numbers), {1, 2})
    said = predict(gateway, asked)
    assert said.model_spec == model_spec("m", 2, "serving_default")
    np.testing.assert_array_equal(array_of(said.outputs["Y"]), x * 2)
    over_rest = post(gateway, "m", {"instances": x.tolist()}, "/labels/stable")
    assert over_rest.headers["x-model-version"] == "2", over_rest
    told = gateway.get("/v1/models/m/labels/stable").json()["model_version_status"]
    assert [one["version"] for one in told] == ["2"]
    assert "Request to assign label to version 9 of model m, which is not" in label(9, code=1)


@pytest.mark.parametrize("signature", ["", "serving_default"])
def test_the_default_signature_may_be_named(gateway: Gateway, signature: str) -> None:
    said = predict(gateway, predict_request("tiny", {"x": X}, signature=signature))
    np.testing.assert_allclose(array_of(said.outputs["y"]), tiny_expected(X), rtol=1e-5)


@pytest.mark.parametrize(
    ("given", "expected"),
    [([2], [[2, 2, 2], [2, 2, 2]]), ([1, 2], [[1, 2, 2], [2, 2, 2]]), ([], [[0] * 3] * 2)],
)
def test_the_last_value_fills_the_shape_up(
    gateway: Gateway, given: list[float], expected: list[list[float]]
) -> None:
    request = predict_request("id_fp32", {"X": np.zeros((2, 3), np.float32)}, values=True)
    request.inputs["X"].float_val[:] = given
    found = array_of(predict(gateway, request).outputs["Y"])
    np.testing.assert_array_equal(found, np.array(expected, np.float32))


def test_one_text_fills_the_shape_up(gateway: Gateway) -> None:
    request = predict_request("id_bytes", {"X": np.array([["é 漢字"] * 3], object)})
    del request.inputs["X"].string_val[1:]
    assert array_of(predict(gateway, request).outputs["Y"]).tolist() == [["é 漢字"] * 3]


@pytest.mark.parametrize("names", [("OUTPUT1",), ("OUTPUT1", "OUTPUT0"), ()])
def test_only_the_outputs_of_the_filter_come(gateway: Gateway, names: tuple[str, ...]) -> None:
    said = predict(gateway, predict_request("add_sub", PAIR, outputs=names))
    assert set(said.outputs) == set(names or ("OUTPUT0", "OUTPUT1"))
    for name, tensor in said.outputs.items():
        np.testing.assert_array_equal(array_of(tensor), [[6 if name == "OUTPUT0" else 4] * 4])


def test_requests_of_both_protocols_share_batches(start_gateway, repository) -> None:
    """One line, whoever asks: while a run goes on, both protocols' requests gather behind it."""
    write(repository, "busy", slow(0.5), config="max_batch_size: 8\ndynamic_batching {}\n")
    gateway = start_gateway(repository)
    x = [np.full((1, 1), i, np.float32) for i in range(4)]
    theirs = [predict_request("busy", {"X": one}) for one in x]
    ours = [oip.grpc_request("busy", {"X": one}) for one in x]
    before = int(gateway.stats("busy")["execution_count"])
    with channel(gateway) as one, line(gateway, "busy", ours[0], 0) as sent:
        calls = [stub(one, "Predict").future(request, timeout=30) for request in theirs[:2]]
        calls += [oip_stub(one).ModelInfer.future(request, timeout=30) for request in ours[:2]]
        for call in calls:
            call.result()
    assert int(gateway.stats("busy")["execution_count"]) - before == sent + 1


def test_answers_are_each_callers_own_under_load(gateway: Gateway) -> None:
    def ask(i: int) -> bool:
        x = np.full((1 + i % 3, 4), i, np.float32)
        answer = over_predict(gateway, Question("tiny", {"x": x}))
        return bool(np.allclose(answer.arrays["y"], tiny_expected(x), rtol=1e-4))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(40)))


def test_a_compressed_request_gets_a_compressed_answer(gateway: Gateway) -> None:
    request = predict_request("id_fp32", {"X": np.zeros((100, 100), np.float32)})
    said = predict(gateway, request, compression=grpc.Compression.Gzip)
    assert array_of(said.outputs["Y"]).shape == (100, 100)


# Refusals


FLOATS = {"x": X}
WRONG: dict[str, tuple[Any, str, str]] = {
    "no spec": (tfs_messages.PredictRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
    "no name": (
        predict_request("", FLOATS),
        "INVALID_ARGUMENT",
        "ModelSpec has no name specified.",
    ),
    "model": (
        predict_request("nowhere", FLOATS),
        "NOT_FOUND",
        "Servable not found for request: Latest(nowhere)",
    ),
    "version": (
        predict_request("tiny", FLOATS, version=7),
        "NOT_FOUND",
        "Servable not found for request: Specific(tiny, 7)",
    ),
    "version below 1": (
        predict_request("tiny", FLOATS, version=0),
        "NOT_FOUND",
        "Servable not found for request: Specific(tiny, 0)",
    ),
    "label": (
        predict_request("tiny", FLOATS, version="stable"),
        "INVALID_ARGUMENT",
        "Unrecognized servable version label: stable",
    ),
    "label like a version": (
        predict_request("tiny", FLOATS, version="1"),
        "INVALID_ARGUMENT",
        "Unrecognized servable version label: 1",
    ),
    "signature": (
        predict_request("tiny", FLOATS, signature="other"),
        "FAILED_PRECONDITION",
        'Serving signature key "other" not found.',
    ),
    "signature of a model that isn't there": (
        predict_request("nowhere", FLOATS, signature="other"),
        "NOT_FOUND",
        "Latest(nowhere)",
    ),
    "missing input": (
        predict_request("add_sub", {"INPUT0": PAIR["INPUT0"]}),
        "INVALID_ARGUMENT",
        "len({INPUT0}) != len({INPUT0,INPUT1}). Sent extra: {}. Missing but required: {INPUT1}",
    ),
    "extra input": (
        predict_request("tiny", {"x": X, "z": X}),
        "INVALID_ARGUMENT",
        "2!=1 len({x,z}) != len({x}). Sent extra: {z}. Missing but required: {}.",
    ),
    "other input": (
        predict_request("tiny", {"z": X}),
        "INVALID_ARGUMENT",
        "input tensor alias not found in signature: z. Inputs expected to be in the set {x}.",
    ),
    "output": (
        predict_request("tiny", FLOATS, outputs=("z",)),
        "INVALID_ARGUMENT",
        "output tensor alias not found in signature: z Outputs expected to be in the set {y}.",
    ),
    "output twice": (
        predict_request("tiny", FLOATS, outputs=("y", "y")),
        "INVALID_ARGUMENT",
        "duplicate output tensor alias: y",
    ),
    "type": (
        predict_request("tiny", {"x": X.astype(np.int64)}),
        "INVALID_ARGUMENT",
        "input 'x' has the dtype DT_INT64, the model expects DT_FLOAT",
    ),
    "shape": (predict_request("tiny", {"x": X[0]}), "INVALID_ARGUMENT", "Expected [-1,4], got [4]"),
    "failed": (predict_request("broken", FLOATS), "UNAVAILABLE", "could not be loaded"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_in_the_originals_words(gateway: Gateway, case: str) -> None:
    request, code, words = WRONG[case]
    error = refused(gateway, request)
    assert (error.code().name, words in error.details()) == (code, True), error


@pytest.mark.parametrize(
    ("field", "values"),
    [("double_val", [1.0]), ("int_val", [1]), ("string_val", [b"1"]), ("float_val", [0.0] * 9)],
)
def test_fault_52_values_in_a_wrong_field_or_too_many(
    tight: Gateway, field: str, values: list[Any]
) -> None:
    request = predict_request("tiny", {"x": X}, values=True)
    request.inputs["x"].ClearField("float_val")
    getattr(request.inputs["x"], field).extend(values)
    error = refused(tight, request)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "'x'" in error.details()


@pytest.mark.parametrize("sizes", [[2**62, 4], [-1, 4], [2**31, 2**31, 2**31], [1] * 65])
def test_fault_50_shapes_that_cannot_be(tight: Gateway, sizes: list[int]) -> None:
    request = predict_request("id_fp32", {"X": ROW}, values=True)
    request.inputs["X"].tensor_shape.ClearField("dim")
    for size in sizes:
        request.inputs["X"].tensor_shape.dim.add(size=size)
    with Witness(tight, slack=8 * MIB):
        assert refused(tight, request).code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("model", ["id_fp32", "id_bytes"])
def test_fault_102_a_value_fills_no_more_than_a_message_may_hold(
    tight: Gateway, model: str
) -> None:
    """A few bytes stand for gigabytes: told before any of them is taken."""
    text = model == "id_bytes"
    one: Any = np.array([["a" * 9000]], object) if text else ROW
    request = predict_request(model, {"X": one}, values=True)
    dims = request.inputs["X"].tensor_shape.dim
    dims[0].size, dims[1].size = (1000, 1000)
    with Witness(tight, slack=8 * MIB):
        error = refused(tight, request)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "limits.max_message_bytes" in error.details()


def test_fault_47_bytes_that_are_no_message(tight: Gateway) -> None:
    with Witness(tight), http2.Client(tight.grpc_port) as client:
        for body in (b"\xff" * 20, b"\x12\x05\x0a\x01x\x12", b"\x0b" * 1000, b"\x0a\x02\x0a\xff"):
            answer = client.call(f"{PREDICTION}Predict", http2.grpc_frame(body))
            assert answer.code == grpc.StatusCode.INVALID_ARGUMENT.value[0], answer


# The same engine: deadlines, overload, drain


def test_grpcs_deadline_is_the_requests(gateway: Gateway) -> None:
    runs = gateway.stats("slow")["execution_count"]
    message = predict_request("slow", {"X": ROW}).SerializeToString()
    busy = oip.grpc_request("slow", {"X": ROW})
    with line(gateway, "slow", busy, 1) as sent, http2.Client(gateway.grpc_port) as client:
        frame = http2.grpc_frame(message)
        answer = client.call(f"{PREDICTION}Predict", frame, ("grpc-timeout", "20m"))
    assert answer.code == grpc.StatusCode.DEADLINE_EXCEEDED.value[0], answer
    assert gateway.stats("slow")["execution_count"] - runs == sent, "expired work was run"


def test_a_full_queue_is_told_at_once_with_a_hint(start_gateway, repository) -> None:
    write(repository, "busy", slow(0.8), config=UNBATCHED)
    gateway = start_gateway(repository, {"batching.max_queue_requests": "2"})
    with line(gateway, "busy", oip.grpc_request("busy", {"X": ROW}), 2, called_off=True):
        error = refused(gateway, predict_request("busy", {"X": ROW}))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert int(dict(error.trailing_metadata())["grpc-retry-pushback-ms"]) >= 0


def test_what_was_accepted_is_answered_while_the_gateway_drains(start_gateway, repository) -> None:
    write(repository, "busy", slow(0.5), config=UNBATCHED)
    gateway = start_gateway(repository, {"shutdown.drain_delay_s": "0"})
    with channel(gateway) as one:
        calls = [
            stub(one, "Predict").future(predict_request("busy", {"X": ROW}), timeout=30)
            for _ in range(3)
        ]
        wait_until(lambda: gateway.metric("serving_in_flight_requests") == 3, 20, "all are in")
        gateway.signal(signal.SIGTERM)
        assert [call.result().model_spec.version.value for call in calls] == [1, 1, 1]
    assert gateway.process.wait(20) == 0


# Metadata and status


def metadata(gateway: Gateway, spec: Any, *fields: str) -> Any:
    request = tfs_messages.GetModelMetadataRequest(model_spec=spec, metadata_field=fields)
    with channel(gateway) as one:
        return stub(one, "GetModelMetadata")(request, timeout=20)


def test_metadata_is_the_signature_by_which_predict_works(gateway: Gateway) -> None:
    said = metadata(gateway, model_spec("add_sub"), "signature_def")
    assert said.model_spec == model_spec("add_sub", 1)
    packed = said.metadata["signature_def"]
    assert packed.type_url == "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    found = tfs_messages.SignatureDefMap.FromString(packed.value)
    (definition,) = [found.signature_def["serving_default"]]
    assert list(found.signature_def) == ["serving_default"]
    assert definition.method_name == "tensorflow/serving/predict"
    assert set(definition.outputs) == {"OUTPUT0", "OUTPUT1"}
    request = tfs_messages.PredictRequest(model_spec=said.model_spec)
    for name, info in definition.inputs.items():
        assert info.name == f"{name}:0"
        tensor = tf_messages.TensorProto(dtype=info.dtype, int_val=[3])
        for dim in info.tensor_shape.dim:
            tensor.tensor_shape.dim.add(size=max(dim.size, 1))
        request.inputs[name].CopyFrom(tensor)
    assert set(array_of(predict(gateway, request).outputs["OUTPUT0"]).reshape(-1)) == {6}


@pytest.mark.parametrize("datatype", sorted(oip.SAMPLES))
def test_metadatas_types_are_those_that_predict_takes(gateway: Gateway, datatype: str) -> None:
    said = metadata(gateway, model_spec(f"id_{datatype.lower()}"), "signature_def")
    found = tfs_messages.SignatureDefMap.FromString(said.metadata["signature_def"].value)
    info = found.signature_def["serving_default"].inputs["X"]
    sample = tensor_proto(oip.SAMPLES[datatype], datatype)
    assert info.dtype == sample.dtype
    assert [dim.size for dim in info.tensor_shape.dim] == [-1, -1]
    assert [dim.name for dim in info.tensor_shape.dim] == ["n", "m"]


def status(gateway: Gateway, spec: Any) -> list[tuple[int, int, int, str]]:
    request = tfs_messages.GetModelStatusRequest(model_spec=spec)
    with channel(gateway) as one:
        said = stub(one, "GetModelStatus", of=MODELS)(request, timeout=20)
    return [
        (one.version, one.state, one.status.error_code, one.status.error_message)
        for one in said.model_version_status
    ]


AVAILABLE, END = 30, 50


def test_status_tells_of_all_versions_or_of_the_one_named(gateway: Gateway) -> None:
    assert status(gateway, model_spec("versions")) == [
        (version, AVAILABLE, 0, "") for version in (7, 2, 1)
    ]
    assert status(gateway, model_spec("versions", 2)) == [(2, AVAILABLE, 0, "")]
    ((version, state, code, message),) = status(gateway, model_spec("broken"))
    assert (version, state, code, bool(message)) == (1, END, 2, True)


def test_a_failed_version_has_ended_until_a_higher_one_answers(start_gateway, repository) -> None:
    """TFX's InfraValidator takes any version that has ended for a model that can't be served."""
    write(repository, "m", scale(1), 1)
    write(repository, "m", b"not a model", 2)
    gateway = start_gateway(repository, {"registry.poll_s": "0.2"})
    spec = model_spec("m")
    wait_until(lambda: len(status(gateway, spec)) == 2, 20, "both are known")
    assert [one[:2] for one in status(gateway, spec)] == [(2, END), (1, AVAILABLE)]
    write(repository, "m", scale(3), 3)
    wait_until(lambda: status(gateway, spec)[0][:2] == (3, AVAILABLE), 20, "version 3 answers")
    assert END not in [one[1] for one in status(gateway, spec)]


UNKNOWN: dict[str, tuple[str, Any, str, str]] = {
    "status of a model": (
        "GetModelStatus",
        tfs_messages.GetModelStatusRequest(model_spec=model_spec("nowhere")),
        "NOT_FOUND",
        "Could not find any versions of model nowhere",
    ),
    "status of a version": (
        "GetModelStatus",
        tfs_messages.GetModelStatusRequest(model_spec=model_spec("tiny", 7)),
        "NOT_FOUND",
        "Could not find version 7 of model tiny",
    ),
    "status by a label": (
        "GetModelStatus",
        tfs_messages.GetModelStatusRequest(model_spec=model_spec("tiny", "stable")),
        "INVALID_ARGUMENT",
        "Unrecognized servable version label: stable",
    ),
    "status of nothing": (
        "GetModelStatus",
        tfs_messages.GetModelStatusRequest(),
        "INVALID_ARGUMENT",
        "Missing ModelSpec",
    ),
    "metadata without a field": (
        "GetModelMetadata",
        tfs_messages.GetModelMetadataRequest(model_spec=model_spec("tiny")),
        "INVALID_ARGUMENT",
        "must specify at least one metadata_field",
    ),
    "another field": (
        "GetModelMetadata",
        tfs_messages.GetModelMetadataRequest(
            model_spec=model_spec("tiny"), metadata_field=["signature_def", "graph"]
        ),
        "INVALID_ARGUMENT",
        "Metadata field graph is not supported",
    ),
    "metadata of a version": (
        "GetModelMetadata",
        tfs_messages.GetModelMetadataRequest(
            model_spec=model_spec("tiny", 7), metadata_field=["signature_def"]
        ),
        "NOT_FOUND",
        "Servable not found for request: Specific(tiny, 7)",
    ),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_what_is_not_there_is_told_in_the_originals_words(gateway: Gateway, case: str) -> None:
    method, request, code, words = UNKNOWN[case]
    of = MODELS if method == "GetModelStatus" else PREDICTION
    error = refused(gateway, request, method, of)
    assert (error.code().name, words in error.details()) == (code, True), error


# What is not done, and what is listed


@pytest.mark.parametrize(
    ("method", "kind"),
    [("Classify", "ClassificationRequest"), ("Regress", "RegressionRequest")],
)
def test_a_model_has_no_signature_for_examples(gateway: Gateway, method: str, kind: str) -> None:
    request = getattr(tfs_messages, kind)(model_spec=model_spec("tiny"))
    error = refused(gateway, request, method)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "Was: tensorflow/serving/predict" in error.details()
    request.model_spec.name = "nowhere"
    assert refused(gateway, request, method).code() is grpc.StatusCode.NOT_FOUND


def test_several_inferences_at_once_need_other_signatures(gateway: Gateway) -> None:
    request = tfs_messages.MultiInferenceRequest()
    request.tasks.add(model_spec=model_spec("tiny"), method_name="tensorflow/serving/classify")
    error = refused(gateway, request, "MultiInference")
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_fault_63_reloading_is_for_who_may_control(start_gateway, repository) -> None:
    write(repository, "m", scale(1))
    request = tfs_messages.ReloadConfigRequest()
    exposed = start_gateway(repository, {"host": "0.0.0.0", "model_control": "both"})
    error = refused(exposed, request, "HandleReloadConfigRequest", MODELS)
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED


def test_the_services_are_listed_and_described(gateway: Gateway) -> None:
    names = {"tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"}
    with channel(gateway) as one:
        database = ProtoReflectionDescriptorDatabase(one)
        assert names <= set(database.get_services())
        pool = DescriptorPool(database)
        methods = {
            method for name in names for method in pool.FindServiceByName(name).methods_by_name
        }
        assert {"Predict", "GetModelMetadata", "GetModelStatus"} <= methods
        check = health_pb2_grpc.HealthStub(one).Check
        for name in names:
            answer = check(health_pb2.HealthCheckRequest(service=name), timeout=10)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_a_method_that_is_not_there_is_told_so(gateway: Gateway) -> None:
    with channel(gateway) as one:
        error: Any = refusal(one.unary_unary(f"{PREDICTION}PredictStreamed"), b"")
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "unknown method of tensorflow.serving.PredictionService" in error.details()
