"""A model's gates, as ``model.yaml`` and the file of gates write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.errors import ConfigError
from serving.model_config.gates import NO_GATES, GatesConfig, Threshold
from serving.model_config.gates_form import read_gates_file
from serving.model_config.yaml_form import read_yaml
from serving.registry.configs import fingerprint

SET = "data: e.csv, label: y"


def evaluation(text: str) -> str:
    return f"gates: {{evaluation: {{{text}}}}}"


def test_a_model_without_gates_has_none() -> None:
    assert read_yaml("", "m").gates == NO_GATES == GatesConfig()


def test_what_is_asked_of_a_metric_is_read() -> None:
    text = evaluation(f"{SET}, thresholds: {{accuracy: 0.9, rmse: {{at_most: 2, worse_by: 0}}}}")
    read = read_yaml(text, "m").gates.evaluation
    assert read is not None
    assert read.thresholds == (Threshold("accuracy", 0.9), Threshold("rmse", None, 2.0, 0.0))
    assert read.of_slices == read.thresholds
    assert read.metrics == ("accuracy", "rmse")


def test_gates_change_no_slot() -> None:
    gated = read_yaml(evaluation(f"{SET}, thresholds: {{f1: 0.5}}"), "m")
    assert fingerprint(gated) == fingerprint(read_yaml("", "m"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("label: y, thresholds: {}", "at least 1 item"),
        ("label: y", "gates.evaluation.thresholds is missing"),
        ("thresholds: {accuracy: 1}", "accuracy needs a label"),
        ("label: y, thresholds: {rmse: 1}", "of rmse less is better: give at_most"),
        ("label: y, thresholds: {f1: {at_most: 1}}", "of f1 more is better: give at_least"),
        ("thresholds: {agreement: {worse_by: 1}}", "agreement is with the answering version"),
        ("label: y, thresholds: {f1: {}}", "give at_least, at_most or worse_by"),
        ("label: y, thresholds: {f2: 1}", "input should be 'accuracy'"),
        ("data: ../e.csv, label: y, thresholds: {f1: 1}", "outside the model's folder"),
        ("data: /e.csv, label: y, thresholds: {f1: 1}", "outside the model's folder"),
        ("data: e.txt, label: y, thresholds: {f1: 1}", "expected .npz, .parquet, .jsonl, .csv"),
        ("label: y, thresholds: {f1: 1}, slice_thresholds: {f1: 1}", "without slices"),
        ("labl: y, thresholds: {f1: 1}", "did you mean 'label'?"),
    ],
)
def test_what_is_wrong_is_said(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_yaml(evaluation(text), "m")
    assert words in str(caught.value)


def test_the_file_of_gates_says_where_its_data_lies(tmp_path: Path) -> None:
    file = tmp_path / "gates.yaml"
    file.write_text(
        "models: {m: {p99_factor: 3, evaluation: {data: ../e.npz, thresholds: {agreement: 1}}}}"
    )
    gates = read_gates_file(file)["m"]
    assert gates.p99_factor == 3
    assert gates.evaluation is not None
    assert gates.evaluation.folder == str(tmp_path)
    assert gates.evaluation.data == "../e.npz"


def test_a_wrong_file_of_gates_names_the_line_and_the_model(tmp_path: Path) -> None:
    file = tmp_path / "gates.yaml"
    file.write_text("models:\n  m:\n    p99_factr: 3\n")
    with pytest.raises(ConfigError, match=r"gates\.yaml line 3: unknown key"):
        read_gates_file(file)
    file.write_text("models: {m: {evaluation: {thresholds: {f1: 1}}}}")
    with pytest.raises(ConfigError, match=r"model 'm': .* needs a label"):
        read_gates_file(file)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_gates_file(tmp_path / "none.yaml")
