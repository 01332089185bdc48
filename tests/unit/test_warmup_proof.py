"""Batching is proven by running, or not done."""

from __future__ import annotations

import numpy as np
import pytest

from serving.execution.session import load_runner
from serving.model_config.schema import ModelConfig, Tolerance
from serving.models.loading import proof
from serving.models.loading.warmup import find_plan
from serving.settings import Settings, load_settings
from serving.signature import Signature, Tensor
from tests.unit import graphs
from tests.unit.graphs import BF16, FLOAT, FP16, INT64, node, one

A, Y = ("a", FLOAT, ["n", 3]), ("y", FLOAT, ["n", 3])


def judge(made, tmp_path, config=None, settings=None):
    place = graphs.write(tmp_path, made)
    return judge_at(place, config or ModelConfig(), settings or Settings())


def judge_at(place, config, settings):
    runner = load_runner(place, config, settings)
    wanted = proof.intent(config, settings)
    plan = find_plan(runner.run, runner.signature, runner.signature.may_batch)
    return proof.prove(runner.run, runner.signature, wanted, config.tolerance, [plan])


def test_independent_rows_are_proven(tmp_path):
    verdict = judge(graphs.softmax(), tmp_path)
    assert (verdict.batched, verdict.max_rows) == (True, 64)
    assert verdict.words == "batched, up to 64 rows: proven"


@pytest.mark.parametrize("kind", [FP16, BF16])
def test_narrow_floats_are_proven_within_their_rounding(tmp_path, kind):
    made = graphs.model(
        [node("Softmax", ["a"], ["y"])], [("a", kind, ["n", 3])], [("y", kind, ["n", 3])], ir=10
    )
    if kind == BF16:
        made = one("Identity", [("a", kind, ["n", 3])], [("y", kind, ["n", 3])])
    assert judge(made, tmp_path).batched


def test_axis_0_that_is_time_is_found_out(tmp_path):
    """C4: each row's answer holds all rows before it."""
    axis = {"axis": np.asarray(0, np.int64)}
    verdict = judge(one("CumSum", [A], [Y], axis), tmp_path)
    assert not verdict.batched
    assert verdict.max_rows == 0
    assert "a row's answer changes (output 'y'" in verdict.words


def test_an_answer_that_depends_on_the_neighbours_is_found_out(tmp_path):
    nodes = [
        node("ReduceMean", ["a"], ["mean"], axes=[0], keepdims=1),
        node("Sub", ["a", "mean"], ["y"]),
    ]
    assert not judge(graphs.model(nodes, [A], [Y]), tmp_path).batched


def test_one_answer_for_the_whole_batch_is_found_out(tmp_path):
    first = {"first": np.array([True])}
    verdict = judge(one("Compress", [A], [("y", FLOAT, ["k", 3])], first, axis=0), tmp_path)
    assert "shape [1, 3] for 2 rows of input" in verdict.words
    assert "first dimensions are called k, n" in verdict.words


def test_rows_that_multiply_are_found_out(tmp_path):
    made = graphs.model([node("Concat", ["a", "a"], ["y"], axis=0)], [A], [("y", FLOAT, ["m", 3])])
    assert "shape [2, 3] for 1 rows of input" in judge(made, tmp_path).words


def test_a_model_that_runs_only_single_rows_is_unbatched(tmp_path):
    """Row i looks for entry i of a table with one entry."""
    nodes = [
        node("Mul", ["a", "zero"], ["zeros"]),
        node("Add", ["zeros", "one"], ["ones"]),
        node("CumSum", ["ones", "axis"], ["count"]),
        node("Sub", ["count", "one"], ["number"]),
        node("Cast", ["number"], ["row"], to=INT64),
        node("Gather", ["table", "row"], ["entry"]),
        node("Add", ["a", "entry"], ["y"]),
    ]
    constants = {
        "zero": np.float32(0),
        "one": np.float32(1),
        "axis": np.int64(0),
        "table": np.ones(1, np.float32),
    }
    verdict = judge(graphs.model(nodes, [A], [Y], constants), tmp_path)
    assert not verdict.batched
    assert "rows run alone, but not 2 together: the model refused this input" in verdict.words


def test_fault_91_shapes_that_forbid_batching_are_named(tmp_path):
    fixed = judge(one("Neg", [("a", FLOAT, [1, 3])], [("y", FLOAT, [1, 3])]), tmp_path)
    assert fixed.words == "unbatched: input 'a' has no variable first dimension (shape [1, 3])"
    scalar = judge(one("ReduceSum", [A], [("y", FLOAT, [])], keepdims=0), tmp_path)
    assert scalar.words == "unbatched: output 'y' has no dimensions"


