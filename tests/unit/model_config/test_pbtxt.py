"""config.pbtxt: what is read, what is refused and in which words, what has no effect."""

from __future__ import annotations

import pytest

from serving.errors import ConfigError
from serving.model_config import ModelConfig, RequestLogConfig, VersionPolicy
from serving.model_config.canary import CanaryConfig
from serving.model_config.gates import EvaluationConfig, GatesConfig, Threshold
from serving.model_config.pbtxt import read_pbtxt
from serving.model_config.schema import LevelPolicy
from serving.registry.configs import fingerprint

OUTSIDE = (
    "parameters { key: 'gates' value { string_value: '"
    '{"evaluation": {"data": "../e.csv", "thresholds": {"agreement": 1}}}'
    "' } }"
)
FULL = """
name: "ocr"  # the directory's name
backend: "onnxruntime"
max_batch_size: 16
input [ { name: "x", data_type: TYPE_FP32, dims: [ 3, 48, 192 ] },
        { name: "mask" data_type: TYPE_BOOL dims: 1 reshape { } optional: true } ]
output { name: "y" data_type: TYPE_FP32 dims: [ 2 ] }
dynamic_batching {
  preferred_batch_size: [ 4, 8 ]
  max_queue_delay_microseconds: 250
  priority_levels: 3
  default_priority_level: 2
  default_queue_policy { default_timeout_microseconds: 9000 max_queue_size: 7 }
}
instance_group [ { count: 2 kind: KIND_CPU }, { count: 1 kind: KIND_CPU } ]
version_policy: { specific { versions: [ 3, 1, 3 ] } }
optimization { graph { level: 1 } }
default_model_filename: "net.onnx"
parameters { key: "intra_op_thread_count" value { string_value: "3" } }
parameters: { key: "execution_mode" value: { string_value: "1" } }
parameters { key: "isolation" value { string_value: "process" } }
parameters { key: "run_timeout_s" value { string_value: "2.5" } }
parameters { key: "memory_bytes" value { string_value: "4096" } }
parameters { key: "canary" value { string_value: '{"automatic": true, "steps": [5, 100]}' } }
parameters {
  key: "gates"
  value {
    string_value: '{"p99_factor": 1.5, "evaluation": {"data": "e.csv", '
                  '"thresholds": {"agreement": 0.8}}}'
  }
}
parameters { key: "request_log_rate" value { string_value: "0.05" } }
parameters { key: "validation_mode" value { string_value: "log" } }
parameters { key: "validation_features" value { string_value: '{"x[1]": "reject"}' } }
parameters { key: "request_log_redact" value { string_value: "image, user_*" } }
model_warmup {
  name: "first" batch_size: 2 count: 5
  inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 3, 48, 192 ] random_data: true } }
  inputs { key: "mask" value { data_type: TYPE_BOOL dims: [ 1 ] input_data_file: "mask.raw" } }
}
"""


def refused(text: str, name: str = "m") -> str:
    with pytest.raises(ConfigError) as caught:
        read_pbtxt(text, name)
    return str(caught.value)


def test_every_supported_key_arrives() -> None:
    config = read_pbtxt(FULL, "ocr")

    assert config.source == "config.pbtxt"
    assert (config.max_batch_size, config.batching) == (16, True)
    assert config.preferred_batch_sizes == (4, 8)
    assert config.delay_us == 250
    assert (config.priority_levels, config.default_priority) == (3, 2)
    assert (config.default_timeout_us, config.max_queue_requests) == (9000, 7)
    assert config.instances == 3
    assert config.version_policy == VersionPolicy("specific", specific=(1, 3))
    assert config.session.graph_optimization_level == "extended"
    assert config.session.execution_mode == "parallel"
    assert (config.session.intra_op_threads, config.session.inter_op_threads) == (3, None)
    assert (config.isolation, config.run_timeout_s, config.memory_bytes) == ("process", 2.5, 4096)
    assert config.canary == CanaryConfig((("automatic", True), ("steps", (5, 100))))
    evaluation = EvaluationConfig("e.csv", thresholds=(Threshold("agreement", 0.8),))
    assert config.gates == GatesConfig(p99_factor=1.5, evaluation=evaluation)
    assert config.request_log == RequestLogConfig(0.05, ("image", "user_*"))
    assert config.validation.mode == "log"
    assert config.validation.features == {"x[1]": "reject"}
    assert config.ignored == ()
    assert config.model_filename == "net.onnx"
    assert config.providers_prefer == ("CPUExecutionProvider",)


