"""Distances, by hand and by another's computation."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from serving.validation.distances import (
    Histogram,
    aligned,
    jensen_shannon,
    jensen_shannon_of_histograms,
    jensen_shannon_of_values,
    l_infinity,
    normalized_difference,
)
from serving.validation.placement import certain_divergence

INF = math.inf


def of(edges: list[float], counts: Sequence[float] | Any, nans: float = 0.0) -> Histogram:
    bounds = np.array(edges, dtype=np.float64)
    return Histogram(bounds[:-1], bounds[1:], np.array(counts, dtype=np.float64), nans)


def test_l_infinity_by_hand() -> None:
    # 0.6, 0.3, 0.1 against 0.2, 0.3, 0.5: both ends differ by 0.4, and the last one is named.
    a, b = {"a": 60, "b": 30, "c": 10}, {"a": 20, "b": 30, "c": 50}
    assert l_infinity(a, b) == (pytest.approx(0.4), "c")
    assert l_infinity(a, {"d": 1}) == (pytest.approx(1.0), "d")
    assert l_infinity({}, {"a": 3}) == (1.0, "a")
    assert l_infinity({}, {}) == (0.0, "")


def test_normalized_difference_by_hand() -> None:
    # |60 - 20| of 200 counted in both.
    a, b = {"a": 60, "b": 40}, {"a": 20, "b": 80}
    assert normalized_difference(a, b) == (pytest.approx(0.2), "b")
    assert normalized_difference({}, {}) == (0.0, "")


def test_jensen_shannon_by_hand() -> None:
    # (1, 0) and (1/2, 1/2) have the middle (3/4, 1/4): half of log2(4/3), and of a half of
    # log2(2/3) + log2(2).
    by_hand = (math.log2(4 / 3) + (math.log2(2 / 3) + math.log2(2)) / 2) / 2
    assert by_hand == pytest.approx(0.31127812)
    assert jensen_shannon(np.array([1.0, 0.0]), np.array([5.0, 5.0])) == pytest.approx(by_hand)
    assert jensen_shannon_of_values({"x": 1}, {"x": 1, "y": 1}) == pytest.approx(by_hand)
    assert jensen_shannon_of_values({"x": 1}, {"y": 7}) == 1.0
    assert jensen_shannon_of_values({"x": 1}, {}) is None
    assert jensen_shannon_of_values({"x": 1}, {"x": 0}) is None


def test_buckets_are_cut_at_all_bounds_and_spread_evenly() -> None:
    # 4 in [0, 2] and 6 in [2, 4], against 10 in [1, 3]: cut at 0, 1, 2, 3, 4.
    a, b = aligned(of([0, 2, 4], [4, 6]), of([1, 3], [10]))
    assert a[:4].tolist() == [2, 2, 3, 3]
    assert b[:4].tolist() == [0, 5, 5, 0]
    by_hand = jensen_shannon(np.array([0.2, 0.2, 0.3, 0.3]), np.array([0, 0.5, 0.5, 0]))
    found = jensen_shannon_of_histograms(of([0, 2, 4], [4, 6]), of([1, 3], [10]))
    assert found == pytest.approx(by_hand)


def test_a_bucket_without_a_width_is_a_cell_of_its_own() -> None:
    constant, same, other = of([3, 3], [5]), of([3, 3], [50]), of([4, 4], [5])
    assert jensen_shannon_of_histograms(constant, same) == 0
    assert jensen_shannon_of_histograms(constant, other) == 1
    assert jensen_shannon_of_histograms(constant, of([0, 10], [5])) == 1


def test_infinite_bounds_are_never_alike_and_nan_only_where_no_bucket_is_cut() -> None:
    endless = of([-INF, 0, 1], [5, 5])
    assert jensen_shannon_of_histograms(endless, endless) == pytest.approx(0.5)
    whole, some = of([0, 1], [5]), of([0, 1], [5], nans=5)
    assert jensen_shannon_of_histograms(whole, some) == pytest.approx(0.31127812)
    assert jensen_shannon_of_histograms(of([0, 2], [5]), some) == pytest.approx(0.31127812)
    cut = of([0, 2], [10], nans=30)
    assert jensen_shannon_of_histograms(cut, of([0, 1], [5])) == pytest.approx(0.31127812)


def test_nothing_is_compared_with_an_empty_histogram() -> None:
    assert jensen_shannon_of_histograms(of([0, 1], [5]), of([0, 1], [0])) is None
    assert jensen_shannon_of_histograms(of([0], []), of([0, 1], [1])) is None
    assert certain_divergence(of([0, 1], [5]), of([0, 1], [0])) is None


@pytest.mark.parametrize("scale", [5e-324, 1e-300, 1e300, 1.7e308])
def test_bounds_may_be_as_far_apart_as_numbers_are(scale: float) -> None:
    found = jensen_shannon_of_histograms(of([-scale, 0, scale], [1, 1]), of([0, scale], [1]))
    assert found == pytest.approx(0.31127812)


_COUNTS = st.lists(st.floats(0, 1e6), min_size=1, max_size=12)


@settings(deadline=None, max_examples=60)
@given(_COUNTS, _COUNTS, st.floats(-100, 100), st.floats(0.1, 10))
@example([0.0, 1.0], [19.0, 1.0], 0.0, 0.96875)
def test_any_two_histograms_are_as_scipy_says(
    one: list[float], two: list[float], start: float, width: float
) -> None:
    a = of([float(edge) for edge in range(len(one) + 1)], one)
    b = of([start + width * edge for edge in range(len(two) + 1)], two)
    found = jensen_shannon_of_histograms(a, b)
    if not sum(one) or not sum(two):
        assert found is None
        return
    # Slow to import, so not in every process that collects tests.
    jensenshannon = importlib.import_module("scipy.spatial.distance").jensenshannon
    left, right = aligned(a, b)
    assert left.sum() == pytest.approx(sum(one))
    assert right.sum() == pytest.approx(sum(two))
    assert found == pytest.approx(jensenshannon(left, right, base=2) ** 2, abs=1e-9)
    # Whatever lies where, they are no farther apart than if it is spread evenly.
    certain = certain_divergence(a, b)
    assert certain is not None
    assert found is not None
    assert certain <= found + 1e-9


def test_many_buckets_are_joined_before_they_are_placed() -> None:
    chance = np.random.default_rng(1)
    fine = [of(np.linspace(0, 1, 2001).tolist(), chance.integers(0, 9, 2000)) for _ in range(2)]
    certain = certain_divergence(fine[0], fine[1])
    assert certain is not None
    assert certain < 0.01
    moved = of(np.linspace(2, 3, 2001).tolist(), chance.integers(0, 9, 2000))
    assert certain_divergence(fine[0], moved) == pytest.approx(1)


def test_placed_as_alike_as_buckets_permit_two_of_one_distribution_are_alike() -> None:
    # One has [0, 1] and [1, 2], the other both in one: nothing says that they differ.
    assert certain_divergence(of([0, 1, 2], [9, 1]), of([0, 2], [10])) == pytest.approx(0, abs=1e-3)
    assert certain_divergence(of([0, 1], [10]), of([2, 3], [10])) == pytest.approx(1)
    # A value on a bound may be in either: 1 in the first's second bucket, and in the other's first.
    assert certain_divergence(of([0, 1, 2], [0, 10]), of([0, 1, 2], [10, 0])) == pytest.approx(
        0, abs=1e-3
    )
