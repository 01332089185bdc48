"""Model config lists: what they say, and in which words they are refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from serving.errors import ConfigError
from serving.model_config.schema import VersionPolicy
from serving.registry.model_list.base_paths import versions_below
from serving.registry.model_list.entries import MOST_LABELS, MOST_MODELS, Entry, ModelList
from serving.registry.model_list.reading import read_list_file
from serving.registry.snapshot import Listed

GOOD = "name: 'm' base_path: '/models/m' model_platform: 'tensorflow'"


def listed(*configs: str) -> str:
    return f"model_config_list {{ {' '.join(f'config {{ {one} }}' for one in configs)} }}"


def read(folder: Path, text: str) -> ModelList:
    file = folder / "models.config"
    file.write_text(text)
    return read_list_file(file)


def one(folder: Path, more: str = "") -> Entry:
    return read(folder, listed(f"{GOOD} {more}")).entries["m"]


def test_a_list_says_where_models_lie_and_how_they_are_served(tmp_path: Path) -> None:
    text = """
        # As TensorFlow Serving's documents have it.
        model_config_list: {
          config: {
            name: "first", base_path: "/models/first/", model_platform: "onnx",
            model_version_policy: { specific: { versions: 43 versions: 42 } }
            version_labels: { key: "stable" value: 42 }
            version_labels: { key: "canary" value: 43 }
            logging_config: { sampling_config: { sampling_rate: 0.25 } }
          }
          config: { name: "old", base_path: "/models/old", model_type: TENSORFLOW }
        }
    """
    found = read(tmp_path, text)
    policy = VersionPolicy("specific", specific=(42, 43))
    assert found.entries == {
        "first": Entry(
            "first", "/models/first", Listed("onnx", policy, {"canary": 43, "stable": 42}, 0.25)
        ),
        "old": Entry("old", "/models/old", Listed("tensorflow")),
    }
    assert found.notes == ()
    assert read(tmp_path, "model_config_list {}").entries == {}


def test_what_tensorflow_serving_samples_by_besides_a_rate_is_taken_with_a_note(
    tmp_path: Path,
) -> None:
    sampled = """sampling_rate: 0.5 attributes: 1
        per_task_sampling_configs { dc: 'aa' task_index: 0 sampling_rate: 1 }"""
    text = listed(f"{GOOD} logging_config {{ sampling_config {{ {sampled} }} }}")
    found = read(tmp_path, text)
    assert found.entries["m"].listed.rate == 0.5
    assert [note.split(" has no effect")[0] for note in found.notes] == [
        "model 'm': sampling_config.attributes",
        "model 'm': sampling_config.per_task_sampling_configs",
    ]


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("", None),
        ("model_version_policy {}", None),
        ("model_version_policy { all {} }", VersionPolicy("all")),
        ("model_version_policy { latest { num_versions: 3 } }", VersionPolicy("latest", 3)),
        ("model_version_policy { latest {} }", VersionPolicy("latest", 1)),
    ],
)
def test_a_version_policy_is_the_lists_where_it_has_one(
    tmp_path: Path, text: str, policy: VersionPolicy | None
) -> None:
    assert one(tmp_path, text).listed.policy == policy


def test_what_has_no_effect_is_noted(tmp_path: Path) -> None:
    more = "logging_config { log_collector_config { type: 'x' filename_prefix: '/tmp/y' } }"
    (note,) = read(tmp_path, listed(f"{GOOD} {more}")).notes
    assert note.startswith("model 'm': logging_config.log_collector_config has no effect")
    assert one(tmp_path, more).listed.rate is None


MANY = " ".join(f"version_labels {{ key: 'a{n}' value: 1 }}" for n in range(MOST_LABELS + 1))
WRONG = {
    "": "Only ModelConfigList is currently supported",
    "custom_model_config {}": "Only ModelConfigList is currently supported",
    "model_config_list {": 'line 1: Expected "}"',
    "model_config_list {\n  config {\n    nane: 'x' } }": 'line 3: Message type "tensorflow.servin',
    listed(GOOD, GOOD): "model 'm' is in the list twice",
    listed("base_path: '/x' model_platform: 'onnx'"): "a model has no name (base_path '/x')",
    listed("name: 'a/b' base_path: '/x' model_platform: 'onnx'"): "'a/b': a model's name has no sl",
    listed("name: 'm' model_platform: 'onnx'"): "model 'm': it has no base_path",
    listed("name: 'm' base_path: 'x' model_platform: 'onnx'"): "base_path 'x' is not absolute",
    listed("name: 'm' base_path: '/x/../y' model_platform: 'onnx'"): "not absolute, without '..'",
    listed("name: 'm' base_path: '/x\\000' model_platform: 'onnx'"): "its base_path is no path",
    listed("name: 'm' base_path: '/x'"): "it has no model_platform: expected 'onnx'",
    listed("name: 'm' base_path: '/x' model_type: OTHER"): "it has no model_platform",
    listed(f"{GOOD} model_type: TENSORFLOW"): "both model_type and model_platform",
    listed("name: 'm' base_path: '/x' model_platform: 'jax'"): "'jax' is not served here",
    listed(f"{GOOD} model_version_policy {{ specific {{}} }}"): "specific names no versions",
    listed(f"{GOOD} model_version_policy {{ specific {{ versions: 0 }} }}"): "or one below 1",
    listed(f"{GOOD} version_labels {{ key: '7' value: 1 }}"): "'7' is no name for a version",
    listed(f"{GOOD} version_labels {{ key: 'a' value: 0 }}"): "the version 0, which is below 1",
    listed(f"{GOOD} {MANY}"): f"more than {MOST_LABELS} version_labels",
    listed(f"{GOOD} logging_config {{ sampling_config {{ sampling_rate: 1.5 }} }}"): "from 0 to 1",
    listed(f"{GOOD} logging_config {{ sampling_config {{ sampling_rate: nan }} }}"): "from 0 to 1",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_list_is_refused_as_a_whole_in_words(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(tmp_path, text)
    assert str(error.value).startswith(f"{tmp_path}/models.config: ")
    assert WRONG[text] in str(error.value)


def test_a_list_is_bounded(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"more than {MOST_MODELS} models"):
        read(tmp_path, "model_config_list {" + "config {}" * (MOST_MODELS + 1) + "}")


def test_fault_109_only_a_regular_file_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, words in (("pipe", "not a regular file"), ("none", "No such file")):
        with pytest.raises(ConfigError, match=words):
            read_list_file(tmp_path / name)
    (tmp_path / "bad").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_list_file(tmp_path / "bad")


def test_versions_of_a_base_path_are_integers_also_with_zeros(tmp_path: Path) -> None:
    for name in ("00000123", "7", "x", "0", "99999999999999999999"):
        (tmp_path / name).mkdir()
    assert versions_below(str(tmp_path)) == {123, 7}
    (tmp_path / "model.onnx").write_text("")
    assert versions_below(str(tmp_path)) == {123, 7, 1}
