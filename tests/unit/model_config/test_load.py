"""Finding and reading the file: one of two, bounded, UTF-8."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from serving.errors import ConfigError
from serving.model_config import ModelConfig, load_model_config
from serving.model_config.load import MAX_BYTES


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "m"
    folder.mkdir()
    return folder


def refused(model: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_model_config(model)
    words = str(caught.value)
    assert str(model) not in words
    return words


def test_without_a_file_all_is_default(model: Path) -> None:
    assert load_model_config(model) == ModelConfig()


def test_each_form_is_found_by_its_name(model: Path) -> None:
    (model / "model.yaml").write_text("instances: 2")
    assert load_model_config(model).instances == 2

    (model / "model.yaml").unlink()
    (model / "config.pbtxt").write_text('name: "m" instance_group { count: 3 }')
    assert load_model_config(model).instances == 3


def test_both_forms_at_once_are_an_error(model: Path) -> None:
    (model / "model.yaml").write_text("")
    (model / "config.pbtxt").write_text("")

    assert refused(model) == "both config.pbtxt and model.yaml are present; keep one of them"


def test_the_directory_gives_the_models_name(model: Path) -> None:
    (model / "config.pbtxt").write_text('name: "other"')

    assert "differs from the directory's name 'm'" in refused(model)


def test_a_file_that_is_not_utf_8_names_the_line(model: Path) -> None:
    (model / "model.yaml").write_bytes(b"# fine\ninstances: \xff\n")

    assert refused(model) == "model.yaml line 2: not valid UTF-8"


def test_a_huge_file_is_not_read_whole(model: Path) -> None:
    with (model / "config.pbtxt").open("wb") as file:
        file.truncate(50 * 1024**3)

    assert refused(model) == f"config.pbtxt is larger than {MAX_BYTES} bytes"


def test_a_pipe_or_a_folder_of_that_name_does_not_hang(model: Path) -> None:
    os.mkfifo(model / "model.yaml")
    assert refused(model) == "model.yaml is not a regular file"

    (model / "model.yaml").unlink()
    (model / "model.yaml").mkdir()
    assert refused(model) == "model.yaml is not a regular file"


def test_a_dangling_link_is_an_error_not_a_missing_file(model: Path) -> None:
    (model / "model.yaml").symlink_to(model / "gone")

    assert refused(model).startswith("model.yaml cannot be read")
