"""Each rule of the default domain has a pair of witnesses, run by onnxruntime."""

from __future__ import annotations

from collections import defaultdict

import pytest

from serving.loading.batching.call import DEFAULT, REASONS, RULES
from tests.batching import (
    pairs_elements,
    pairs_images,
    pairs_places,
    pairs_sequences,
    pairs_shapes,
    pairs_sums,
)
from tests.batching.pairs import Pair
from tests.batching.witness import Case, verdict_of, what_moved

PAIRS: list[Pair] = [
    *pairs_elements.PAIRS,
    *pairs_shapes.PAIRS,
    *pairs_places.PAIRS,
    *pairs_sums.PAIRS,
    *pairs_images.PAIRS,
    *pairs_sequences.PAIRS,
]


def _named(pairs: list[tuple[Pair, Case | str]]) -> list[object]:
    return [
        pytest.param(pair.operator, case, id=f"{pair.operator}-{case.opset}-{at}")
        for at, (pair, case) in enumerate(pairs)
        if isinstance(case, Case)
    ]


@pytest.mark.parametrize(("operator", "case"), _named([(pair, pair.passes) for pair in PAIRS]))
def test_rows_go_through_and_nothing_moves(operator: str, case: Case) -> None:
    assert operator in {node.op_type for node in case.model().graph.node}
    assert verdict_of(case).kind == "proven", verdict_of(case).words
    assert what_moved(case) == ""


@pytest.mark.parametrize(("operator", "case"), _named([(pair, pair.joins) for pair in PAIRS]))
def test_the_rule_tells_where_rows_are_joined_and_they_move(operator: str, case: Case) -> None:
    verdict = verdict_of(case)
    assert verdict.kind in ("coupled", "not batchable", "open")
    assert verdict.operator == operator, verdict.words
    assert what_moved(case) != ""


def test_every_rule_has_witnesses_or_a_reason() -> None:
    said = {pair.operator for pair in PAIRS}
    rules = defaultdict(set)
    for (domain, operator), known in RULES.items():
        if domain == DEFAULT:
            rules[known.rule].add(operator)
    assert [rule.__name__ for rule, operators in rules.items() if not said & operators] == []


def test_every_operator_of_a_group_is_shown_or_shares_its_rule_with_one_that_is() -> None:
    shown = {RULES[DEFAULT, pair.operator].rule for pair in PAIRS if isinstance(pair.passes, Case)}
    unshown = {pair.operator for pair in PAIRS if RULES[DEFAULT, pair.operator].rule not in shown}
    assert unshown == _NEVER_PASS | _NO_KERNEL


# What they make is by nature of no single row.
_NEVER_PASS = {
    *("MaxUnpool", "RoiAlign", "MaxRoiPool", "Unique", "NonMaxSuppression", "Bernoulli"),
    *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial"),
}
_NO_KERNEL = {"SwiGLU"}


def test_every_operator_that_onnxruntime_knows_has_a_rule_or_a_reason() -> None:
    from onnxruntime.capi import _pybind_state

    known = {one.name for one in _pybind_state.get_all_operator_schema() if one.domain == DEFAULT}
    ours = {operator for domain, operator in (*RULES, *REASONS) if domain == DEFAULT}
    assert known - ours == set()
    assert ours - known == set()
