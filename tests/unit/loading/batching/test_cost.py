"""How many rows a run should have."""

from __future__ import annotations

import pytest

from serving.loading.batching.cost import best_rows, cheaper_still, curve

US = 1e-6


@pytest.mark.parametrize(
    ("seconds", "best"),
    [
        pytest.param({}, None, id="nothing_measured"),
        pytest.param(
            {1: 17 * US, 8: 19 * US, 64: 23 * US}, 64, id="a_run_costs_more_than_its_rows"
        ),
        pytest.param(
            {1: 60 * US, 16: 510 * US, 32: 1500 * US, 64: 3200 * US},
            16,
            id="the_largest_is_not_the_best",
        ),
        pytest.param({1: 1.0, 2: 1.99, 4: 3.98}, None, id="small_runs_are_never_preferred"),
        pytest.param({2: 0.1, 8: 0.8, 16: 1.59}, 8, id="equal_sizes_answer_sooner_when_small"),
    ],
)
def test_the_smallest_of_the_cheapest_sizes_is_best(
    seconds: dict[int, float], best: int | None
) -> None:
    assert best_rows(seconds) == best


@pytest.mark.parametrize(
    ("seconds", "fixed", "per_row"),
    [
        pytest.param({1: 3.0, 2: 5.0, 8: 17.0}, 1.0, 2.0, id="a_line"),
        pytest.param({4: 8.0}, 0.0, 2.0, id="one_size"),
        pytest.param({1: 5.0, 64: 5.0}, 5.0, 0.0, id="rows_for_nothing"),
        pytest.param({1: 5.0, 2: 4.0}, 4.390, 0.0, id="never_less_for_more_rows"),
        pytest.param({1: 1.0, 2: 4.0}, 0.0, 1.2, id="never_less_than_nothing"),
    ],
)
def test_the_curve_is_the_nearest_line_that_can_be(seconds, fixed, per_row) -> None:
    found = curve(seconds)
    assert found is not None
    assert found.fixed_s == pytest.approx(fixed, rel=0.01, abs=1e-9)
    assert found.per_row_s == pytest.approx(per_row, rel=0.01, abs=1e-9)


def test_nothing_measured_is_no_curve() -> None:
    assert curve({}) is None


@pytest.mark.parametrize(
    ("seconds", "on"),
    [
        pytest.param({1: 1.0, 2: 2.0, 4: 4.0, 8: 8.0}, True, id="small_sizes_do_not_tell"),
        pytest.param({4: 4.0, 8: 8.0, 16: 16.0}, True, id="one_size_may_be_a_stall"),
        pytest.param({8: 8.0, 16: 16.0, 32: 32.0}, False, id="two_that_save_nothing"),
        pytest.param({8: 8.0, 16: 16.0, 32: 20.0}, True, id="the_second_saves"),
    ],
)
def test_measuring_goes_on_while_a_row_gets_cheaper(seconds, on) -> None:
    assert cheaper_still(seconds) is on
