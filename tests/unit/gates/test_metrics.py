"""Metrics of answers, and agreement."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import numpy as np
import pytest

from serving.datasets.pieces import SetError
from serving.gates.child import _plain
from serving.gates.evaluating import MOST_VALUES, Scored, judge
from serving.gates.metrics import Asked, agreement, check_there, figures
from serving.gates.predictions import Predictions, classes_of, judged_output
from serving.gates.thresholds import rows_of
from serving.model_config.gates import EvaluationConfig, Metric, Threshold
from serving.model_config.schema import Tolerance
from serving.signature import Signature, Tensor


@pytest.fixture(scope="module", autouse=True)
def _slow_to_import() -> None:
    """Not within a test, nor in every process that collects tests."""
    importlib.import_module("sklearn.metrics")


SCORES = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]], np.float32)
TRUTH = np.array([0, 1, 1, 1])


def values(answers: Any, labels: Any, *metrics: Metric, names: Any = ()) -> dict[str, float | None]:
    asked = Asked(metrics, "macro", names)
    found = figures(np.asarray(answers), np.asarray(labels), asked)
    return {metric: figure.value for metric, figure in found.items()}


def test_classes_are_judged_by_the_highest_score() -> None:
    found = values(SCORES, TRUTH, "accuracy", "precision", "recall", "f1")
    assert found["accuracy"] == 0.75
    assert found["precision"] == pytest.approx(0.75)
    assert found["recall"] == pytest.approx(5 / 6)
    assert found["f1"] == pytest.approx((2 / 3 + 0.8) / 2)


def test_one_float_is_the_probability_of_class_1() -> None:
    assert values(SCORES[:, 1:], TRUTH, "accuracy")["accuracy"] == 0.75
    both = values(SCORES, TRUTH, "roc_auc", "log_loss")
    assert values(SCORES[:, 1:], TRUTH, "roc_auc", "log_loss") == pytest.approx(both)
    assert both["roc_auc"] == pytest.approx(1.0)
    assert both["log_loss"] == pytest.approx(-np.log([0.9, 0.8, 0.4, 0.7]).mean(), rel=1e-5)


def test_labels_that_are_texts_are_named_by_the_classes() -> None:
    truth = np.array(["cat", "dog", "dog", "dog"], object)
    assert values(SCORES, truth, "accuracy", names=("cat", "dog"))["accuracy"] == 0.75
    own = np.array([["cat"], ["dog"], ["cat"], ["dog"]], object)
    assert values(own, truth, "accuracy")["accuracy"] == 0.75
    with pytest.raises(SetError, match="'cat' is no class of the model; name them"):
        values(SCORES, truth, "accuracy")


def test_numbers_are_judged_by_their_distance() -> None:
    found = values([[1.0], [2.0], [4.0]], [1, 2, 3], "mae", "rmse", "r2")
    assert found["mae"] == pytest.approx(1 / 3)
    assert found["rmse"] == pytest.approx(3**-0.5)
    assert found["r2"] == pytest.approx(0.5)


def test_what_is_not_defined_has_a_reason_and_no_value() -> None:
    asked = Asked(["roc_auc"], "macro", ())
    one_class = figures(SCORES, np.array([1, 1, 1, 1]), asked)["roc_auc"]
    assert one_class.value is None
    assert one_class.words
    nan = figures(np.array([[np.nan, 1]]), np.array([1]), Asked(["accuracy"], "macro", ()))
    assert nan["accuracy"].words == "an answer is NaN or infinity"


@pytest.mark.parametrize(
    ("answers", "labels", "metric", "words"),
    [
        (SCORES * 3, TRUTH, "log_loss", "needs probabilities"),
        (SCORES, TRUTH + 0.5, "accuracy", "no whole number"),
        (SCORES, TRUTH, "rmse", "2 values an example are answered, and 1 are right"),
        (np.array([["a"]] * 4, object), TRUTH, "log_loss", "needs scores"),
    ],
)
def test_what_does_not_go_together_is_said(
    answers: Any, labels: Any, metric: Metric, words: str
) -> None:
    with pytest.raises(SetError, match=words):
        values(answers, labels, metric)


def test_two_versions_agree_where_they_answer_alike() -> None:
    tolerance = Tolerance()
    other = SCORES[:, ::-1]
    assert agreement(SCORES, SCORES * 0.5, tolerance).value == 1.0
    assert agreement(SCORES, other, tolerance).value == 0.0
    near = np.array([[1.0], [2.0]])
    assert agreement(near, near + np.array([[1e-5], [1.0]]), tolerance).value == 0.5
    assert agreement(near * np.nan, near * np.nan, tolerance).value == 0.0
    texts = np.array([["a"], ["b"]], object)
    assert agreement(texts, texts, tolerance).value == 1.0
    assert agreement(SCORES, near, tolerance).value is None


def test_without_scikit_learn_only_agreement_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.metrics", None)
    check_there(["agreement"])
    with pytest.raises(ModuleNotFoundError):
        check_there(["agreement", "accuracy"])


def test_rows_are_judged_together_and_by_slices() -> None:
    labels, regions = TRUTH, {"r": np.array(["a", "a", "b", "b"], object)}
    evaluation = EvaluationConfig(
        label="y",
        slices=("r",),
        thresholds=(Threshold("accuracy", 0.5), Threshold("agreement", 0.5)),
    )
    ours, theirs = Scored(SCORES, labels, regions), Scored(SCORES[:, ::-1], labels, regions)
    rows = list(judge(ours, theirs, evaluation, (), Tolerance()))
    assert [(row.slice, row.examples) for row in rows] == [("", 4), ("r=a", 2), ("r=b", 2)]
    assert [row.figures["accuracy"].value for row in rows] == [0.75, 1.0, 0.5]
    assert [row.base["accuracy"].value for row in rows] == [0.25, 0.0, 0.5]
    assert [row.figures["agreement"].value for row in rows] == [0.0, 0.0, 0.0]
    alone = next(iter(judge(ours, None, evaluation, (), Tolerance())))
    assert "agreement" not in alone.figures


def test_as_many_slices_as_there_may_be_are_read_and_told_in_short() -> None:
    count = 16 * MOST_VALUES
    values = np.array([f"{at % MOST_VALUES}{'v' * 5000}" for at in range(count)], object)
    evaluation = EvaluationConfig(thresholds=(Threshold("agreement", 0.5),))
    scores = np.zeros((count, 2))
    ours = Scored(scores, None, {f"c{at}": values for at in range(16)})
    rows = [_plain(row) for row in judge(ours, None, evaluation, (), Tolerance())]
    assert [row["examples"] for row in rows[:3]] == [count, 16, 16]
    assert len(rows_of({"rows": rows})) == 1 + count


def test_a_slice_of_texts_that_are_no_unicode_is_told_all_the_same() -> None:
    """JSON may hold half a pair: without its verdict the version would wait for ever."""
    values = np.array(["\ud800", "b", "b"], object)
    evaluation = EvaluationConfig(thresholds=(Threshold("agreement", 0.5),))
    ours = Scored(np.zeros((3, 2)), None, {"c\udcff": values})
    rows = [_plain(row) for row in judge(ours, None, evaluation, (), Tolerance())]
    assert [row.slice for row in rows_of({"rows": rows})] == ["", "c\\udcff=b", "c\\udcff=\\ud800"]


def test_the_output_that_looks_like_scores_is_judged() -> None:
    label, scores = Tensor("label", "INT64", (-1,)), Tensor("p", "FP32", (-1, 3))
    assert judged_output(Signature((), (label, scores)), None) == "p"
    assert judged_output(Signature((), (label, scores)), "label") == "label"
    assert judged_output(Signature((), (label,)), None) == "label"
    with pytest.raises(SetError, match="no output 'z'"):
        judged_output(Signature((), (label,)), "z")


def test_answers_belong_to_their_examples() -> None:
    kept = Predictions()
    kept.add(np.ones((2, 3)), 2)
    kept.add(np.zeros(3), 1)
    assert kept.all().tolist() == [[1, 1, 1], [1, 1, 1], [0, 0, 0]]
    with pytest.raises(SetError, match="which answer is whose"):
        kept.add(np.ones((3, 3)), 2)
    assert classes_of(np.array([[1], [0]])).tolist() == [1, 0]
