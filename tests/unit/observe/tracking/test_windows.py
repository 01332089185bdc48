"""Windows out of counters: tables, and what must hold for any counters."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serving.loading.batching.cost import CostCurve
from serving.observe.figures import EMPTY, Counters
from serving.observe.tracking.system import SystemFigures
from serving.observe.windows import (
    Window,
    difference,
    figures,
    is_count,
    quantile,
    went_back,
)
from tests.unit.tracking_world import BOUNDS, counters, histogram, window

SECONDS = st.lists(st.floats(0, 1), max_size=30)
OK = ("http", "200")


@pytest.mark.parametrize(
    ("observed", "share", "expected"),
    [
        # Straight lines within a bucket, whose lower end is the bound before it.
        ([0.0005], 0.5, 0.0005),
        ([0.005] * 10, 0.5, 0.001 + 0.009 * 0.5),
        ([0.005] * 10, 0.9, 0.001 + 0.009 * 0.9),
        ([0.005] * 10, 1.0, 0.01),
        ([0.0005] * 5 + [0.05] * 5, 0.5, 0.001),
        ([0.0005] * 5 + [0.05] * 5, 0.9, 0.01 + 0.09 * 0.8),
        # An empty bucket between is passed over.
        ([0.0005, 0.05], 0.75, 0.01 + 0.09 * 0.5),
        # Beyond the last bound nothing is known but that.
        ([5.0] * 3, 0.5, 0.1),
        ([0.0005] * 98 + [5.0, 6.0], 0.99, 0.1),
    ],
)
def test_percentiles_are_interpolated(observed: list[float], share: float, expected: float) -> None:
    assert quantile(histogram(*observed), share) == pytest.approx(expected)


def test_nothing_has_no_percentile() -> None:
    with pytest.raises(ValueError, match="nothing"):
        quantile(histogram(), 0.5)


@given(SECONDS.filter(bool), st.floats(0.01, 1), st.floats(0.01, 1))
@example([1.0, 0.0078125], 0.5, 0.5)
def test_percentiles_grow_with_their_share_and_stay_in_the_bucket_of_their_rank(
    observed: list[float], one: float, other: float
) -> None:
    found = histogram(*observed)
    low, high = sorted((one, other))
    assert quantile(found, low) <= quantile(found, high)
    exact = sorted(observed)[max(0, -int(-high * len(observed) // 1) - 1)]
    bounds = (0.0, *BOUNDS)
    place = next((i for i, bound in enumerate(BOUNDS) if exact <= bound), None)
    if place is None:
        assert quantile(found, high) == BOUNDS[-1]
    else:
        assert bounds[place] <= quantile(found, high) <= bounds[place + 1]


def test_the_figures_of_a_window() -> None:
    before = counters(0.005, rows=1.0, runs=1.0)
    outcomes = {OK: 3, ("grpc", "RESOURCE_EXHAUSTED"): 2, ("http", "400"): 1, ("http", "503"): 1}
    now = counters(
        0.005, 0.005, 0.005, outcomes=outcomes, rows=9.0, runs=3.0, expired=2.0, queue_rows=4.0
    )
    found = figures(before, now, 2.0, CostCurve(0.001, 0.0002, 16))
    assert {key: value for key, value in found.items() if "/" not in key} == {
        "window_s": 2.0,
        "requests": 6.0,
        "request_rate": 3.0,
        "errors": 4.0,
        "refusals": 3.0,
        "rows": 8.0,
        "row_rate": 4.0,
        "runs": 2.0,
        "runs_failed": 0.0,
        "expired": 2.0,
        "cancelled": 0.0,
        "batch_rows": pytest.approx(0.005),
        "queue_rows": 4.0,
    }
    assert {key: value for key, value in found.items() if key.startswith("errors/")} == {
        "errors/grpc/RESOURCE_EXHAUSTED": 2.0,
        "errors/http/400": 1.0,
        "errors/http/503": 1.0,
    }
    assert found["total_ms/mean"] == pytest.approx(5.0)
    assert found["compute_ms/p50"] == pytest.approx(5.5)
    assert found["cost/fixed_ms"] == pytest.approx(1.0)
    assert found["cost/per_row_ms"] == pytest.approx(0.2)
    assert found["cost/best_rows"] == 16.0


def test_a_window_without_requests_has_counts_of_zero_and_no_times() -> None:
    same = counters(0.005, 0.5, rows=2.0, in_flight_requests=0.0)
    found = figures(same, same, 15.0)
    assert found["requests"] == found["request_rate"] == found["rows"] == 0.0
    assert found["in_flight_requests"] == 0.0
    assert not [key for key in found if key.endswith(("/p50", "/p99", "/mean"))]
    assert "batch_rows" not in found
    # The same numbers in other objects are the same window.
    assert figures(same, counters(0.005, 0.5, rows=2.0, in_flight_requests=0.0), 15.0) == found


def test_a_window_of_no_length_has_no_rate() -> None:
    assert figures(None, counters(0.005), 0.0)["request_rate"] == 0.0


@pytest.mark.parametrize(
    "now",
    [
        counters(0.005, outcomes={OK: 1}),
        counters(0.005, 0.005, 0.005, outcomes={OK: 1}),
        counters(0.005, 0.005, 0.005, outcomes={OK: 3}, rows=1.0),
    ],
)
def test_counters_that_went_back_began_anew(now: Counters) -> None:
    before = counters(0.005, 0.005, outcomes={OK: 2}, rows=5.0)
    assert went_back(before, now)
    found = figures(before, now, 1.0)
    assert found == figures(None, now, 1.0)
    assert all(value >= 0 for value in found.values())


def test_other_buckets_are_other_counters() -> None:
    before = counters(0.005)
    other = histogram(0.005, 0.006, bounds=(0.5, 1.0))
    now = type(before)({OK: 2}, other, other, other, other, {})
    assert went_back(before, now)


@given(st.lists(SECONDS, min_size=1, max_size=6))
def test_windows_sum_up_to_the_counters_whatever_is_observed(parts: list[list[float]]) -> None:
    seen: list[float] = []
    before, found = None, []
    for part in parts:
        seen += part
        now = counters(*seen, rows=float(len(seen)))
        found.append(figures(before, now, 1.0))
        before = now
    assert sum(one["requests"] for one in found) == len(seen)
    assert sum(one["rows"] for one in found) == len(seen)
    means = sum(one.get("total_ms/mean", 0.0) * one["requests"] for one in found)
    assert means == pytest.approx(sum(seen) * 1e3, abs=1e-6)
    for one in found:
        assert ("total_ms/p99" in one) == (one["requests"] > 0)


@given(SECONDS, SECONDS)
def test_a_difference_is_what_was_observed_between(first: list[float], then: list[float]) -> None:
    found = difference(histogram(*first), histogram(*first, *then))
    assert found.counts == histogram(*then).counts
    assert difference(EMPTY, histogram(*then)) == histogram(*then)


def test_the_documentation_names_every_figure() -> None:
    text = (Path(__file__).resolve().parents[4] / "docs" / "observability.md").read_text()
    of_all = counters(0.005, in_flight_requests=0, queue_requests=0, queue_rows=0)
    machine = SystemFigures(ask_gpus=lambda: "0, 1, 2, 3, 4").read()
    found = {**figures(None, of_all, 1.0, CostCurve(1.0, 1.0, 8)), **machine}
    assert len(found) > 30
    for key in found:
        name, slash, part = key.replace("gpu_0_", "gpu_<i>_").partition("/")
        whole = f"`{name}{slash}{part}`" in text
        assert whole or (f"`{name}/mean`" in text and f"`/{part}`" in text), key


def test_counts_are_told_from_measures() -> None:
    assert all(map(is_count, ("requests", "errors", "errors/http/400", "rows", "expired")))
    assert not any(map(is_count, ("request_rate", "total_ms/p50", "queue_rows", "window_s")))


def test_a_window_in_json() -> None:
    assert window(4, requests=2.0).to_json() == {
        "model": "m",
        "version": 1,
        "number": 4,
        "start": 104.0,
        "end": 105.0,
        "figures": {"requests": 2.0},
    }
    assert isinstance(window(), Window)
