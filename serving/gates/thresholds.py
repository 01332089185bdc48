"""Figures held against what is asked of them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from serving.gates.terms import Terms
from serving.gates.verdict import Check
from serving.model_config.gates import AGREEMENT, LESS_IS_BETTER, EvaluationConfig, Threshold
from serving.strict import Count, Strict, Text, few

# A metric's value, and why there is none.
_Figure = Annotated[tuple[float | None, Text], Field(strict=False)]
NO_FIGURE: tuple[None, str] = (None, "it was not measured")
# All examples, and each value of as many columns as a set may be cut by.
_MOST_ROWS = 1 + 16 * 256


class Row(Strict):
    """As the child says it."""

    slice: Text
    examples: Count
    figures: dict[Text, _Figure]
    base: dict[Text, _Figure]


class Rows(Strict):
    rows: Annotated[tuple[Row, ...], Field(strict=False), few(_MOST_ROWS)]


def checks_of(
    rows: Sequence[Row], terms: Terms, no_base: str
) -> tuple[list[Check], tuple[str, ...]]:
    """What came of each threshold, and notes on what was not judged. ``no_base``: why there are no
    figures of the answering version; "" where there are."""
    evaluation = terms.evaluation
    if evaluation is None or not rows:
        return [], ()
    whole, *slices = rows
    checks = [_enough(whole.examples, terms.min_examples)]
    checks += _of_row(whole, evaluation.thresholds, no_base)
    small = [row for row in slices if row.examples < evaluation.min_slice_examples]
    for row in slices:
        if row.examples >= evaluation.min_slice_examples:
            checks += _of_slice(row, evaluation, no_base)
    return checks, _notes(small, evaluation.min_slice_examples)


def _enough(examples: int, least: int) -> Check:
    words = f"at least {least}"
    return Check("quality", "examples", examples >= least, words, value=examples)


def _notes(small: Sequence[Row], least: int) -> tuple[str, ...]:
    if not small:
        return ()
    more = len(small) - 4
    named = ", ".join(row.slice for row in small[:4]) + (f" and {more} more" if more > 0 else "")
    return (f"not judged by themselves, with fewer than {least} examples: {named}",)


def _of_slice(row: Row, evaluation: EvaluationConfig, no_base: str) -> Iterator[Check]:
    """A metric that is not defined for it (of one class there is no ROC curve) is passed over."""
    for check in _of_row(row, evaluation.of_slices, no_base):
        undefined = check.value is None and not row.figures.get(check.name, NO_FIGURE)[0]
        defined_there = row.base.get(check.name, NO_FIGURE)[0] is not None
        if not (undefined and not defined_there and check.name == "roc_auc"):
            yield check


def _of_row(row: Row, thresholds: Sequence[Threshold], no_base: str) -> Iterator[Check]:
    for one in thresholds:
        yield _check(one, row, no_base)


def _check(asked: Threshold, row: Row, no_base: str) -> Check:
    name = asked.metric
    value, why = row.figures.get(name, NO_FIGURE)
    base, base_why = row.base.get(name, NO_FIGURE)
    if name == AGREEMENT and no_base:
        why = no_base
    wrong = list(_wrong(asked, value, why, base, no_base or base_why))
    words = "; ".join(wrong) or _asked(asked)
    return Check("quality", name, not wrong, words, row.slice, value, base)


def _wrong(
    asked: Threshold, value: float | None, why: str, base: float | None, no_base: str
) -> Iterator[str]:
    if value is None:
        yield f"it cannot be judged: {why}"
        return
    if asked.at_least is not None and value < asked.at_least:
        yield f"{value:.4g} is less than {asked.at_least:g}"
    if asked.at_most is not None and value > asked.at_most:
        yield f"{value:.4g} is more than {asked.at_most:g}"
    if asked.worse_by is None:
        return
    if base is None:
        yield f"it cannot be compared: {no_base}"
        return
    worse = value - base if asked.metric in LESS_IS_BETTER else base - value
    # What arithmetic adds is no difference.
    if worse > asked.worse_by + 1e-12 * max(abs(value), abs(base)):
        yield (
            f"{value:.4g} is worse than the answering version's {base:.4g}"
            f" by {worse:.4g}, and may be by {asked.worse_by:g}"
        )


def _asked(asked: Threshold) -> str:
    words = {"at least": asked.at_least, "at most": asked.at_most, "worse by": asked.worse_by}
    return ", ".join(f"{name} {value:g}" for name, value in words.items() if value is not None)


def rows_of(said: Mapping[str, Any]) -> tuple[Row, ...]:
    """Raises ValueError for what the child can't have meant."""
    return Rows.read({"rows": said.get("rows")}, "its figures").rows
