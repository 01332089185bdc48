"""A version's answers to an evaluation set, and the figures of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from serving.datasets import files
from serving.datasets.pieces import Array, SetError
from serving.execution.faults import classify
from serving.execution.run_limit import RunStoppedError
from serving.gates import metrics
from serving.gates.feeds import all_examples
from serving.gates.metrics import Asked, Figure
from serving.gates.predictions import Column, Predictions, judged_output
from serving.loading.batching.answers import answers_of
from serving.loading.inputs.generated import Run
from serving.model_config.gates import AGREEMENT, EvaluationConfig
from serving.model_config.schema import Tolerance
from serving.signature import Signature

# Values of one column by which a set is cut, and characters of one that are told.
MOST_VALUES = 256
_MOST_TOLD = 200


@dataclass(frozen=True, slots=True)
class Scored:
    """A version's answers to all examples, in order; what is right, None without labels, and the
    columns by which the set is cut, by their names."""

    answers: Array
    labels: Array | None
    slices: dict[str, Array]


@dataclass(frozen=True, slots=True)
class Row:
    """Figures of some examples: ``slice`` "" is all of them, else ``column=value``."""

    slice: str
    examples: int
    figures: dict[str, Figure] = field(default_factory=dict)
    base: dict[str, Figure] = field(default_factory=dict)


def score(
    run: Run,
    signature: Signature,
    evaluation: EvaluationConfig,
    path: Path,
    rows: int,
    most_bytes: int,
) -> Scored:
    """Answers of all examples, ``rows`` in a run: as batches are in serving. Raises SetError, also
    where one of them fails."""
    output = judged_output(signature, evaluation.output)
    answers, labels = Predictions(), Column()
    slices = {name: Column() for name in evaluation.slices}
    done = 0
    for some in all_examples(files.pieces(path), signature, evaluation, rows, most_bytes):
        try:
            (answer,) = answers_of(run, [output], some.feeds)
        except RunStoppedError:
            raise
        except Exception as error:
            message = classify(error).message
            raise SetError(f"example {done + 1} failed: {message}") from error
        answers.add(answer, some.count)
        if some.labels is not None:
            labels.add(some.labels)
        for name, values in some.slices.items():
            slices[name].add(values)
        done += some.count
    known = labels.all() if evaluation.label else None
    return Scored(answers.all(), known, {name: one.all() for name, one in slices.items()})


def judge(
    found: Scored,
    base: Scored | None,
    evaluation: EvaluationConfig,
    names: Sequence[str],
    tolerance: Tolerance,
) -> Iterator[Row]:
    """All examples first, then each slice that has enough of them. Raises SetError,
    ModuleNotFoundError."""
    asked = Asked([one.metric for one in evaluation.thresholds], evaluation.average, names)
    figures = _figures(found, base, asked, tolerance)
    yield figures("", np.ones(len(found.answers), bool))
    asked = Asked([one.metric for one in evaluation.of_slices], evaluation.average, names)
    figures = _figures(found, base, asked, tolerance)
    for name, values in found.slices.items():
        texts = np.asarray([str(value) for value in values], object)
        known = sorted(set(texts.tolist()))
        if len(known) > MOST_VALUES:
            raise SetError(f"column '{name}' has more than {MOST_VALUES} values to cut it by")
        for value in known:
            yield figures(f"{name}={value[:_MOST_TOLD]}", texts == value)


def _figures(
    found: Scored, base: Scored | None, asked: Asked, tolerance: Tolerance
) -> Callable[[str, Array], Row]:
    def of(name: str, chosen: Array) -> Row:
        ours = found.answers[chosen]
        theirs = base.answers[chosen] if base is not None else None
        row = Row(name, int(chosen.sum()))
        if found.labels is not None:
            labels = found.labels[chosen]
            row.figures.update(metrics.figures(ours, labels, asked))
            if theirs is not None:
                row.base.update(metrics.figures(theirs, labels, asked))
        if theirs is not None and AGREEMENT in asked.metrics:
            row.figures[AGREEMENT] = metrics.agreement(ours, theirs, tolerance)
        return row

    return of
