"""The completed configuration that clients read, and the fit of a written one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf import json_format

from serving.errors import ConfigError
from serving.model_config import (
    ModelConfig,
    fit_signature,
    message_to_json_dict,
    triton_config,
)
from serving.model_config.pbtxt import read_pbtxt
from serving.model_config.yaml_form import read_yaml
from serving.signature import Signature, Tensor
from serving.wire import messages

BATCHED = Signature(
    inputs=(Tensor("x", "FP32", (-1, 4)), Tensor("k", "INT64", (-1,), optional=True)),
    outputs=(Tensor("y", "BYTES", (-1, -1)),),
)
SCALAR = Signature(inputs=(Tensor("x", "FP32", ()),), outputs=(Tensor("y", "FP32", (2,)),))


def shown(signature: Signature, config: ModelConfig, max_rows: int, **more: Any) -> dict[str, Any]:
    return message_to_json_dict(triton_config("m", signature, config, max_rows=max_rows, **more))


def test_a_batched_version_shows_shapes_without_the_batch_axis() -> None:
    config = shown(BATCHED, ModelConfig(), 64)

    assert config["max_batch_size"] == 64
    assert [t["dims"] for t in config["input"]] == [[4], [1]]
    assert "reshape" not in config["input"][0]
    assert config["input"][1]["reshape"] == {"shape": []}
    assert config["input"][1]["optional"] is True
    assert config["output"][0]["dims"] == [-1]
    assert config["output"][0]["data_type"] == "TYPE_STRING"
    assert config["dynamic_batching"]["preferred_batch_size"] == [64]


def test_an_unbatched_version_shows_whole_shapes_and_no_scheduler() -> None:
    config = shown(BATCHED, read_pbtxt("max_batch_size: 8 dynamic_batching { }", "m"), 0)

    assert config["max_batch_size"] == 0
    assert [t["dims"] for t in config["input"]] == [[-1, 4], [-1]]
    assert "dynamic_batching" not in config


def test_a_scalar_is_shown_as_one_element() -> None:
    config = shown(SCALAR, ModelConfig(), 0)

    assert config["input"][0]["dims"] == [1]
    assert "reshape" not in config["input"][0]


def test_perf_analyzer_finds_no_object_that_it_would_misread() -> None:
    config = shown(BATCHED, ModelConfig(), 8)

    for absent in (
        "sequence_batching",
        "ensemble_scheduling",
        "model_transaction_policy",
        "response_cache",
    ):
        assert absent not in config


def test_defaults_are_completed() -> None:
    config = shown(BATCHED, ModelConfig(), 8)

    assert (config["name"], config["platform"]) == ("m", "onnxruntime_onnx")
    assert (config["backend"], config["default_model_filename"]) == ("onnxruntime", "model.onnx")
    assert config["version_policy"] == {"latest": {"num_versions": 1}}
    (group,) = config["instance_group"]
    assert (group["name"], group["count"], group["kind"]) == ("m", 1, "KIND_CPU")


def test_what_was_written_stays() -> None:
    text = """
    max_batch_size: 8
    input { name: "x" data_type: TYPE_FP32 dims: 4 format: FORMAT_NHWC }
    output { name: "y" data_type: TYPE_STRING dims: -1 label_filename: "l.txt" }
    instance_group [ { count: 1 }, { name: "b" count: 2 } ]
    version_policy { specific { versions: [2, 1] } }
    parameters { key: "owner" value { string_value: "vision" } }
    metric_tags { key: "a" value: "b" }
    """

    config = shown(BATCHED, read_pbtxt(text, "m"), 8)

    assert config["input"][0]["format"] == "FORMAT_NHWC"
    assert config["output"][0]["label_filename"] == "l.txt"
    assert [g["name"] for g in config["instance_group"]] == ["m_0", "b"]
    assert config["version_policy"] == {"specific": {"versions": [1, 2]}}
    assert config["parameters"] == {"owner": {"string_value": "vision"}}
    assert config["metric_tags"] == {"a": "b"}


def test_model_yaml_is_shown_under_tritons_keys() -> None:
    text = """
    batching: {delay_us: 5, preferred_batch_sizes: [2, 4], priority_levels: 2,
               default_priority: 1, default_timeout_us: 7, max_queue_requests: 3}
    instances: 2
    isolation: process
    run_timeout_s: 2.5
    memory_bytes: 4096
    request_log: {rate: 0.5, redact: [image, user]}
    validation: {mode: reject, features: {x: log}}
    signatures: {s: {method: regress, output: y}}
    session: {graph_optimization_level: disabled, intra_op_threads: 2, execution_mode: parallel}
    version_policy: all
    """

    config = shown(BATCHED, read_yaml(text, "m"), 4, provider="CUDAExecutionProvider")

    batching = config["dynamic_batching"]
    assert batching["preferred_batch_size"] == [2, 4]
    assert batching["max_queue_delay_microseconds"] == 5
    assert batching["priority_levels"] == 2
    assert batching["default_queue_policy"]["default_timeout_microseconds"] == 7
    assert batching["default_queue_policy"]["max_queue_size"] == 3
    assert config["instance_group"][0]["count"] == 2
    assert config["instance_group"][0]["kind"] == "KIND_GPU"
    assert config["optimization"]["graph"] == {"level": 2}
    assert config["parameters"]["intra_op_thread_count"] == {"string_value": "2"}
    assert config["parameters"]["execution_mode"] == {"string_value": "1"}
    assert config["parameters"]["isolation"] == {"string_value": "process"}
    assert config["parameters"]["run_timeout_s"] == {"string_value": "2.5"}
    assert config["parameters"]["memory_bytes"] == {"string_value": "4096"}
    assert config["parameters"]["validation_mode"] == {"string_value": "reject"}
    assert config["parameters"]["validation_features"] == {"string_value": '{"x":"log"}'}
    assert config["parameters"]["request_log_rate"] == {"string_value": "0.5"}
    assert config["parameters"]["request_log_redact"] == {"string_value": "image,user"}
    shown_signatures = '{"s":{"method":"regress","output":"y"}}'
    assert config["parameters"]["signatures"] == {"string_value": shown_signatures}
    assert config["version_policy"] == {"all": {}}


def test_the_shown_configuration_reads_back_as_a_config_pbtxt() -> None:
    shown_message = triton_config("m", BATCHED, ModelConfig(), max_rows=16)

    again = read_pbtxt(str(shown_message), "m")

    assert again.max_batch_size == 16
    assert fit_signature("m", again, BATCHED) == BATCHED


def test_levels_of_model_yaml_are_shown_under_tritons_key() -> None:
    text = "batching: {priority_levels: 2, default_priority: 1, levels: [{level: 2, %s}]}"
    config = read_yaml(text % "default_timeout_us: 7, max_queue_requests: 5", "m")

    batching = triton_config("m", BATCHED, config, max_rows=16).dynamic_batching

    assert list(batching.priority_queue_policy) == [2]
    assert batching.priority_queue_policy[2].default_timeout_microseconds == 7
    assert batching.priority_queue_policy[2].max_queue_size == 5


def test_json_has_numbers_names_and_every_plain_field() -> None:
    message = messages.ModelConfig()
    message.dynamic_batching.priority_queue_policy[7].max_queue_size = 1
    message.dynamic_batching.max_queue_delay_microseconds = 2**60

    found = message_to_json_dict(message)

    assert found["backend"] == ""
    assert found["input"] == []
    assert found["metric_tags"] == {}
    batching = found["dynamic_batching"]
    assert batching["max_queue_delay_microseconds"] == 2**60
    assert batching["priority_queue_policy"]["7"]["timeout_action"] == "REJECT"
    assert "optimization" not in found


def test_our_json_is_protobufs_but_for_64_bit_numbers() -> None:
    message = triton_config("m", BATCHED, ModelConfig(), max_rows=16)
    theirs = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )

    def words(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: words(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [words(inner) for inner in value]
        return value if isinstance(value, bool) else str(value)

    assert words(message_to_json_dict(message)) == words(theirs)
    json.dumps(message_to_json_dict(message), allow_nan=False)


def test_a_configuration_may_narrow_shapes_and_leave_out_what_is_optional() -> None:
    config = read_yaml("inputs: [{name: x, datatype: FP32, shape: [-1, 4]}]", "m")
    fitted = fit_signature("m", config, BATCHED)
    assert [t.name for t in fitted.inputs] == ["x"]
    assert fitted.outputs == BATCHED.outputs

    config = read_yaml("outputs: [{name: y, shape: [-1, 9]}]", "m")
    assert fit_signature("m", config, BATCHED).outputs[0].shape == (-1, 9)

    config = read_yaml("inputs: [{name: x}, {name: k, optional: false}]", "m")
    assert fit_signature("m", config, BATCHED).inputs[1].optional is False


def test_a_scalar_written_as_one_element_stays_a_scalar() -> None:
    config = read_pbtxt(
        'input { name: "x" data_type: TYPE_FP32 dims: 1 } '
        'output { name: "y" data_type: TYPE_FP32 dims: 2 }',
        "m",
    )

    assert fit_signature("m", config, SCALAR) == SCALAR


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("inputs: [{name: X}]", "has no input 'X'"),
        ("inputs: [{name: k}]", "not the required 'x'"),
        ("inputs: [{name: x, datatype: FP64}]", "says FP64, the model has FP32"),
        ("inputs: [{name: x, shape: [-1, 5]}]", "says [-1, 5], the model has [-1, 4]"),
        ("inputs: [{name: x, shape: [4]}]", "says [4], the model has [-1, 4]"),
        ("inputs: [{name: x, shape: [-1, -1]}]", "says [-1, -1], the model has [-1, 4]"),
        ("inputs: [{name: x, optional: true}]", "no value to use in its place"),
    ],
)
def test_a_configuration_that_contradicts_the_model_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        fit_signature("m", read_yaml(text, "m"), BATCHED)

    assert reason in str(caught.value)
    assert "'m'" in str(caught.value)


@pytest.mark.parametrize("text", ["max_batch_size: 2", "max_batch_size: 2\nbatching: true"])
def test_several_rows_cannot_be_asked_of_a_model_without_a_dynamic_axis(text: str) -> None:
    with pytest.raises(ConfigError, match="model does not support batching"):
        fit_signature("m", read_yaml(text, "m"), SCALAR)


def test_batching_that_is_only_wished_for_leaves_a_model_without_a_dynamic_axis_as_it_is() -> None:
    for config in (read_yaml("batching: true", "m"), read_pbtxt("dynamic_batching { }", "m")):
        assert config.batching
        assert fit_signature("m", config, SCALAR) == SCALAR
