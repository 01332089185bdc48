"""Thresholds suggested from windows, and versions against each other."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from serving.observe.statistics.checks import Beside, check
from serving.observe.statistics.reference import Reference
from serving.observe.statistics.rollup import Span
from serving.statistics.dataset import DatasetSketch
from serving.validation.anomalies import rows
from serving.validation.check import validate
from serving.validation.compare import Comparison, Kind, against
from serving.validation.infer import infer
from serving.validation.thresholds import apply, suggest
from serving.validation.views import DatasetView
from tests.unit.validation.builders import listed, schema


def window(seed: int, count: int = 500, mean: float = 0.0, name: str = "inputs") -> Any:
    chance = np.random.default_rng(seed)
    sketch = DatasetSketch()
    letters = chance.choice(np.array(["a", "b", "c"]), count, p=[0.6, 0.3, 0.1])
    sketch.add({"number": chance.normal(mean, size=count), "letter": letters})
    return sketch.message(name)


def test_suggested_thresholds_are_not_reached_by_windows_like_those_before() -> None:
    windows, training = [window(seed) for seed in range(12)], window(99, 5000)
    suggestions = suggest(windows, training)
    assert {(each.path, each.kind) for each in suggestions} == {
        ((name,), kind) for name in ("number", "letter") for kind in (Kind.DRIFT, Kind.SKEW)
    }
    wanted = infer(training)
    assert len(apply(wanted, suggestions)) == 4
    for before, here in itertools.pairwise(windows):
        assert list(rows(validate(here, wanted, training, before))) == []
    moved = {
        row["type"] for row in rows(validate(window(50, mean=3.0), wanted, training, windows[0]))
    }
    assert moved == {"COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH"}


def test_few_whole_numbers_are_compared_by_their_own_buckets() -> None:
    """Their quantiles are the same whether one in four is 1, or one in six."""
    chance = np.random.default_rng(5)

    def clicks(share: float) -> Any:
        sketch = DatasetSketch()
        sketch.add({"clicks": (chance.random(4000) < share).astype(np.int64)})
        return sketch.message("inputs")

    windows, wanted = [clicks(0.25) for _ in range(12)], infer(clicks(0.25))
    (suggestion,) = apply(wanted, suggest(windows))
    drift = wanted.feature[0].drift_comparator.jensen_shannon_divergence
    assert drift.source.type == 2
    assert suggestion.threshold == drift.threshold
    assert list(rows(validate(windows[1], wanted, previous=windows[0]))) == []
    told = [row["type"] for row in rows(validate(clicks(0.5), wanted, previous=windows[0]))]
    assert told == ["COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH"]


def test_thresholds_that_stand_are_left() -> None:
    wanted = schema("""feature { name: "letter" type: BYTES
        drift_comparator { infinity_norm { threshold: 0.3 } } }""")
    suggestions = suggest([window(seed) for seed in range(10)])
    assert apply(wanted, suggestions) == []
    assert wanted.feature[0].drift_comparator.infinity_norm.threshold == 0.3


@pytest.mark.parametrize(("windows", "count"), [(4, 500), (12, 3)])
def test_too_few_windows_or_examples_suggest_nothing(windows: int, count: int) -> None:
    suggestions = suggest([window(seed, count) for seed in range(windows)])
    assert suggestions
    assert all(each.threshold is None for each in suggestions)


def test_versions_are_told_by_the_feature_that_differs() -> None:
    base = listed(window(1), window(2, name="outputs"))
    canary = listed(window(3), window(4, mean=4.0, name="outputs"))

    def compared(here: Any, says: str = "") -> dict[str, Comparison]:
        views = DatasetView.of(here), DatasetView.of(base)
        return {one.name: one for one in against(*views, schema(says), Kind.VERSIONS)}

    found = compared(canary)
    assert found.keys() == {"letter", "number", "outputs.letter", "outputs.number"}
    assert found["outputs.number"].distance.value > 0.5
    assert found["number"].distance.sure == found["letter"].distance.sure == 0
    # Without a threshold nothing is high.
    assert not any(one.high or one.too_few for one in found.values())
    says = """feature { name: "outputs.number" type: FLOAT
        drift_comparator { jensen_shannon_divergence { threshold: 0.2 } } }"""
    told = compared(canary, says)
    assert told.keys() == found.keys()
    assert [(one.name, one.kind) for one in told.values() if one.high] == [
        ("outputs.number", Kind.VERSIONS)
    ]
    assert all(one.too_few for one in compared(listed(window(5, 3))).values())


def test_a_few_rows_are_compared_where_a_threshold_asks_for_it() -> None:
    says = """feature { name: "number" type: FLOAT
        drift_comparator { jensen_shannon_divergence { threshold: 0.2 } } }"""
    few, other = listed(window(1, 20)), listed(window(2))
    beside = Beside(previous=other, base=other)
    shown = check(few, Span.MINUTE, 60.0, Reference(schema(says), other), beside)
    asked = {(one.name, one.kind) for one in shown.distances}
    assert asked == {("number", "drift"), ("number", "versions")}
