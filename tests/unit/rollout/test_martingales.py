"""Tests of proportions that may be looked at whenever one likes: held against exact sums over all
that can be seen."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.rollout.martingales import Counted, added, mixed, odds, rate

MORE = (1.5, 2.0, 10.0, 1000.0)
FEWER = (0.1, 0.5, 1.0)


def ways(canary: int, base: int, errors: int) -> dict[int, int]:
    """The canary's errors -> how many ways there are to them."""
    possible = range(max(0, errors - base), min(errors, canary) + 1)
    return {k: math.comb(canary, k) * math.comb(base, errors - k) for k in possible}


def expected(canary: int, base: int, errors: int, true: float, null: float, other: float) -> float:
    """The mean ratio where the odds' true ratio is ``true``."""
    weights = {k: n * true**k for k, n in ways(canary, base, errors).items()}
    total = sum(weights.values())
    return sum(
        weight
        / total
        * math.exp(odds(Counted(k, canary), Counted(errors - k, base), [other], null)[0])
        for k, weight in weights.items()
    )


counts = st.integers(1, 30)


@given(counts, counts, st.data())
def test_the_mean_ratio_is_one_where_both_fail_alike(
    canary: int, base: int, data: st.DataObject
) -> None:
    errors = data.draw(st.integers(0, canary + base))
    for other in MORE:
        assert expected(canary, base, errors, 1.0, 1.0, other) == pytest.approx(1.0)


@given(counts, counts, st.floats(0.1, 1.0), st.floats(1.0, 20.0), st.data())
def test_the_mean_ratio_is_below_one_on_the_other_side_of_what_is_refuted(
    canary: int, base: int, less: float, more: float, data: st.DataObject
) -> None:
    errors = data.draw(st.integers(0, canary + base))
    for other in MORE:
        assert expected(canary, base, errors, less, 1.0, other) <= 1 + 1e-9
    for other in FEWER:
        assert expected(canary, base, errors, 2.0 * more, 2.0, other) <= 1 + 1e-9


@given(st.integers(0, 40), st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_a_rates_mean_ratio_is_one_at_what_is_refuted_and_below_one_beyond(
    requests: int, null: float, part: float
) -> None:
    other = null * part

    def mean(true: float) -> float:
        return sum(
            math.comb(requests, k)
            * true**k
            * (1 - true) ** (requests - k)
            * math.exp(rate(Counted(k, requests), [other], null)[0])
            for k in range(requests + 1)
        )

    assert mean(null) == pytest.approx(1.0)
    assert mean(null + (1 - null) * part) <= 1 + 1e-9


@given(st.integers(0, 20), st.integers(0, 20), counts, counts)
def test_more_errors_of_the_canarys_never_speak_for_it(
    few: int, more: int, canary: int, base: int
) -> None:
    few, more = sorted((min(few, canary), min(more, canary)))
    errors = min(5, base)
    for of, alternatives, null in ((1, MORE, 1.0), (-1, FEWER, 2.0)):
        logs = [
            odds(Counted(k, canary), Counted(max(0, errors - k + few), base), alternatives, null)
            for k in (few, more)
            if errors - k + few >= 0
        ]
        if len(logs) == 2:
            assert all(of * b >= of * a - 1e-9 for a, b in zip(*logs, strict=True))


@pytest.mark.parametrize(
    ("canary", "base"),
    [
        (Counted(0, 0), Counted(3, 10)),
        (Counted(3, 10), Counted(0, 0)),
        (Counted(0, 10), Counted(0, 10)),
        (Counted(10, 10), Counted(10, 10)),
    ],
)
def test_what_says_nothing_changes_nothing(canary: Counted, base: Counted) -> None:
    assert odds(canary, base, MORE, 1.0) == pytest.approx((0.0,) * len(MORE))


def test_a_large_window_takes_neither_long_nor_an_overflow() -> None:
    (log,) = odds(Counted(200_000, 500_000), Counted(200_000, 500_000), [2.0], 1.0)
    assert math.isfinite(log)
    assert log < 0


def test_a_mixture_is_the_weighted_mean_and_one_window_adds_no_more_than_it_may() -> None:
    assert mixed((math.log(4), math.log(2)), (0.25, 0.75)) == pytest.approx(math.log(2.5))
    assert mixed((-5000.0, 5000.0), (0.5, 0.5)) == pytest.approx(5000 + math.log(0.5))
    assert added((1.0, -1.0), (9.0, -9.0), 2.0) == (3.0, -10.0)
