"""The ONNX operator suite against the proof, for each input and axis as the batch.

``unproven_cases.txt`` lists where the rows agree and nothing is proven. After a change of the
rules, write it anew and read the difference:

    python -m tests.batching.test_proof_onnx_cases
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from . import harness
from .onnx_cases import Case, agrees, cases, moves, variants

LISTED = Path(__file__).with_name("unproven_cases.txt")


def _is_expanded(case: Case) -> bool:
    """Whether it has the many nodes that stand for one operator; they have cases of their own."""
    return "_expanded" in case.name


def wrongly_proven(some: Sequence[Case], every: bool = True) -> list[str]:
    found = []
    for case in some:
        all_axes = every and not _is_expanded(case)
        for variant in variants(case):
            if not all_axes and not variant.likely:
                continue
            model = variant.model()
            if harness.verdict(model, variant.signature()).kind != "proven":
                continue
            if harness.answers(model) and (reason := moves(variant, model)):
                found.append(f"{case.name} {variant.name}: {reason}")
    return found


def unproven(some: Sequence[Case]) -> list[str]:
    """``case variant: verdict, operator`` where the rows agree and it is not proven."""
    found = []
    for case in some:
        if _is_expanded(case):
            continue  # The same answers by other operators: its own case says it.
        for variant in variants(case):
            if not variant.likely:
                continue
            model = variant.model()
            verdict = harness.verdict(model, variant.signature())
            if verdict.kind != "proven" and agrees(variant, model):
                why = f"{verdict.kind}, {verdict.operator}"
                found.append(f"{case.name} {variant.name}: {why}")
    return sorted(found)


@pytest.fixture(scope="module")
def all_cases() -> list[Case]:
    """onnx makes them anew in each process, which takes longer than a test of a few of them."""
    return cases()


def test_a_twentieth_of_the_operator_cases_is_proven_only_where_nothing_moves(
    all_cases: list[Case],
) -> None:
    assert wrongly_proven(all_cases[::20], every=False) == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_operator_case_is_proven_where_an_answer_moves(all_cases: list[Case]) -> None:
    plain = [case for case in all_cases if not _is_expanded(case)]
    # Each takes seconds: all its axes that may be rows, each a graph of up to hundreds of nodes.
    expanded = [case for case in all_cases if _is_expanded(case)][::10]
    assert wrongly_proven([*plain, *expanded]) == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_list_of_unproven_cases_is_up_to_date(all_cases: list[Case]) -> None:
    assert unproven(all_cases) == LISTED.read_text().splitlines()


if __name__ == "__main__":
    LISTED.write_text("".join(f"{line}\n" for line in unproven(cases())))