def test_shapes_are_whole_ones_with_the_batch_axis() -> None:
    config = read_pbtxt(FULL, "ocr")

    assert [t.shape for t in config.inputs] == [(-1, 3, 48, 192), (-1,)]
    assert [t.optional for t in config.inputs] == [None, True]
    assert config.outputs[0].shape == (-1, 2)


def test_a_warm_up_file_holds_one_row_and_is_repeated() -> None:
    (sample,) = read_pbtxt(FULL, "ocr").warmup
    mask, x = sample.inputs

    assert (sample.name, sample.count) == ("first", 5)
    assert (x.shape, x.fill) == ((2, 3, 48, 192), "random")
    assert (mask.fill, mask.file, mask.repeat) == ("file", "mask.raw", 2)
    assert mask.shape == (2,)


def test_an_empty_file_is_all_default() -> None:
    config = read_pbtxt("# nothing\n", "m")

    assert config.max_batch_size is None
    assert config.batching is None
    assert config.instances == 1
    assert config.version_policy == ModelConfig().version_policy
    assert config.session == ModelConfig().session
    assert config.providers_prefer is None


def test_silence_is_max_batch_size_0_only_beside_a_whole_signature() -> None:
    tensors = (
        'input {name: "x" data_type: TYPE_FP32 dims: 4} '
        'output {name: "y" data_type: TYPE_FP32 dims: 4}'
    )

    assert read_pbtxt(tensors, "m").max_batch_size == 0
    assert read_pbtxt(tensors, "m").inputs[0].shape == (4,)
    assert read_pbtxt('name: "m"', "m").max_batch_size is None


def test_a_written_max_batch_size_of_0_is_unbatched() -> None:
    assert read_pbtxt("max_batch_size: 0", "m").max_batch_size == 0
    assert read_pbtxt("max_batch_size: 0 dynamic_batching { }", "m").batching is None


@pytest.mark.parametrize(
    ("level", "expected"), [(-1, "basic"), (0, "all"), (1, "extended"), (2, "disabled")]
)
def test_graph_levels_are_tritons(level: int, expected: str) -> None:
    config = read_pbtxt(f"optimization {{ graph {{ level: {level} }} }}", "m")

    assert config.session.graph_optimization_level == expected


def test_an_unknown_key_names_its_line_and_the_nearest_key() -> None:
    assert refused("max_batch_size: 4\nmax_batchsize: 8") == (
        "config.pbtxt line 2: unknown key 'max_batchsize'; did you mean 'max_batch_size'?"
    )
    words = refused("dynamic_batching {\n  max_queue_delay_microsecond: 4\n}")
    assert "line 2" in words
    assert "did you mean 'max_queue_delay_microseconds'?" in words


def test_an_unknown_enum_value_suggests_the_nearest() -> None:
    words = refused('input {\n name: "x"\n data_type: TYPE_FLOAT32\n}')

    assert "line 3" in words
    assert "TYPE_FP32" in words or "TYPE_INT32" in words


def test_text_that_is_no_text_proto_names_its_line() -> None:
    assert "line 2" in refused("max_batch_size: 1\ninput [ {")
    assert "line 1" in refused('max_batch_size: "8"')
    assert refused("max_batch_size: 99999999999").startswith("config.pbtxt line 1")


