"""The user's own samples: found, read strictly, and run before anything else."""

from __future__ import annotations

import json

import numpy as np
import pytest

from serving.errors import LoadError
from serving.loading.inputs import sample_files
from serving.loading.inputs.sample_files import UnfitError, fit
from serving.loading.inputs.samples import Sample, Sources, collect, run_all, sampled_rows
from serving.model_config.schema import ModelConfig, WarmupInput, WarmupSample
from serving.signature import Signature, Tensor

ONE = Signature(inputs=(Tensor("x", "FP32", (-1, 2)),), outputs=(Tensor("y", "FP32", (-1, 2)),))
TWO = Signature(
    inputs=(Tensor("a", "INT64", (-1, 1)), Tensor("t", "BYTES", (-1,))),
    outputs=(Tensor("y", "FP32", (-1,)),),
)
MOST = 1 << 20
ROWS = [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"x": ROWS}, id="dict_of_lists"),
        pytest.param(ROWS, id="plain_list"),
        pytest.param({"inputs": ROWS}, id="inputs_of_one"),
        pytest.param({"inputs": {"x": ROWS}}, id="inputs_by_name"),
        pytest.param({"instances": ROWS}, id="instances"),
        pytest.param({"columns": ["p", "q"], "data": ROWS}, id="split"),
        pytest.param(
            {"dataframe_split": {"columns": ["p", "q"], "data": ROWS}}, id="wrapped_split"
        ),
        pytest.param([{"p": 1, "q": 2}, {"p": 3, "q": 4}], id="records"),
        pytest.param({"dataframe_records": [{"p": 1, "q": 2}, {"p": 3, "q": 4}]}, id="wrapped"),
        pytest.param(
            {"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3, 4]}]},
            id="request",
        ),
        pytest.param(
            {"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 2], "data": ROWS}]},
            id="request_nested",
        ),
    ],
)
def test_every_known_form_is_read(given):
    feeds = fit(given, ONE, MOST)
    assert feeds["x"].dtype == np.float32
    assert feeds["x"].tolist() == [[1, 2], [3, 4]]


def test_the_columns_of_a_data_frame_are_inputs_where_the_model_has_several():
    feeds = fit({"columns": ["a", "t"], "data": [[1, "u"], [2, "v"]]}, TWO, MOST)
    assert feeds["a"].tolist() == [[1], [2]]
    assert feeds["a"].dtype == np.int64
    assert feeds["t"].tolist() == ["u", "v"]
    assert feeds["t"].dtype == object


def test_bf16_comes_as_its_bits():
    signature = Signature((Tensor("x", "BF16", (-1,)),), (Tensor("y", "BF16", (-1,)),))
    assert fit({"x": [1.0, -2.0]}, signature, MOST)["x"].tolist() == [0x3F80, 0xC000]


@pytest.mark.parametrize(
    ("given", "signature", "words"),
    [
        ({"z": ROWS}, ONE, "the model has no input 'z'"),
        ({"a": [[1]]}, TWO, "it lacks the input 't'"),
        ({"x": [[1, 2], [3]]}, ONE, "rows do not have the same length"),
        ({"x": [1, 2]}, ONE, r"shape \[2\], the model takes \[-1, 2\]"),
        ({"x": [[1, 2, 3]]}, ONE, r"shape \[1, 3\]"),
        ({"x": [["a", "b"]]}, ONE, "its values are not FP32"),
        ({"x": [[None, 1]]}, ONE, "its values are not FP32"),
        ({"x": None}, ONE, "its values are not FP32"),
        ({"x": [[True, False]]}, ONE, "its values are not FP32"),
        ({"a": [[1.5]], "t": ["u"]}, TWO, "its values are not INT64"),
        ({"a": [[2**63]], "t": ["u"]}, TWO, "its values are not INT64"),
        ({"a": [[2**70]], "t": ["u"]}, TWO, "its values are not INT64"),
        ({"a": [[1]], "t": [5]}, TWO, "it takes texts"),
        (ROWS, TWO, "it names no inputs, and the model needs 2"),
        ({"columns": ["p", "q"], "data": [[1]]}, ONE, "as many values as there are columns"),
        ({"columns": "pq", "data": ROWS}, ONE, "columns and rows"),
        ([{"p": 1}, {"q": 2}], ONE, "different columns"),
        (
            {"inputs": [{"name": "x", "datatype": "INT8", "shape": [1, 2], "data": [1, 2]}]},
            ONE,
            "it is INT8, the model takes FP32",
        ),
        (
            {"inputs": [{"name": "x", "datatype": "FP32", "shape": [9, 2], "data": [1, 2]}]},
            ONE,
            "2 values do not have the shape",
        ),
        (
            {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1], "data": [1]}]},
            ONE,
            "not a list of sizes",
        ),
        ({"inputs": [{"name": "x"}, {"name": "x"}]}, ONE, "no name of its own"),
    ],
)
def test_what_does_not_fit_is_said_in_words(given, signature, words):
    with pytest.raises(UnfitError, match=words):
        fit(given, signature, MOST)


