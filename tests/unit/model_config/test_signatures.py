"""Signatures for examples: what may be written, and what it must find in the model."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from serving.errors import ConfigError
from serving.model_config import ModelConfig, fit_signature
from serving.model_config.pbtxt import read_pbtxt
from serving.model_config.plain import from_plain, to_plain
from serving.model_config.schema import SignatureConfig
from serving.model_config.signatures import (
    MAX_SIGNATURES,
    fitted,
    for_core,
    read_json,
    to_json,
)
from serving.model_config.yaml_form import read_yaml
from serving.signature import Signature, Tensor

BOTH = (
    SignatureConfig("kinds", "classify", ("x",), classes="label", scores="p"),
    SignatureConfig("price", "regress", output="y"),
)
KEYS = {
    "kinds": {"method": "classify", "inputs": ["x"], "classes": "label", "scores": "p"},
    "price": {"method": "regress", "output": "y"},
}


def pbtxt(text: str) -> ModelConfig:
    value = json.dumps(text)
    return read_pbtxt(f'parameters {{ key: "signatures" value {{ string_value: {value} }} }}', "m")


def test_both_forms_say_the_same() -> None:
    assert read_yaml(json.dumps({"signatures": KEYS}), "m").signatures == BOTH
    config = pbtxt(json.dumps(KEYS))
    assert (config.signatures, config.ignored) == (BOTH, ())
    assert from_plain(to_plain(config)).signatures == BOTH
    assert read_json(to_json(BOTH)) == BOTH


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"s": {"method": "classify"}}, "needs 'classes' or 'scores'"),
        ({"s": {"method": "regress"}}, "needs 'output'"),
        ({"s": {"method": "regress", "output": "y", "scores": "y"}}, "regress has no 'scores'"),
        ({"s": {"method": "classify", "output": "y"}}, "classify has no 'output'"),
        ({"s": {"method": "classify", "classes": "y", "scores": "y"}}, "the same output"),
        ({"s": {"method": "regress", "output": "y", "inputs": ["a", "a"]}}, "listed twice"),
        ({"serving_default": {"method": "regress", "output": "y"}}, "cannot be called"),
        ({"": {"method": "regress", "output": "y"}}, "printable bytes"),
        ({"a\n": {"method": "regress", "output": "y"}}, "printable bytes"),
        (
            {f"s{i}": {"method": "regress", "output": "y"} for i in range(MAX_SIGNATURES + 1)},
            "at most 64",
        ),
    ],
)
def test_what_contradicts_itself_is_refused(keys: dict[str, object], words: str) -> None:
    for read in (
        lambda: read_yaml(json.dumps({"signatures": keys}), "m"),
        lambda: pbtxt(json.dumps(keys)),
    ):
        with pytest.raises(ConfigError, match=words):
            read()


def test_keys_that_there_are_not_are_told() -> None:
    with pytest.raises(ConfigError, match="method: input should be"):
        read_yaml("signatures: {s: {method: predict, output: y}}", "m")
    with pytest.raises(ConfigError, match=r"parameter 'signatures': s\.values"):
        pbtxt('{"s": {"method": "regress", "output": "y", "values": 1}}')
    with pytest.raises(ConfigError, match="parameter 'signatures': Invalid JSON"):
        pbtxt("{")


MODEL = Signature(
    inputs=(
        Tensor("x", "FP32", (-1, 4)),
        Tensor("k", "INT64", (-1, -1), optional=True),
        Tensor("half", "FP16", (-1,), optional=True),
    ),
    outputs=(
        Tensor("label", "INT64", (-1,)),
        Tensor("p", "FP32", (-1, 3)),
        Tensor("y", "FP64", (-1, 1)),
    ),
)
GOOD = SignatureConfig("s", "classify", classes="label")


def test_without_a_list_all_inputs_that_features_can_fill_are_meant() -> None:
    (found,) = fitted((GOOD,), MODEL)
    assert found.inputs == ("x", "k")
    assert for_core((found,)) == [("s", "classify", ["x", "k"], {"classes": "label"})]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"inputs": ("z",)}, "has no input 'z'"),
        ({"inputs": ("k",)}, "lacks the input 'x', which the model needs"),
        ({"inputs": ("x", "half")}, "input 'half' is FP16"),
        ({"classes": "lable"}, "has no output 'lable'; did you mean 'label'"),
        ({"classes": "p"}, "output 'p' is FP32, classes are BYTES or integers"),
        ({"scores": "label", "classes": None}, "is INT64, scores are FP32 or FP64"),
        ({"scores": "p"}, "each class has a score"),
        ({"method": "regress", "classes": None, "output": "p"}, "one value for each example"),
    ],
)
def test_what_the_model_has_not_is_told(change: dict[str, object], words: str) -> None:
    config = ModelConfig(signatures=(replace(GOOD, **change),))  # type: ignore[arg-type]  # by name
    with pytest.raises(ConfigError, match=words):
        fit_signature("m", config, MODEL)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((4,), "axis 0 must vary"),
        ((), "axis 0 must vary"),
        ((-1, 2, -1, -1), "one may vary"),
        ((-1, 0), "has no values"),
    ],
)
def test_a_feature_must_be_able_to_be_a_row(shape: tuple[int, ...], words: str) -> None:
    model = replace(MODEL, inputs=(Tensor("x", "FP32", shape),))
    with pytest.raises(ConfigError, match=words):
        fitted((GOOD,), model)
