"""model.yaml: every key changes the configuration; mistakes are named with their line."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.errors import ConfigError
from serving.model_config import (
    ModelConfig,
    TensorConfig,
    VersionPolicy,
    WarmupInput,
    WarmupSample,
)
from serving.model_config.gates import GatesConfig
from serving.model_config.schema import LabelFile, LevelPolicy, SignatureConfig
from serving.model_config.yaml_form import read_yaml
from serving.model_config.yaml_keys import ModelYaml, Section
from serving.model_config.yaml_text import _sections

CASES: list[tuple[str, str, Any]] = [
    ("max_batch_size: 7", "max_batch_size", 7),
    ("batching: false", "batching", False),
    ("batching: {enabled: true}", "batching", True),
    ("batching: {delay_us: 5}", "delay_us", 5),
    ("batching: {preferred_batch_sizes: [2, 4]}", "preferred_batch_sizes", (2, 4)),
    ("batching: {max_queue_requests: 9}", "max_queue_requests", 9),
    ("batching: {max_queue_rows: 9}", "max_queue_rows", 9),
    ("batching: {max_queue_bytes: 9}", "max_queue_bytes", 9),
    ("batching: {priority_levels: 3, default_priority: 2}", "priority_levels", 3),
    ("batching: {priority_levels: 3, default_priority: 2}", "default_priority", 2),
    ("batching: {default_timeout_us: 8}", "default_timeout_us", 8),
    (
        (
            "batching: {priority_levels: 3, default_priority: 2, levels: ["
            "{level: 1, default_timeout_us: 7}, {level: 3, max_queue_requests: 5}]}"
        ),
        "level_policies",
        (LevelPolicy(1, 7), LevelPolicy(3, 0, 5)),
    ),
    ("instances: 2", "instances", 2),
    (
        "providers: {prefer: [cuda, cpu]}",
        "providers_prefer",
        ("CUDAExecutionProvider", "CPUExecutionProvider"),
    ),
    (
        "providers: {require: [CUDAExecutionProvider]}",
        "providers_require",
        ("CUDAExecutionProvider",),
    ),
    (
        "providers: {options: {cuda: {device_id: 1, do_copy_in_default_stream: true}}}",
        "provider_options",
        {"CUDAExecutionProvider": {"device_id": "1", "do_copy_in_default_stream": "1"}},
    ),
    ("session: {graph_optimization_level: basic}", "session.graph_optimization_level", "basic"),
    ("session: {intra_op_threads: 2}", "session.intra_op_threads", 2),
    ("session: {inter_op_threads: 2}", "session.inter_op_threads", 2),
    ("session: {execution_mode: parallel}", "session.execution_mode", "parallel"),
    ("session: {enable_mem_arena: false}", "session.enable_mem_arena", False),
    ("session: {enable_mem_pattern: false}", "session.enable_mem_pattern", False),
    (
        "session: {entries: {session.intra_op.allow_spinning: 0}}",
        "session.entries",
        {"session.intra_op.allow_spinning": "0"},
    ),
    (
        "warmup: [{name: w, count: 2, inputs: {x: {datatype: FP32, shape: [2, 3], fill: random}}}]",
        "warmup",
        (WarmupSample("w", (WarmupInput("x", "FP32", (2, 3), "random"),), 2),),
    ),
    (
        "warmup: [{inputs: {x: {file: x.raw}}}]",
        "warmup",
        (WarmupSample("warmup_0", (WarmupInput("x", fill="file", file="x.raw"),)),),
    ),
    ("version_policy: {latest: 2}", "version_policy", VersionPolicy("latest", 2)),
    ("version_policy: all", "version_policy", VersionPolicy("all")),
    ("version_policy: {all: true}", "version_policy", VersionPolicy("all")),
    (
        "version_policy: {specific: [4, 2]}",
        "version_policy",
        VersionPolicy("specific", specific=(2, 4)),
    ),
    (
        "inputs: [{name: x, datatype: INT64, shape: [-1, 3], optional: true}]",
        "inputs",
        (TensorConfig("x", "INT64", (-1, 3), True),),
    ),
    ("outputs: [{name: y}]", "outputs", (TensorConfig("y"),)),
    (
        "outputs: [{name: y, label_filename: l.txt}]",
        "outputs",
        (TensorConfig("y", labels=LabelFile("l.txt")),),
    ),
    ("tolerance: {rtol: 0.5}", "tolerance.rtol", 0.5),
    ("tolerance: {atol: 2}", "tolerance.atol", 2.0),
    ("model_filename: net.onnx", "model_filename", "net.onnx"),
    ("isolation: process", "isolation", "process"),
    ("isolation: none", "isolation", "none"),
    ("run_timeout_s: 2.5", "run_timeout_s", 2.5),
    ("run_timeout_s: 0", "run_timeout_s", 0),
    ("memory_bytes: 1000", "memory_bytes", 1000),
    ("request_log: {rate: 0.05}", "request_log.rate", 0.05),
    ("request_log: {rate: 0}", "request_log.rate", 0.0),
    ("route: {weights: {4: 5, 3: 95}}", "route.weights", {3: 95, 4: 5}),
    ("route: {weights: {}}", "route.weights", {}),
    ("route: {weights: {3: 1}, sticky: X-User}", "route.sticky", "x-user"),
    ("route: {aliases: {champion: 3}}", "route.aliases", {"champion": 3}),
    ("route: {pin: 3}", "route.pin", 3),
    ("route: {shadows: {4: 0.1, 3: '5%'}}", "route.shadows", {3: 0.05, 4: 0.1}),
    ("route: {shadows: {}}", "route.shadows", {}),
    ("canary: {automatic: true}", "canary.given", (("automatic", True),)),
    (
        "canary: {steps: [10, 100], every_s: 0, drift: {scores: 0.1}}",
        "canary.given",
        (("steps", (10, 100)), ("every_s", 0), ("drift", (("scores", 0.1),))),
    ),
    ("validation: {mode: reject}", "validation.mode", "reject"),
    ("validation: {features: {x: off}}", "validation.features", {"x": "off"}),
    ("request_log: {redact: [image, user_*]}", "request_log.redact", ("image", "user_*")),
    (
        "signatures: {s: {method: classify, inputs: [x], classes: a, scores: b}}",
        "signatures",
        (SignatureConfig("s", "classify", ("x",), "a", "b"),),
    ),
    (
        "signatures: {s: {method: regress, output: y}}",
        "signatures",
        (SignatureConfig("s", "regress", output="y"),),
    ),
    ("parameters: {owner: vision}", "parameters", {"owner": "vision"}),
    ("gates: {safe_to_serve: true, p99_factor: 3}", "gates", GatesConfig(True, 3.0)),
]


def value(config: ModelConfig, name: str) -> Any:
    found: Any = config
    for part in name.split("."):
        found = getattr(found, part)
    return found


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read_yaml(text, "m")
    return str(caught.value)


@pytest.mark.parametrize(("text", "name", "expected"), CASES)
def test_each_key_changes_the_configuration(text: str, name: str, expected: Any) -> None:
    assert value(read_yaml(text, "m"), name) == expected
    assert value(ModelConfig(), name) != expected


def _keys(section: type[Section], path: str = "") -> set[str]:
    found: set[str] = set()
    for name, field in section.model_fields.items():
        inner = [s for s in _sections(field.annotation) if issubclass(s, Section)]
        nested = [key for s in inner for key in _keys(s, f"{path}{name}.")]
        found.update(nested or [f"{path}{name}"])
    return found


def test_the_table_above_has_every_key() -> None:
    text = "\n".join(case[0] for case in CASES)

    missing = {key for key in _keys(ModelYaml) if f"{key.rsplit('.', 1)[-1]}:" not in text}

    assert missing == set()


def test_every_field_of_the_configuration_can_be_set() -> None:
    set_by_yaml = {case[1].split(".")[0] for case in CASES}
    own = {"source", "triton", "ignored"}

    assert {field.name for field in fields(ModelConfig)} == set_by_yaml | own


@pytest.mark.parametrize("text", ["", "# only words\n", "---\n", "{}"])
def test_an_empty_file_is_all_default(text: str) -> None:
    config = read_yaml(text, "m")

    assert config.source == "model.yaml"
    assert (config.max_batch_size, config.batching) == (None, None)
    assert config.session == ModelConfig().session


def test_unknown_keys_name_line_and_nearest_key() -> None:
    assert refused("instances: 1\nmax_batchsize: 4") == (
        "model.yaml line 2: unknown key 'max_batchsize'; did you mean 'max_batch_size'?"
    )
    words = refused("batching:\n  enabled: true\n  delay: 3\n")
    assert words.startswith("model.yaml line 3: unknown key 'batching.delay'")
    assert "did you mean 'delay_us'?" in words
    assert "did you mean 'datatype'?" in refused("inputs:\n- name: x\n  data_type: FP32")
    assert "did you mean 'shape'?" in refused("warmup: [{inputs: {x: {shap: [1]}}}]")


@pytest.mark.parametrize("key", ["ensemble", "cache"])
def test_planned_keys_say_so(key: str) -> None:
    assert refused(f"{key}: x") == f"model.yaml line 1: {key} is not supported yet"


def test_all_mistakes_are_told_at_once() -> None:
    words = refused("instances: many\nmax_batch_size: -1\n")

    assert "model.yaml line 1: instances" in words
    assert "model.yaml line 2: max_batch_size" in words


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("max_batch_size: '8'", "valid integer"),
        ("max_batch_size: true", "valid integer"),
        ("max_batch_size: 3000000000", "less than or equal"),
        ("instances: 0", "greater than or equal"),
        ("instances: 2000", "from 1 to 1024"),
        ("batching: sometimes", "batching"),
        ("batching: true\nmax_batch_size: 0", "unbatched"),
        ("max_batch_size: 4\nbatching: {preferred_batch_sizes: [8]}", "8 is more than"),
        ("batching: {priority_levels: 2}", "from 1 to 2"),
        ("batching: {default_priority: 2}", "needs priority levels"),
        ("providers: {prefer: []}", "at least 1"),
        ("providers: {prefer: [CUDAExecutonProvider]}", "did you mean 'CUDAExecutionProvider'?"),
        ("providers: {prefer: [cdua]}", "did you mean 'cuda'?"),
        ("session: {graph_optimization_level: 99}", "graph_optimization_level"),
        ("session: {intra_op_threads: -1}", "greater than or equal"),
        ("version_policy: {latest: 1, all: true}", "give one of"),
        ("version_policy: newest", "version_policy"),
        ("version_policy: {specific: []}", "at least one version"),
        ("inputs: [{datatype: FP32}]", "inputs.0.name is missing"),
        ("inputs: [{name: x, datatype: FLOAT}]", "inputs.0.datatype"),
        ("inputs: [{name: x, shape: [0]}]", "got 0"),
        ("inputs: [{name: x}, {name: x}]", "'x' is listed twice"),
        ("tolerance: {rtol: .nan}", "finite"),
        ("tolerance: {rtol: -1}", "greater than or equal"),
        ("route: {weights: {3: 0}}", "all weights are 0"),
        ("route: {weights: {0: 1}}", "route.weights.0"),
        ("route: {weights: {3: 10001}}", "less than or equal to 10000"),
        ("route: {weights: {3: 0.5}}", "route.weights.3"),
        ("route: {shadows: {3: 1.5}}", "route.shadows.3"),
        ("route: {shadows: {3: some}}", "route.shadows.3"),
        ("route: {weights: {3: 1}, shadows: {3: 0.5}}", "version 3 has a weight"),
        ("route: {sticky: x-user}", "there are no weights"),
        ("route: {weights: {3: 1}, sticky: 'a b'}", "visible ASCII characters"),
        ("route: {pin: 0}", "greater than or equal"),
        ("canary: {steps: [10, 50]}", "canary.steps: the last step has to be 100"),
        ("canary: {steps: [10, true]}", "canary.steps.1"),
        ("canary: {confidence: 1}", "less than 1"),
        ("canary: {sticky: 'a b'}", "visible ASCII characters"),
        ("canary: {newer: never}", "'waits' or 'replaces'"),
        ("canary: {window_s: 1}", "unknown key 'canary.window_s'"),
        ("canary: {automatik: true}", "did you mean"),
        ("canary: {drift: {classes: 2}}", "less than or equal to 1"),
        ("steps: [1, 100]", "unknown key 'steps': it is canary.steps"),
        ("rollout: {automatic: true}", "unknown key 'rollout': it is canary"),
        ("weights: {3: 1}", "unknown key 'weights': it is route.weights"),
        ("labels: {a: 1}", "unknown key 'labels': it is route.aliases"),
        ("model_filename: ../a.onnx", "plain file name"),
        ("model_filename: ''", "plain file name"),
        ("warmup: [{inputs: {x: {file: a/b}}}]", "plain file name"),
        ("warmup: [{inputs: {x: {file: a, fill: zero}}}]", "not both"),
        ("warmup: [{inputs: {x: {shape: [-1]}}}]", "variable-size dimensions"),
        ("instances: 1\ninstances: 2", "line 2: key 'instances' is given twice"),
        ("a: &x [1]\nb: *x", "line 2: aliases are not supported"),
        ("instances: [", "line 1"),
        ("- instances", "keys and values"),
        ("? [a, b]\n: 1", "a key is one word"),
        ("instances: !!python/object/apply:os.system ['true']", "instances"),
        ("instances: !!python/name:os.system", "python/name"),
        ("? 1\n: 2", "unknown key '1'"),
        ("isolation: yes", "isolation"),
        ("isolation: thread", "'process' or 'none'"),
        ("run_timeout_s: -1", "greater than or equal"),
        ("run_timeout_s: '1'", "valid number"),
        ("memory_bytes: 0", "greater than or equal"),
        ("memory_bytes: 1.5", "valid integer"),
        ("request_log: {rate: 1.5}", "less than or equal to 1"),
        ("request_log: {rate: -0.1}", "greater than or equal to 0"),
        ("request_log: {redact: [1]}", "valid string"),
        ("request_log: {path: /tmp}", "path"),
    ],
)
def test_wrong_values_are_refused(text: str, reason: str) -> None:
    words = refused(text)

    assert words.startswith("model.yaml")
    assert reason in words


@pytest.mark.parametrize(
    "option",
    [
        "session.custom_op_library",
        "session.load_config",
        "session.load_model_format",
        "ep.context_file_path",
        "session.model_external_initializers_file_folder_path",
    ],
)
def test_fault_12_options_that_load_code_or_touch_files_are_refused(option: str) -> None:
    assert f"option '{option}' is refused" in refused(f"session: {{entries: {{{option}: x}}}}")
    assert "is refused" in refused(f"providers: {{options: {{cuda: {{{option}: x}}}}}}")


def test_fault_59_deep_nesting_and_alias_bombs_are_errors() -> None:
    assert "nested too deeply" in refused("parameters: " + "[" * 20_000)
    bomb = "a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]"
    assert "aliases are not supported" in refused(bomb)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read_yaml(text, "m")
    except ConfigError as error:
        assert str(error).startswith("model.yaml")  # noqa: PT017 - any text may also be right


@pytest.mark.parametrize(
    ("levels", "words"),
    [
        ("{level: 3}", "a policy names priority level 3 of 2"),
        ("{level: 1}, {level: 1}", "priority level 1 has two policies"),
    ],
)
def test_a_level_has_one_policy_and_is_there(levels: str, words: str) -> None:
    text = f"batching: {{priority_levels: 2, default_priority: 1, levels: [{levels}]}}"
    assert words in refused(text)


def test_validation_has_a_mode_and_features_of_their_own() -> None:
    text = 'validation: {mode: log, features: {"x[1]": reject, colour: off}}\n'
    found = read_yaml(text, "m").validation
    assert (found.mode, dict(found.features)) == ("log", {"x[1]": "reject", "colour": "off"})
    assert read_yaml("validation: {mode: off}\n", "m").validation.mode == "off"
    assert read_yaml("", "m").validation.mode is None
    with pytest.raises(ConfigError, match="input should be 'off', 'log' or 'reject'"):
        read_yaml("validation: {mode: refuse}\n", "m")
