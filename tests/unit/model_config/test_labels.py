"""Label files: beside the configuration, bounded, and part of what it says."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from serving.errors import ConfigError
from serving.model_config import ModelConfig, load_model_config, triton_config
from serving.model_config.labels import MAX_BYTES, labels_of
from serving.model_config.plain import from_plain, to_plain
from serving.model_config.schema import LabelFile, TensorConfig
from serving.model_config.triton_json import read_triton_json
from serving.signature import Signature, Tensor

PBTXT = 'output { name: "y" data_type: TYPE_FP32 dims: 3 label_filename: "labels.txt" }'
FORMS = {
    "config.pbtxt": PBTXT,
    "model.yaml": "outputs: [{name: y, label_filename: labels.txt}]",
}


@pytest.fixture(params=FORMS)
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / request.param).write_text(FORMS[request.param])
    (folder / "labels.txt").write_text("cat\nd\u00f6g\n")
    return folder


def refused(model: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_model_config(model)
    words = str(caught.value)
    assert str(model) not in words
    return words


def test_the_file_is_found_and_told_to_clients(model: Path) -> None:
    config = load_model_config(model)
    assert labels_of(config, model) == {"y": "cat\nd\u00f6g\n"}
    shown = triton_config(
        "m",
        Signature((Tensor("x", "FP32", (-1,)),), (Tensor("y", "FP32", (3,)),)),
        config,
        max_rows=0,
    )
    assert [one.label_filename for one in shown.output] == ["labels.txt"]


def test_other_labels_are_another_configuration(model: Path) -> None:
    before = load_model_config(model)
    assert load_model_config(model) == before
    (model / "labels.txt").write_text("cat\ncow\n")
    assert load_model_config(model) != before


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "labels.txt cannot be read"), (b"fine\n\xff", "labels.txt line 2: not valid UTF-8")],
)
def test_a_file_that_cannot_be_labels_is_an_error(
    model: Path, content: bytes | None, words: str
) -> None:
    (model / "labels.txt").unlink()
    if content is not None:
        (model / "labels.txt").write_bytes(content)
    assert words in refused(model)


def test_a_file_over_the_bound_is_not_read(model: Path) -> None:
    os.truncate(model / "labels.txt", MAX_BYTES + 1)
    assert refused(model) == f"labels.txt is larger than {MAX_BYTES} bytes"


def test_the_labels_of_all_outputs_are_bounded_together(model: Path) -> None:
    """Each output keeps its own, also where they name one file."""
    os.truncate(model / "labels.txt", MAX_BYTES // 2)
    lines = ", ".join(f"{{name: y{n}, label_filename: labels.txt}}" for n in range(3))
    for file in model.glob("config.pbtxt"):
        file.unlink()
    (model / "model.yaml").write_text(f"outputs: [{lines}]")
    assert refused(model) == f"the labels of all outputs have more than {MAX_BYTES} bytes"


def test_fault_109_a_pipe_is_no_file_of_labels(model: Path) -> None:
    (model / "labels.txt").unlink()
    os.mkfifo(model / "labels.txt")
    assert refused(model) == "labels.txt is not a regular file"


def test_fault_61_a_link_may_not_leave_the_models_folder(model: Path) -> None:
    """Labels are told to clients."""
    (model / "real").write_text("inside")
    (model.parent / "secret").write_text("outside")
    (model / "labels.txt").unlink()
    (model / "labels.txt").symlink_to("real")
    assert labels_of(load_model_config(model), model) == {"y": "inside"}
    (model / "labels.txt").unlink()
    (model / "labels.txt").symlink_to("../secret")
    assert refused(model) == "labels.txt is a link that leaves the model's folder"


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "a/labels.txt", "..", "a\\\\b"])
def test_fault_61_a_label_file_is_a_plain_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "config.pbtxt").write_text(PBTXT.replace("labels.txt", name))
    assert "label_filename must be a plain file name" in refused(folder)
    text = (
        '{"output": [{"name": "y", "data_type": "TYPE_FP32", "dims": [3], "label_filename": "%s"}]}'
    )
    with pytest.raises(ConfigError, match="label_filename must be a plain file name"):
        read_triton_json(text % name, "m")


def test_inputs_have_no_labels(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "model.yaml").write_text("inputs: [{name: x, label_filename: labels.txt}]")
    assert "unknown key 'inputs.0.label_filename'" in refused(folder)


def test_children_are_told_the_same() -> None:
    config = ModelConfig(outputs=(TensorConfig("y", labels=LabelFile("labels.txt", "abc")),))
    assert replace(from_plain(to_plain(config)), triton=b"") == config
