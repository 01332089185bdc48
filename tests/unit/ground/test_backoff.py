"""The one way to wait after failures: time and chance are arguments."""

from __future__ import annotations

import pytest

from serving.backoff import wait_s


@pytest.mark.parametrize(
    ("failed", "longest", "chance", "expected"),
    [
        (0, 60, 1.0, 1.0),
        (1, 60, 1.0, 1.0),
        (2, 60, 1.0, 2.0),
        (5, 60, 1.0, 16.0),
        (50, 60, 1.0, 60.0),
        (10_000, 4, 1.0, 4.0),
        (3, 60, 0.0, 2.0),
        (3, 60, 0.5, 3.0),
    ],
)
def test_what_failed_is_tried_again_later_and_later(
    failed: int, longest: float, chance: float, expected: float
) -> None:
    assert wait_s(failed, 1.0, longest, chance) == pytest.approx(expected)


def test_waits_grow_up_to_a_bound_and_are_spread() -> None:
    assert [wait_s(n, 0.5, 30.0) for n in (1, 2, 3, 50)] == [0.5, 1.0, 2.0, 30.0]
    assert wait_s(1, 0.5, 30.0, 0.0) == 0.25
