"""Who runs in a child: the model's word, then the operator's, then what was found out."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.execution.isolation.isolation_policy import isolation_reason
from serving.execution.onnx_beside import MOST_FIELDS, fields_of_file
from serving.execution.stated import stated_by
from serving.model_config.schema import Isolation, ModelConfig
from serving.settings import load_settings
from tests.external_models import FILE, KINDS, sparse_in_function


@pytest.mark.parametrize(
    ("said", "mode", "trial_died", "integer_div", "word"),
    [
        (None, "auto", False, False, ""),
        (None, "auto", True, False, "trial"),
        (None, "auto", False, True, "divides integers"),
        (None, "none", True, True, ""),
        (None, "process", False, False, "isolation.mode"),
        ("process", "none", False, False, "configuration"),
        ("process", "auto", False, False, "configuration"),
        ("none", "process", True, True, ""),
        ("none", "auto", True, True, ""),
    ],
)
def test_who_runs_in_a_child(
    said: Isolation | None, mode: str, trial_died: bool, integer_div: bool, word: str
) -> None:
    settings, _ = load_settings({"isolation.mode": mode}, environ={})

    reason = isolation_reason(
        ModelConfig(isolation=said), settings, trial_died=trial_died, integer_div=integer_div
    )

    assert bool(reason) == bool(word)
    assert word in reason


@pytest.mark.parametrize("mode", ["auto", "none"])
def test_a_sparse_tensor_in_a_function_is_loaded_in_a_child(mode: str) -> None:
    settings, _ = load_settings({"isolation.mode": mode}, environ={})
    found = {"trial_died": False, "integer_div": False, "sparse_functions": True}
    reason = isolation_reason(ModelConfig(), settings, **found)
    assert ("sparse tensor" in reason) == (mode == "auto")


@pytest.mark.parametrize("mode", ["auto", "none"])
def test_what_grows_with_values_is_run_in_a_child_that_names_the_node(mode: str) -> None:
    settings, _ = load_settings({"isolation.mode": mode}, environ={})
    found = {"trial_died": False, "integer_div": False}
    reason = isolation_reason(ModelConfig(), settings, **found, grows="node 'fill' (Expand)")
    assert ("node 'fill' (Expand)" in reason) == (mode == "auto")


def file_holds_sparse_functions(version_dir: Path, filename: str) -> bool:
    return stated_by(version_dir, filename).sparse_functions


def test_sparse_tensors_in_functions_are_found_and_others_are_none(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    assert not file_holds_sparse_functions(tmp_path, "model.onnx")
    for made in KINDS.values():
        file.write_bytes(made(FILE).SerializeToString())
        assert not file_holds_sparse_functions(tmp_path, "model.onnx")
    whole = sparse_in_function(FILE).SerializeToString()
    file.write_bytes(whole)
    assert file_holds_sparse_functions(tmp_path, "model.onnx")
    (function,) = fields_of_file(tmp_path, "model.onnx", {25})
    file.write_bytes(whole.replace(function, b"\xca\x81\x00" + function[2:]))  # written longer
    assert file_holds_sparse_functions(tmp_path, "model.onnx")
    for length in range(0, len(whole), 7):
        file.write_bytes(whole[:length])
        file_holds_sparse_functions(tmp_path, "model.onnx")  # ends with a verdict
    file.write_bytes(b"\xca\x01" + b"\xff" * 8 + b"\x7f")  # a function of 2**63 - 1 bytes
    assert not file_holds_sparse_functions(tmp_path, "model.onnx")


def test_a_file_with_more_fields_than_are_looked_at_is_run_in_a_child(tmp_path: Path) -> None:
    field = b"\x88\x06\x01"
    (tmp_path / "model.onnx").write_bytes(field * MOST_FIELDS)
    assert not file_holds_sparse_functions(tmp_path, "model.onnx")
    (tmp_path / "model.onnx").write_bytes(field * (MOST_FIELDS + 1))
    assert file_holds_sparse_functions(tmp_path, "model.onnx")
