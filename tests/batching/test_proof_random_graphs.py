"""Random graphs run alone and together: what moves is never called proven."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, event, given, settings

from . import harness
from .random_graphs import Random, callers, graphs

CALLERS = callers()
# FP64 keeps sums and products below this, also behind a cancellation.
TOLERANCE = 1e-6
LONG = {"deadline": None, "derandomize": True, "suppress_health_check": [HealthCheck.too_slow]}


def check(graph: Random) -> None:
    found = harness.verdict(graph.model, graph.signature)
    event(found.kind)
    if found.kind != "proven":
        return
    for some in CALLERS:
        moved = harness.moved(graph.model, some, TOLERANCE)
        assert moved == "", f"{moved}\n{graph.nodes}"


@given(graphs())
@settings(max_examples=300, **LONG)
def test_no_random_graph_is_proven_whose_answers_move(graph: Random) -> None:
    check(graph)


@pytest.mark.slow
@pytest.mark.timeout(600)
@given(graphs())
@settings(max_examples=4_000, **LONG)
def test_no_graph_of_many_is_proven_whose_answers_move(graph: Random) -> None:
    check(graph)