def test_fault_59_deep_nesting_is_an_error_not_a_crash() -> None:
    deep = "model_metrics { metric_control " + "{ metric_identifier " * 20_000

    assert refused(deep).startswith("config.pbtxt")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("sequence_batching { }", "sequence_batching is not supported"),
        ("ensemble_scheduling { }", "ensemble_scheduling is not supported"),
        ("model_transaction_policy { decoupled: true }", "decoupled"),
        ('model_operations { op_library_filename: "x.so" }', "native code"),
        ('model_repository_agents { agents { name: "a" } }', "native code"),
        ("response_cache { enable: true }", "response_cache is not supported"),
        ('batch_input { target_name: "n" }', "batch_input is not supported yet"),
        ('batch_output { target_name: "n" }', "batch_output is not supported yet"),
        ('cc_model_filenames { key: "8.0" value: "a" }', "not supported yet"),
        (
            'input { name: "x" data_type: TYPE_INT32 dims: 1 is_shape_tensor: true }',
            "input 'x': shape tensors",
        ),
        (
            'input { name: "x" data_type: TYPE_INT32 dims: -1 allow_ragged_batch: true }',
            "input 'x': allow_ragged_batch is not supported yet",
        ),
        (
            'input { name: "x" data_type: TYPE_INT32 dims: [2, 2] reshape { shape: 3 } }',
            "input 'x': reshape [3] does not hold the elements of dims [2, 2]",
        ),
        ("instance_group { kind: KIND_MODEL }", "KIND_MODEL"),
        ("instance_group [ {kind: KIND_CPU}, {kind: KIND_GPU} ]", "different kinds"),
        ("instance_group { kind: KIND_GPU gpus: [0, 1] }", "more than one GPU"),
        (
            "dynamic_batching { default_queue_policy { timeout_action: DELAY } }",
            "DELAY is not supported, only REJECT",
        ),
        (
            (
                "dynamic_batching { priority_levels: 2 default_priority_level: 1 "
                "priority_queue_policy { key: 1 value { timeout_action: DELAY } } }"
            ),
            "DELAY is not supported, only REJECT",
        ),
        ('runtime: "libown.so"', "runtime is not supported"),
    ],
)
def test_what_would_change_answers_is_refused_with_its_reason(text: str, reason: str) -> None:
    words = refused(text)

    assert reason in words
    assert words.endswith("(model 'm')")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('name: "other"', "differs from the directory's name 'm'"),
        ('platform: "tensorrt_plan"', "unexpected platform type 'tensorrt_plan'"),
        ('backend: "python"', "unexpected backend 'python'"),
        ("max_batch_size: -1", "max_batch_size must not be negative"),
        ("max_batch_size: 4 dynamic_batching { preferred_batch_size: 8 }", "8 is more than"),
        ("max_batch_size: 4 dynamic_batching { preferred_batch_size: 0 }", "must be positive"),
        ("dynamic_batching { priority_levels: 2 }", "from 1 to 2"),
        (
            "dynamic_batching { priority_levels: 2 default_priority_level: 3 }",
            "from 1 to 2",
        ),
        (
            (
                "dynamic_batching { priority_levels: 1 default_priority_level: 1 "
                "priority_queue_policy { key: 2 value { } } }"
            ),
            "names level 2 of 1",
        ),
        (
            (
                "dynamic_batching { priority_levels: 2 default_priority_level: 1 "
                "preserve_ordering: true }"
            ),
            "preserve_ordering",
        ),
        (
            (
                "dynamic_batching { preserve_ordering: true default_queue_policy { "
                "timeout_action: DELAY default_timeout_microseconds: 5 } }"
            ),
            "preserve_ordering",
        ),
        ('input { name: "x" data_type: TYPE_FP32 }', "input 'x': dims is missing"),
        ('input { name: "x" data_type: TYPE_FP32 dims: 0 }', "got 0"),
        ('input { name: "x" data_type: TYPE_FP32 dims: -2 }', "got -2"),
        ('input { name: "x" dims: 1 }', "input 'x': data_type is missing"),
        ('output { name: "y" data_type: TYPE_FP32 dims: 1 reshape { } }', "empty reshape"),
        (
            (
                'input [{ name: "x" data_type: TYPE_FP32 dims: 1 }, '
                '{ name: "x" data_type: TYPE_FP32 dims: 1 }]'
            ),
            "'x' is listed twice",
        ),
        ("version_policy { specific { } }", "at least one version"),
        ("version_policy { specific { versions: 0 } }", "positive integer"),
        ("optimization { graph { level: 7 } }", "level 7 is unknown"),
        ("instance_group { count: -1 }", "must not be negative"),
        (
            'parameters { key: "intra_op_thread_count" value { string_value: "many" } }',
            "'intra_op_thread_count' is a number",
        ),
        (
            'parameters { key: "enable_mem_arena" value { string_value: "yes" } }',
            "'enable_mem_arena' is '0' or '1'",
        ),
        (
            'parameters { key: "isolation" value { string_value: "thread" } }',
            "'isolation' is 'process' or 'none', got 'thread'",
        ),
        (
            'parameters { key: "run_timeout_s" value { string_value: "-1" } }',
            "'run_timeout_s' is a number of seconds, got '-1'",
        ),
        (
            'parameters { key: "run_timeout_s" value { string_value: "nan" } }',
            "'run_timeout_s' is a number of seconds, got 'nan'",
        ),
        (
            'parameters { key: "memory_bytes" value { string_value: "1 GB" } }',
            "'memory_bytes' is a number of bytes, got '1 GB'",
        ),
        (
            "parameters { key: 'canary' value { string_value: '{\"steps\": [5]}' } }",
            "parameter 'canary': steps: Value error, the last step has to be 100",
        ),
        (
            'parameters { key: "canary" value { string_value: "automatic" } }',
            "parameter 'canary': Invalid JSON",
        ),
        (
            'parameters { key: "gates" value { string_value: "{}x" } }',
            "parameter 'gates': Invalid JSON",
        ),
        (
            "parameters { key: 'gates' value { string_value: '{\"p99\": 2}' } }",
            "parameter 'gates': p99: Extra inputs are not permitted",
        ),
        (
            OUTSIDE,
            "parameter 'gates': gates.evaluation.data: '../e.csv' lies outside the model's folder",
        ),
        (
            'parameters { key: "validation_mode" value { string_value: "refuse" } }',
            "'validation_mode' is one of off, log, reject, got 'refuse'",
        ),
        (
            "parameters { key: 'validation_features' value { string_value: '{\"x\": true}' } }",
            "'validation_features': 'x' is one of off, log, reject, got True",
        ),
        (
            "parameters { key: 'validation_features' value { string_value: '[\"x\"]' } }",
            "'validation_features' is a JSON object of at most 4,096 features and their modes",
        ),
        (
            "parameters { key: 'validation_features' value { string_value: 'x: log' } }",
            "'validation_features' is a JSON object of at most 4,096 features and their modes",
        ),
        (
            'parameters { key: "request_log_rate" value { string_value: "1.5" } }',
            "'request_log_rate' is a number from 0 to 1, got '1.5'",
        ),
        (
            'parameters { key: "request_log_rate" value { string_value: "5%" } }',
            "'request_log_rate' is a number from 0 to 1, got '5%'",
        ),
        (
            'max_batch_size: 4 model_warmup { name: "w" batch_size: 5 }',
            "batch_size 5 is more than max_batch_size 4",
        ),
        (
            (
                'max_batch_size: 4 model_warmup { name: "w" batch_size: 1 inputs { key: "x" '
                "value { data_type: TYPE_FP32 dims: -1 zero_data: true } } }"
            ),
            "expects all variable-size dimensions to be specified for input 'x'",
        ),
    ],
)
def test_wrong_values_are_refused_with_the_models_name(text: str, reason: str) -> None:
    words = refused(text)

    assert reason in words
    assert words.endswith("(model 'm')")


