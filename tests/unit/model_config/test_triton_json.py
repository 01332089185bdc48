"""A model's configuration as a load request brings it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from serving.errors import ConfigError
from serving.model_config.triton_json import read_triton_json


def read(**keys: Any) -> Any:
    return read_triton_json(json.dumps(keys), "m")


def test_integers_may_be_texts_and_enumerations_in_any_case() -> None:
    tensor = {"name": "x", "data_type": "type_fp32", "dims": ["4"]}
    config = read(
        name="m",
        max_batch_size="16",
        input=[tensor],
        instance_group=[{"kind": "kind_cpu", "count": "2"}],
        dynamic_batching={"max_queue_delay_microseconds": "250"},
        version_policy={"specific": {"versions": ["1", 3]}},
    )
    assert (config.max_batch_size, config.instances) == (16, 2)
    assert config.providers_prefer == ("CPUExecutionProvider",)
    assert config.delay_us == 250
    assert config.version_policy.specific == (1, 3)
    assert config.inputs[0].datatype == "FP32"
    assert config.inputs[0].shape == (-1, 4)


def test_both_spellings_of_a_key_are_known() -> None:
    assert read(maxBatchSize=8, dynamicBatching={}).max_batch_size == 8


def test_a_byte_order_mark_before_the_text_is_skipped() -> None:
    assert read_triton_json("\ufeff{}", "m") == read_triton_json("{}", "m")


def test_enumerations_inside_of_maps_are_found() -> None:
    sample = {"name": "s", "batch_size": 1, "inputs": {"x": _zeros("type_int64")}}
    (found,) = read(max_batch_size=4, model_warmup=[sample]).warmup
    assert found.inputs[0].datatype == "INT64"


def _zeros(kind: str) -> dict[str, Any]:
    return {"data_type": kind, "dims": [3], "zero_data": True}


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"max_batch_sise": 1}, "unknown key 'max_batch_sise'; did you mean 'max_batch_size'"),
        ({"instance_group": [{"cuont": 1}]}, "unknown key 'cuont'"),
        ({"url": "https://example.com/m.onnx"}, "unknown key 'url'"),
        ({"name": "other"}, "differs from the directory's name"),
        ({"max_batch_size": -1}, "negative"),
        ({"max_batch_size": "many"}, "max_batch_size"),
        ({"max_batch_size": 2**40}, "max_batch_size"),
        ({"instance_group": [{"kind": "KIND_TPU"}]}, "KIND_TPU"),
        ({"backend": "python"}, "unexpected backend"),
        ({"runtime": "libonnx.so"}, "runtime"),
        ({"model_operations": {"op_library_filename": ["libops.so"]}}, "model_operations"),
        ({"default_model_filename": "../../etc/passwd"}, "plain file name"),
        ({"default_model_filename": "https://example.com/m.onnx"}, "plain file name"),
    ],
)
def test_fault_12_64_what_no_configuration_may_say(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read(**keys)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '"x"',
        '{"name": "m", "name": "m"}',
        "[" * 100_000,
        '{"ensemble_scheduling": ' * 200 + "{}" + "}" * 200,
        '{"name": "\\ud800"}',
        " " * (1024 * 1024 + 1),
        '{"max_batch_size": 1e400}',
        '{"max_batch_size": ' + "9" * 5000 + "}",
    ],
)
def test_what_is_no_configuration_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_triton_json(text, "m")
    assert 0 < len(str(caught.value)) <= 600
    assert "\n" not in str(caught.value)