def test_numpy_files_are_read(tmp_path):
    np.savez(tmp_path / "s.npz", x=np.array(ROWS, np.float64))
    np.save(tmp_path / "s.npy", np.array(ROWS, np.int32))
    for name in ("s.npz", "s.npy"):
        assert sample_files.read(tmp_path, name, ONE, MOST)["x"].tolist() == [[1, 2], [3, 4]]


def test_files_are_bounded_and_hold_no_code(tmp_path):
    np.savez_compressed(tmp_path / "bomb.npz", x=np.zeros((1000, 1000), np.float32))
    np.save(tmp_path / "pickle.npy", np.array([{"a": 1}], object))
    (tmp_path / "large.json").write_bytes(b" " * 20_000)
    (tmp_path / "deep.json").write_bytes(b"[" * 100_000)
    (tmp_path / "other.txt").write_bytes(b"")
    (tmp_path / "broken.npz").write_bytes(b"PK\3\4nothing")
    outside = tmp_path.parent / f"{tmp_path.name}-outside.json"
    outside.write_text(json.dumps(ROWS))
    (tmp_path / "link.json").symlink_to(outside)
    for name, words in {
        "bomb.npz": "unpacks to more than",
        "pickle.npy": "plain arrays",
        "broken.npz": "plain arrays",
        "large.json": "more than 10000 bytes",
        "other.txt": "got '.txt'",
        "absent.json": "no such file",
        "../x.json": "outside the version's folder",
        "link.json": "leaves the version's folder",
    }.items():
        with pytest.raises(UnfitError, match=words) as caught:
            sample_files.read(tmp_path, name, ONE, 10_000)
        assert str(tmp_path) not in str(caught.value)
    with pytest.raises(UnfitError, match="not JSON"):
        sample_files.read(tmp_path, "deep.json", ONE, MOST)


def test_samples_come_from_the_manifest_the_configuration_and_mlflow(tmp_path):
    (tmp_path / "s.json").write_text(json.dumps(ROWS))
    (tmp_path / "input_example.json").write_text(json.dumps({"x": ROWS}))
    config = ModelConfig(warmup=(WarmupSample("w", (WarmupInput("x"),), count=3),))
    found = collect(Sources(tmp_path, tmp_path, ("s.json",)), ONE, config)
    assert [(sample.what, sample.count, sample.own) for sample in found.samples] == [
        ("sample 's.json'", 1, True),
        ("warm-up sample 'w'", 3, False),
        ("MLflow's input example", 1, True),
    ]
    assert found.notes == ()


def test_a_sample_of_the_manifest_that_does_not_fit_fails_the_version(tmp_path):
    (tmp_path / "s.json").write_text(json.dumps([[1]]))
    with pytest.raises(LoadError, match=r"sample 's\.json': input 'x' has shape \[1, 1\]"):
        collect(Sources(tmp_path, tmp_path, ("s.json",)), ONE, ModelConfig())


def test_mlflows_example_that_does_not_fit_is_only_noted(tmp_path):
    (tmp_path / "serving_input_example.json").write_text(json.dumps({"inputs": {"q": [1]}}))
    found = collect(Sources(tmp_path, tmp_path), ONE, ModelConfig())
    assert found.samples == ()
    assert found.notes == ("MLflow's input example is not used: the model has no input 'q'",)


def sample(*rows: list[float], own: bool = True) -> Sample:
    return Sample("sample 's'", {"x": np.array(rows, np.float32)}, own=own)


def answer(value: float):
    return lambda names, feeds: [np.full_like(feeds["x"], value)]


def test_infinite_answers_to_finite_input_fail_the_version():
    for value in (np.nan, np.inf):
        with pytest.raises(LoadError, match="finite input, but NaN or infinity in output 'y'"):
            run_all(answer(value), ONE, [sample([1, 2])])


def test_infinite_answers_to_infinite_or_random_input_are_fine():
    run_all(answer(np.nan), ONE, [sample([1, np.inf]), sample([1, 2], own=False)])


def test_a_sample_that_fails_says_why_without_onnxruntimes_words():
    def run(names, feeds):
        raise RuntimeError("/onnxruntime_src/core/x.cc:12 secret")

    with pytest.raises(LoadError, match="sample 's' failed") as caught:
        run_all(run, ONE, [sample([1, 2])])
    assert "secret" not in caught.value.reason


def test_rows_of_samples_are_taken_in_turn():
    rows = sampled_rows([sample([1, 2], [3, 4]), sample([5, 6])], ONE)
    assert rows is not None
    assert rows.make(4)["x"].tolist() == [[1, 2], [3, 4], [5, 6], [1, 2]]
    assert rows.make(1, seed=2)["x"].tolist() == [[5, 6]]


def test_samples_that_cannot_be_rows_are_no_source_of_rows():
    fixed = Signature((Tensor("x", "FP32", (1, 2)),), ONE.outputs)
    assert sampled_rows([sample([1, 2])], fixed) is None
    assert sampled_rows([], ONE) is None