@pytest.mark.parametrize("name", ["../x.onnx", "a/b", "..", "a\\\\b", ".", "a\\000b"])
def test_fault_61_a_file_name_cannot_leave_its_folder(name: str) -> None:
    assert "plain file name" in refused(f'default_model_filename: "{name}"')


def test_a_priority_level_may_have_a_policy_of_its_own() -> None:
    config = read_pbtxt(
        """
        max_batch_size: 4
        dynamic_batching {
          priority_levels: 3 default_priority_level: 2
          default_queue_policy { default_timeout_microseconds: 7 }
          priority_queue_policy { key: 3 value { max_queue_size: 5 } }
          priority_queue_policy { key: 1 value { default_timeout_microseconds: 9 } }
        }
        """,
        "m",
    )

    assert config.default_timeout_us == 7
    assert config.level_policies == (LevelPolicy(1, 9, 0), LevelPolicy(3, 0, 5))


def test_keys_without_effect_are_listed_once_each() -> None:
    config = read_pbtxt(
        """
        metric_tags { key: "a" value: "b" }
        optimization { cuda { graphs: true } input_pinned_memory { enable: true }
                       priority: PRIORITY_MAX eager_batching: true }
        instance_group { count: 1 kind: KIND_CPU passive: true
                         rate_limiter { priority: 2 } host_policy: "h" }
        dynamic_batching { default_queue_policy { allow_timeout_override: true } }
        parameters { key: "intra_op_thread_coun" value { string_value: "2" } }
        """,
        "m",
    )

    assert config.ignored == (
        "metric_tags",
        "optimization.priority",
        "optimization.cuda",
        "optimization.input_pinned_memory",
        "optimization.eager_batching",
        "instance_group.rate_limiter",
        "instance_group.passive",
        "instance_group.host_policy",
        "dynamic_batching.default_queue_policy.allow_timeout_override",
        "parameters['intra_op_thread_coun']; did you mean 'intra_op_thread_count'?",
    )
    assert config.parameters == {"intra_op_thread_coun": "2"}


