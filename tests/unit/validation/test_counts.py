"""What chance may do, and that it does no more."""

from __future__ import annotations

import importlib
import math
from typing import Any

import numpy as np
import pytest

from serving.validation import counts
from tests.unit.validation.false_alarms import NUMBERS, TEXTS, rates


@pytest.fixture(scope="module")
def stats() -> Any:
    """SciPy's: slow to import, so not in every process that collects tests."""
    return importlib.import_module("scipy.stats")


@pytest.mark.parametrize("freedom", [1, 2, 3, 9, 20, 400])
@pytest.mark.parametrize("chance", [0.05, 0.001, 1e-5])
def test_limits_of_chi_square_are_close_and_rarely_too_small(
    stats: Any, freedom: int, chance: float
) -> None:
    ratio = counts.chi_square_limit(freedom, chance) / stats.chi2.isf(chance, freedom)
    assert 0.985 <= ratio <= 1.08


def test_without_freedom_there_is_no_noise_and_without_examples_any() -> None:
    assert counts.chi_square_limit(0, 0.001) == 0
    assert counts.divergence_noise(1, 10, 10, 0.001) == 0
    assert counts.divergence_noise(3, 0, 10, 0.001) == math.inf
    assert counts.least_divergence(1.0, math.inf) == 0


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99, 1.0])
@pytest.mark.parametrize("count", [1, 10, 1000])
def test_limits_of_a_share_hold_what_the_exact_ones_hold(
    stats: Any, share: float, count: int
) -> None:
    found = round(share * count)
    low, high = counts.share_limits(np.array([found / count]), count, 0.01)
    exact = stats.binomtest(found, count).proportion_ci(0.98, "exact")
    assert low[0] <= exact.low + 1e-9
    assert high[0] >= exact.high - 1e-9


def test_a_sketch_is_worth_no_more_examples_than_its_ranks_are() -> None:
    assert counts.effective(100, 0.0133) == pytest.approx(99, abs=0.5)
    assert counts.effective(1e9, 0.0133) == pytest.approx(9377, rel=0.01)
    assert counts.effective(1e9, 0.08) == pytest.approx(259, rel=0.01)


@pytest.mark.parametrize("name", sorted(NUMBERS))
@pytest.mark.parametrize("measure", ["standard", "quantiles"])
@pytest.mark.parametrize("count", [10, 300])
def test_windows_of_the_baselines_own_numbers_raise_no_alarm(
    name: str, measure: str, count: int
) -> None:
    found = rates(NUMBERS[name], NUMBERS[name], measure, count, windows=10)
    assert found.ours == 0


@pytest.mark.parametrize("name", sorted(TEXTS))
@pytest.mark.parametrize("count", [10, 300])
def test_windows_of_the_baselines_own_texts_raise_no_alarm(name: str, count: int) -> None:
    found = rates(TEXTS[name], TEXTS[name], "L-infinity", count, windows=20)
    assert found.ours == 0


def test_small_windows_say_too_few_where_tfx_alarms() -> None:
    found = rates(NUMBERS["normal"], NUMBERS["normal"], "standard", 10, windows=10)
    assert found.tfx == 1
    assert found.too_few == 1


@pytest.mark.parametrize("measure", ["standard", "quantiles"])
def test_what_really_moved_is_seen_with_enough_examples(measure: str) -> None:
    found = rates(lambda c, n: c.normal(1, size=n), NUMBERS["normal"], measure, 1000, windows=10)
    assert found.ours == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_hardly_a_window_in_hundreds_raises_an_alarm_by_chance(name: str) -> None:
    for measure in ("standard", "quantiles"):
        for count in (30, 1000, 10_000):
            found = rates(NUMBERS[name], NUMBERS[name], measure, count, windows=150, seed=7)
            assert found.ours <= 2 / 150