def test_rows_with_equal_answers_prove_nothing(tmp_path):
    made = graphs.model([node("Sub", ["a", "a"], ["y"])], [A], [Y])
    verdict = judge(made, tmp_path)
    assert not verdict.batched
    assert "all generated rows get the same answer" in verdict.words
    wanted = judge(made, tmp_path, ModelConfig(max_batch_size=8))
    assert (wanted.batched, wanted.max_rows) == (True, 8)
    assert "not proven" in wanted.words


def test_nan_equals_nan_in_the_proof(tmp_path):
    """ln of the negative values is NaN in both."""
    nodes = [node("Neg", ["a"], ["b"]), node("Log", ["b"], ["c"]), node("Identity", ["a"], ["y"])]
    made = graphs.model(nodes, [A], [Y, ("c", FLOAT, ["n", 3])])
    assert judge(made, tmp_path).batched


def unknowable():
    """Runs on no generated input: an empty table."""
    values = [("i", INT64, ["n"])], [("y", FLOAT, ["n"])]
    return one("Gather", *values, {"d": np.ones(0, np.float32)}, ["d", "i"])


def test_without_input_on_which_it_runs_the_configuration_decides(tmp_path):
    silent = judge(unknowable(), tmp_path)
    assert not silent.batched
    assert "did not run on generated input" in silent.words
    asked = judge(unknowable(), tmp_path, ModelConfig(batching=True))
    assert asked.batched
    assert "by the model's configuration" in asked.words


def test_a_disproof_goes_before_the_configuration_and_is_said_loudly(tmp_path):
    axis = {"axis": np.asarray(0, np.int64)}
    verdict = judge(one("CumSum", [A], [Y], axis), tmp_path, ModelConfig(max_batch_size=8))
    assert (verdict.batched, verdict.surprising) == (False, True)


@pytest.mark.parametrize("config", [ModelConfig(batching=False), ModelConfig(max_batch_size=0)])
def test_the_configuration_may_forbid_batching(tmp_path, config):
    verdict = judge(graphs.softmax(), tmp_path, config)
    assert (verdict.batched, verdict.words) == (False, "unbatched by the model's configuration")


def test_the_settings_may_forbid_batching_and_a_model_may_ask_for_it_still(tmp_path):
    settings, _ = load_settings({"batching.enabled": "false"}, None, {})
    assert not judge(graphs.softmax(), tmp_path, settings=settings).batched
    assert judge(graphs.softmax(), tmp_path, ModelConfig(batching=True), settings).batched


def test_the_most_rows_come_from_the_configuration_else_the_settings(tmp_path):
    settings, _ = load_settings({"batching.max_rows": "9"}, None, {})
    assert judge(graphs.softmax(), tmp_path, settings=settings).max_rows == 9
    config = ModelConfig(max_batch_size=5)
    assert judge(graphs.softmax(), tmp_path, config, settings).max_rows == 5


def test_a_tolerance_of_its_own_may_be_wider(tmp_path):
    nodes = [
        node("ReduceMean", ["a"], ["mean"], axes=[0], keepdims=1),
        node("Mul", ["mean", "tenth"], ["small"]),
        node("Add", ["a", "small"], ["y"]),
    ]
    made = graphs.model(nodes, [A], [Y], {"tenth": np.asarray(0.001, np.float32)})
    assert not judge(made, tmp_path).batched
    assert judge(made, tmp_path, ModelConfig(tolerance=Tolerance(rtol=0.1, atol=0.01))).batched


def test_why_never_has_words_for_a_model_without_inputs():
    signature = Signature((), (Tensor("y", "FP32", (-1,)),))
    assert proof.why_never(signature) == "the model has no inputs"


@pytest.mark.real_model
@pytest.mark.parametrize("name", ["magika", "ocr_cls"])
def test_fault_29_real_models_with_a_batch_axis_are_proven(tmp_path, real_model, name):
    verdict = judge_at(_lay(tmp_path, real_model(name)), ModelConfig(), Settings())
    assert verdict.batched, verdict.words


@pytest.mark.real_model
@pytest.mark.parametrize("name", ["silero_vad", "silero_vad_16k_sequence"])
def test_real_models_whose_axis_0_is_not_the_batch_are_unbatched(tmp_path, real_model, name):
    verdict = judge_at(_lay(tmp_path, real_model(name)), ModelConfig(), Settings())
    assert not verdict.batched
    assert "first dimension" in verdict.words


def _lay(folder, file):
    place = folder / "m" / "1"
    place.mkdir(parents=True)
    (place / "model.onnx").write_bytes(file.read_bytes())
    return place
