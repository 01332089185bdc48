"""How many rows a run should have."""

from __future__ import annotations

import pytest

from serving.models.cost import best_rows

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
