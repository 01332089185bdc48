"""No operator that onnxruntime knows is forgotten."""

from __future__ import annotations

from onnxruntime.capi._pybind_state import get_all_operator_schema

from serving.loading.batching import rules
from serving.loading.batching.call import REASONS, RULES

rules.load()


def test_every_operator_has_a_rule_or_a_reason() -> None:
    known = {(schema.domain, schema.name) for schema in get_all_operator_schema()}
    assert known - RULES.keys() - REASONS.keys() == set()


def test_no_operator_has_both() -> None:
    assert RULES.keys() & REASONS.keys() == set()
