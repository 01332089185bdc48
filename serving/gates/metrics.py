"""Metrics of a version's answers: by scikit-learn, and how far two versions agree."""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from serving.datasets.pieces import Array, SetError
from serving.gates.predictions import by_names, classes_of
from serving.model_config.gates import AGREEMENT, Average, Metric
from serving.model_config.schema import Tolerance

MISSING = "its metrics need scikit-learn: install 'serving[evaluation]'"
# Of rows of probabilities, how far their sums may be from 1.
_SUM_TOLERANCE = 1e-3
_OF_CLASSES = frozenset({"accuracy", "precision", "recall", "f1"})
_OF_SCORES = frozenset({"roc_auc", "log_loss"})


@dataclass(frozen=True, slots=True)
class Asked:
    """``names``: of the classes, in the order of the scores; () where labels are their places."""

    metrics: Sequence[Metric]
    average: Average
    names: Sequence[str]


@dataclass(frozen=True, slots=True)
class Figure:
    """``value`` None: it can't be told, and ``words`` say why."""

    value: float | None
    words: str = ""


def check_there(wanted: Sequence[Metric]) -> None:
    """Raises ModuleNotFoundError where they need scikit-learn, and it is not installed."""
    if any(metric != AGREEMENT for metric in wanted):
        importlib.import_module("sklearn.metrics")


def figures(answers: Array, labels: Array, asked: Asked) -> dict[str, Figure]:
    """Each metric asked for but agreement. ``answers``: [examples, values]. Raises
    ModuleNotFoundError without scikit-learn; SetError."""
    wanted = [metric for metric in asked.metrics if metric != AGREEMENT]
    return {metric: _figure(metric, answers, labels, asked) for metric in wanted}


def _figure(metric: Metric, answers: Array, labels: Array, asked: Asked) -> Figure:
    if not len(labels):
        return Figure(None, "there is no example")
    if answers.dtype.kind == "f" and not np.isfinite(answers).all():
        return Figure(None, "an answer is NaN or infinity")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of classes that nobody has: the value says it
            if metric in _OF_CLASSES:
                value = _of_classes(metric, answers, labels, asked)
            elif metric in _OF_SCORES:
                value = _of_scores(metric, answers, labels, asked)
            else:
                value = _of_values(metric, answers, labels)
    except SetError:
        raise
    except ValueError as error:
        return Figure(None, str(error).splitlines()[0][:200])
    if not math.isfinite(value):
        return Figure(None, "it is not defined for these examples")
    return Figure(value)


def _of_classes(metric: Metric, answers: Array, labels: Array, asked: Asked) -> float:
    from sklearn import metrics

    predicted = classes_of(answers)
    truth = _as_classes(labels, predicted, answers, asked.names)
    if metric == "accuracy":
        return float(metrics.accuracy_score(truth, predicted))
    score: Callable[..., float] = {
        "precision": metrics.precision_score,
        "recall": metrics.recall_score,
        "f1": metrics.f1_score,
    }[metric]
    return float(score(truth, predicted, average=asked.average, zero_division=0.0))


def _as_classes(labels: Array, predicted: Array, answers: Array, names: Sequence[str]) -> Array:
    """As the version has them: places among the scores, or what it answers itself."""
    if labels.ndim != 1:
        raise SetError("a label is one value an example")
    if answers.shape[1] == 1 and predicted.dtype.kind == "O":
        return np.asarray([str(label) for label in labels.tolist()], object)
    truth = by_names(labels, names)
    if truth.dtype.kind == "f" and (truth != np.floor(truth)).any():
        raise SetError("a label is no class: it is no whole number")
    return truth.astype(np.int64)


def _of_scores(metric: Metric, answers: Array, labels: Array, asked: Asked) -> float:
    from sklearn import metrics

    if answers.dtype.kind != "f":
        raise SetError(f"{metric} needs scores: the output that is judged holds none")
    truth = _as_classes(labels, np.zeros(0), answers, asked.names)
    scores = answers.astype(np.float64)
    columns = scores.shape[1]
    every = list(range(max(2, columns)))
    if columns > 1 and (metric == "log_loss" or columns > 2):
        scores = _probabilities(metric, scores)
    if metric == "log_loss":
        given = np.column_stack([1 - scores[:, 0], scores[:, 0]]) if columns == 1 else scores
        return float(metrics.log_loss(truth, given, labels=every))
    if columns <= 2:
        return float(metrics.roc_auc_score(truth, scores[:, -1]))
    average = asked.average if asked.average in ("macro", "weighted") else "macro"
    return float(
        metrics.roc_auc_score(truth, scores, multi_class="ovr", average=average, labels=every)
    )


def _probabilities(metric: Metric, scores: Array) -> Array:
    """Single precision does not add up to 1 as closely as scikit-learn wants it."""
    sums = scores.sum(axis=1, keepdims=True)
    if (scores < 0).any() or (np.abs(sums - 1) > _SUM_TOLERANCE).any():
        raise SetError(f"{metric} needs probabilities: the scores of an example do not sum to 1")
    return np.asarray(scores / sums)


def _of_values(metric: Metric, answers: Array, labels: Array) -> float:
    from sklearn import metrics

    if labels.dtype.kind not in "biuf" or answers.dtype.kind not in "biuf":
        raise SetError(f"{metric} needs numbers as labels and answers")
    truth = labels.reshape(len(labels), -1).astype(np.float64)
    found = answers.astype(np.float64)
    if truth.shape != found.shape:
        words = f"{found.shape[1]} values an example are answered, and {truth.shape[1]} are right"
        raise SetError(words)
    score: Mapping[str, Callable[..., float]] = {
        "mae": metrics.mean_absolute_error,
        "rmse": metrics.root_mean_squared_error,
        "r2": metrics.r2_score,
    }
    return float(score[metric](truth, found))


def agreement(answers: Array, others: Array, tolerance: Tolerance) -> Figure:
    """The share of examples that two versions answer alike: with the same class where there are
    scores or no floats, else with values within the tolerance."""
    if not len(answers):
        return Figure(None, "there is no example")
    if answers.shape != others.shape:
        return Figure(None, "the two versions' answers have other shapes")
    if answers.shape[1] > 1 or answers.dtype.kind != "f":
        usable: Array = np.ones(len(answers), bool)
        if answers.dtype.kind == "f":
            # The highest of NaN is nothing.
            usable = np.asarray(np.isfinite(answers).all(axis=1))
        alike = (_alike(answers) == _alike(others)) & usable
        return Figure(float(np.mean(alike)))
    close = np.isclose(
        answers.astype(np.float64),
        others.astype(np.float64),
        rtol=tolerance.rtol,
        atol=tolerance.atol,
        equal_nan=False,
    )
    return Figure(float(np.mean(close.all(axis=1))))


def _alike(answers: Array) -> Array:
    return classes_of(answers) if answers.shape[1] > 1 else answers[:, 0]
