"""Inputs to warm a model with."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest

from serving.errors import LoadError
from serving.execution.session import load_runner
from serving.loading import warmup
from serving.loading.inputs.generated import STYLES, Plan, find_plan, values
from serving.loading.inputs.warmup_inputs import feeds_of as sample_feeds
from serving.loading.warmup import Warmth, warm, warm_sizes
from serving.model_config.schema import ModelConfig, WarmupInput, WarmupSample
from serving.settings import Settings
from serving.signature import DATATYPES, Signature, Tensor
from tests.unit import graphs
from tests.unit.graphs import FLOAT, INT64


def runner_of(tmp_path, made):
    return load_runner(graphs.write(tmp_path, made), ModelConfig(), Settings())


def sample(*inputs: WarmupInput) -> WarmupSample:
    return WarmupSample("s", inputs)


SIGNATURE = Signature(
    inputs=(Tensor("x", "FP32", (-1, 2)), Tensor("t", "BYTES", (-1,), optional=True)),
    outputs=(Tensor("y", "FP32", (-1, 2)),),
)


@pytest.mark.parametrize("datatype", sorted(DATATYPES))
@pytest.mark.parametrize("style", STYLES)
def test_values_have_the_datatype_and_shape_and_repeat_with_their_seed(datatype, style):
    made = [values(np.random.default_rng(seed), datatype, (40, 3), style) for seed in (0, 0, 1)]
    assert made[0].dtype == DATATYPES[datatype][0]
    assert made[0].shape == (40, 3)
    assert np.array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])


def test_rank_0_values_are_arrays():
    for datatype in DATATYPES:
        made = values(np.random.default_rng(0), datatype, (), STYLES[0])
        assert isinstance(made, np.ndarray)
        assert made.shape == ()


def test_integers_are_never_negative():
    """The smallest integer divided by -1 would kill the process (fact C1)."""
    for style in STYLES:
        for datatype in ("INT8", "INT16", "INT32", "INT64", "UINT8"):
            assert values(np.random.default_rng(0), datatype, (1000,), style).min() >= 0


def test_dimensions_are_tried_until_the_model_runs(tmp_path):
    weights = np.ones((224, 2), np.float32)
    made = graphs.one(
        "MatMul", [("a", FLOAT, ["n", "k"])], [("y", FLOAT, ["n", 2])], {"w": weights}
    )
    runner = runner_of(tmp_path, made)
    plan = find_plan(runner.run, runner.signature, by_rows=True)
    assert plan is not None
    assert plan.make(3)["a"].shape == (3, 224)


def test_dimensions_of_one_name_get_one_size(tmp_path):
    names = [("ids", INT64, ["b", "s"]), ("mask", INT64, ["b", "s"])]
    runner = runner_of(tmp_path, graphs.one("Mul", names, [("y", INT64, ["b", "s"])]))
    plan = find_plan(runner.run, runner.signature, by_rows=True)
    assert plan is not None
    feeds = plan.make(2)
    assert feeds["ids"].shape == feeds["mask"].shape


def test_small_indices_are_found_for_a_small_vocabulary(tmp_path):
    table = np.ones((2, 4), np.float32)
    made = graphs.one(
        "Gather",
        [("i", INT64, ["b", "s"])],
        [("y", FLOAT, ["b", "s", 4])],
        {"d": table},
        ["d", "i"],
    )
    runner = runner_of(tmp_path, made)
    plan = find_plan(runner.run, runner.signature, by_rows=True)
    assert plan is not None
    assert plan.make(5)["i"].max() <= 1


def test_a_model_that_refuses_everything_has_no_plan(tmp_path):
    made = graphs.one(
        "Gather",
        [("i", INT64, ["b"])],
        [("y", FLOAT, ["b"])],
        {"d": np.ones(0, np.float32)},
        ["d", "i"],
    )
    runner = runner_of(tmp_path, made)
    assert find_plan(runner.run, runner.signature, by_rows=True) is None


def test_optional_inputs_are_left_out_unless_asked_for():
    tensors = []

    def run(names, feeds):
        tensors.append(sorted(feeds))
        return []

    find_plan(run, SIGNATURE, by_rows=True)
    find_plan(run, SIGNATURE, by_rows=True, with_optional=True)
    assert tensors == [["x"], ["t", "x"]]


def test_the_sizes_of_a_users_sample_are_tried_first():
    signature = replace(SIGNATURE, inputs=(Tensor("x", "FP32", (-1, -1)),))
    shapes = []

    def run(names, feeds):
        shapes.append(feeds["x"].shape)
        return []

    find_plan(run, signature, by_rows=True, hints=[{"x": np.zeros((2, 77), np.float32)}])
    assert shapes == [(1, 77)]


def test_fault_94_each_power_of_two_the_preferred_and_the_largest_are_warmed():
    assert warm_sizes(64) == [1, 2, 4, 8, 16, 32, 64]
    assert warm_sizes(48, preferred=[24, 96]) == [1, 2, 4, 8, 16, 24, 32, 48]
    assert warm_sizes(1) == [1]


def test_warming_ends_when_its_time_is_up():
    ran = []
    plan = Plan(SIGNATURE.inputs[:1], {}, STYLES[0], by_rows=True)
    done = warm(lambda names, feeds: ran.append(feeds) or [], plan, ["y"], [1, 2], -1.0)
    assert (ran, done) == ([], Warmth("not warmed from 1 rows on: the model is slow", {}))


def test_each_size_is_run_once_before_it_is_timed():
    ran = []
    plan = Plan(SIGNATURE.inputs[:1], {}, STYLES[0], by_rows=True)
    done = warm(lambda names, feeds: ran.append(feeds) or [], plan, ["y"], [1, 2], 5.0)
    assert (done.words, sorted(done.seconds)) == ("", [1, 2])
    assert len(ran) == 2 * (1 + warmup.MEASURED_RUNS)
    assert all(time >= 0 for time in done.seconds.values())


def test_generated_input_that_fails_is_only_reported():
    def run(names, feeds):
        raise RuntimeError

    plan = Plan(SIGNATURE.inputs[:1], {}, STYLES[0], by_rows=True)
    done = warm(run, plan, ["y"], [1], 5.0)
    assert ("did not run" in done.words, done.seconds, done.short) == (True, {}, False)


# The user's own samples


def test_samples_are_zeros_random_or_from_a_file(tmp_path):
    (tmp_path / "x.bin").write_bytes(np.array([[1, 2]], np.float32).tobytes())
    (tmp_path / "t.bin").write_bytes(b"\2\0\0\0hi\0\0\0\0")
    text = WarmupInput("t", shape=(2,), fill="file", file="t.bin")
    zero = sample_feeds(sample(WarmupInput("x", shape=(3, 2)), text), SIGNATURE, tmp_path)
    assert zero["x"].tolist() == [[0, 0]] * 3
    assert zero["t"].tolist() == ["hi", ""]
    random = sample_feeds(sample(WarmupInput("x", fill="random")), SIGNATURE, tmp_path)
    assert random["x"].shape == (1, 2)
    row = WarmupInput("x", shape=(3, 2), fill="file", file="x.bin", repeat=3)
    assert sample_feeds(sample(row), SIGNATURE, tmp_path)["x"].tolist() == [[1, 2]] * 3


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            WarmupInput("z"),
            r"needs 'x' \(FP32\[-1,2\]\), which the sample lacks; the sample has 'z', the",
        ),
        (WarmupInput("x", datatype="INT8"), r"'x' is INT8 in the sample, the model takes FP32\["),
        (WarmupInput("x", shape=(1, 3)), r"'x' is \[1,3\] in the sample, the model takes FP32\["),
        (WarmupInput("x", shape=(2,)), r"'x' is \[2\] in the sample, the model takes FP32\["),
        (WarmupInput("x", shape=(-1, 2)), "every dimension must be given"),
        (WarmupInput("x", fill="file", file="absent"), "cannot be read"),
        (WarmupInput("x", fill="file", file="../x.bin"), "plain file name"),
        (WarmupInput("x", fill="file", file="short"), "has 3 bytes, expected 8"),
        (WarmupInput("t"), "^the model's inputs are not those of warm-up sample '.*: the model"),
    ],
)
def test_a_wrong_sample_names_its_input(tmp_path, given, words):
    (tmp_path / "short").write_bytes(b"abc")
    with pytest.raises(LoadError, match=words):
        sample_feeds(sample(given), SIGNATURE, tmp_path)


def test_fault_109_a_pipe_as_a_sample_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    given = sample(WarmupInput("x", fill="file", file="pipe"))
    with pytest.raises(LoadError, match="cannot be read: not a regular file"):
        sample_feeds(given, SIGNATURE, tmp_path)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xff\0\0\0ab", "ends within an element"),
        (b"\1\0\0\0\xff", "not UTF-8"),
        (b"\1\0\0\0a", "has 1 elements, expected 2"),
    ],
)
def test_a_wrong_file_of_strings_says_what_is_wrong(tmp_path, data, words):
    (tmp_path / "t").write_bytes(data)
    given = WarmupInput("t", shape=(2,), fill="file", file="t")
    with pytest.raises(LoadError, match=words):
        sample_feeds(sample(WarmupInput("x"), given), SIGNATURE, tmp_path)


def test_lone_integers_are_never_zero():
    """A frame step of zero ends the whole process in STFT; no guess may do that (fault 20)."""
    for style in STYLES:
        for seed in range(200):
            assert values(np.random.default_rng(seed), "INT64", (), style) > 0