def test_a_named_gpu_is_required() -> None:
    config = read_pbtxt("instance_group { kind: KIND_GPU gpus: 1 }", "m")

    assert config.providers_prefer == ("CUDAExecutionProvider",)
    assert config.providers_require == ("CUDAExecutionProvider",)
    assert config.provider_options == {"CUDAExecutionProvider": {"device_id": "1"}}


def test_accelerators_become_providers_in_order() -> None:
    config = read_pbtxt(
        """
        instance_group { kind: KIND_GPU }
        optimization { execution_accelerators { gpu_execution_accelerator {
          name: "tensorrt"
          parameters { key: "precision_mode" value: "FP16" }
          parameters { key: "max_workspace_size_bytes" value: "1024" }
          parameters { key: "trt_max_partition_iterations" value: "9" } } } }
        parameters { key: "cudnn_conv_algo_search" value { string_value: "1" } }
        """,
        "m",
    )

    assert config.providers_prefer == ("TensorrtExecutionProvider", "CUDAExecutionProvider")
    # CUDA may be left with no node at all.
    assert config.providers_require == ("TensorrtExecutionProvider",)
    assert config.provider_options["TensorrtExecutionProvider"] == {
        "trt_fp16_enable": "1",
        "trt_max_workspace_size": "1024",
        "trt_max_partition_iterations": "9",
    }
    assert config.provider_options["CUDAExecutionProvider"] == {
        "cudnn_conv_algo_search": "HEURISTIC"
    }


def test_with_kind_auto_the_cpu_may_stand_in() -> None:
    config = read_pbtxt(
        "optimization { execution_accelerators { gpu_execution_accelerator { name: 'cuda' } } }",
        "m",
    )

    assert config.providers_prefer == ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert config.providers_require == ()


def test_openvino_is_a_cpu_accelerator_and_required_there() -> None:
    config = read_pbtxt(
        "instance_group { kind: KIND_CPU } optimization { execution_accelerators { "
        "cpu_execution_accelerator { name: 'openvino' } } }",
        "m",
    )

    assert config.providers_prefer == ("OpenVINOExecutionProvider", "CPUExecutionProvider")
    assert config.providers_require == ("OpenVINOExecutionProvider",)


@pytest.mark.parametrize(
    "key", ["trt_engine_cache_path", "trt_extra_plugin_lib_paths", "load_config"]
)
def test_fault_12_options_that_load_code_or_touch_files_are_refused(key: str) -> None:
    words = refused(
        "optimization { execution_accelerators { gpu_execution_accelerator { name: 'tensorrt' "
        f"parameters {{ key: '{key}' value: 'x' }} }} }} }}"
    )

    assert f"option '{key}' is refused" in words


def test_an_unknown_accelerator_suggests_the_nearest() -> None:
    words = refused(
        "optimization { execution_accelerators { gpu_execution_accelerator { name: 'tensort' } } }"
    )

    assert "did you mean 'tensorrt'?" in words


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("canary", '{"steps": [5, 100]}'),
        ("gates", '{"safe_to_serve": true}'),
        ("request_log_rate", "0.5"),
        ("request_log_redact", "x"),
    ],
)
def test_a_parameter_that_changes_in_place_changes_no_slot(key: str, text: str) -> None:
    parameter = f"parameters {{ key: '{key}' value {{ string_value: '{text}' }} }}"
    said, unsaid = read_pbtxt(parameter, "m"), read_pbtxt("", "m")
    assert said != unsaid
    assert fingerprint(said) == fingerprint(unsaid)


def test_any_other_parameter_changes_it() -> None:
    """Also one that only the model's callers see."""
    said = read_pbtxt("parameters { key: 'labels' value { string_value: 'x' } }", "m")
    assert fingerprint(said) != fingerprint(read_pbtxt("", "m"))
