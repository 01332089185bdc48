"""When the client asks again, and whom: without a clock."""

from __future__ import annotations

import pytest

from serving_client.retrying import (
    NO_RETRY,
    Retry,
    Rotation,
    pause_before_next,
    time_to_connect,
)


@pytest.mark.parametrize(
    ("failures", "hint", "luck", "rest"),
    [
        (1, None, 0.0, 0.05),
        (1, None, 1.0, 0.1),
        (3, None, 1.0, 0.4),
        (9, None, 1.0, 5.0),
        (10_000, None, 1.0, 5.0),
        (1, 2.0, 0.0, 2.0),
        (9, 2.0, 1.0, 2.5),
        (1, 60.0, 0.0, 60.0),
        (3, 0.0, 1.0, 0.0),
        # So long a time can't be meant.
        (1, 1e300, 0.0, 60.0),
    ],
)
def test_a_rest_doubles_unless_the_server_says_how_long(
    failures: int, hint: float | None, luck: float, rest: float
) -> None:
    assert Retry().rest_s(failures, hint, luck) == pytest.approx(rest)


@pytest.mark.parametrize("options", [{"attempts": 0}, {"first_s": 0.0}, {"max_s": 0.01}])
def test_what_cant_be_meant_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"attempts|first_s"):
        Retry(**options)  # type: ignore[arg-type]  # one of them is a whole number


@pytest.mark.parametrize(
    ("left", "addresses", "seconds"), [(60.0, 1, 5.0), (3.0, 1, 3.0), (3.0, 2, 1.5), (60.0, 3, 5.0)]
)
def test_one_of_several_addresses_leaves_the_others_time(
    left: float, addresses: int, seconds: float
) -> None:
    assert time_to_connect(left, addresses) == seconds


def test_addresses_take_turns() -> None:
    rotation = Rotation(3)
    assert [rotation.pick(0.0) for _ in range(6)] == [0, 1, 2, 0, 1, 2]


def test_those_that_rest_are_passed_over_until_they_have() -> None:
    rotation = Rotation(3)
    rotation.failed(1, now=0.0)
    rotation.rests(1, until=5.0)
    assert {rotation.pick(4.9) for _ in range(6)} == {0, 2}
    assert {rotation.pick(5.0) for _ in range(6)} == {0, 1, 2}


def test_where_all_rest_the_first_to_be_back_is_asked() -> None:
    rotation = Rotation(2)
    rotation.rests(0, until=9.0)
    rotation.rests(1, until=8.0)
    assert {rotation.pick(1.0) for _ in range(4)} == {1}


def test_an_answer_ends_what_was_counted() -> None:
    rotation = Rotation(2)
    assert [rotation.failed(0, now=0.0), rotation.failed(0, now=0.0)] == [1, 2]
    rotation.rests(0, until=100.0)
    rotation.answered(0)
    assert rotation.failed(0, now=1.0) == 1
    assert rotation.rest_left(0, now=1.0) == 0.0


def test_a_later_failure_shortens_no_rest_that_the_server_named() -> None:
    rotation = Rotation(1)
    rotation.rests(0, until=30.0)
    rotation.rests(0, until=1.1)
    assert rotation.rest_left(0, now=1.0) == 29.0


def test_many_that_fail_together_are_one_failure() -> None:
    """Else a hundred calls at once would make the rest after the first failure the longest."""
    rotation = Rotation(1)
    for number in range(100):
        assert rotation.failed(0, now=1.0 + number / 1000) == 1
        rotation.rests(0, until=1.5)
    assert rotation.failed(0, now=1.5) == 2


@pytest.mark.parametrize(
    ("rests", "retry", "tried", "pause"),
    [
        # Another address doesn't rest: at once.
        ((5.0, 0.0), Retry(), 1, 0.0),
        # All do: until the first of them has.
        ((5.0, 3.0), Retry(), 1, 2.0),
        ((5.0,), Retry(), 3, 4.0),
        # All attempts were made.
        ((5.0,), Retry(), 4, None),
        # Each address is tried once, also where there are more than attempts.
        ((5.0, 5.0, 2.0), Retry(attempts=2), 2, 1.0),
        ((5.0, 5.0, 2.0), Retry(attempts=2), 3, None),
        ((5.0, 0.0), NO_RETRY, 1, None),
        # It would come too late.
        ((10.0,), Retry(), 1, None),
    ],
)
def test_the_pause_lasts_until_somebody_may_be_asked_within_the_deadline(
    rests: tuple[float, ...], retry: Retry, tried: int, pause: float | None
) -> None:
    rotation = Rotation(len(rests))
    for place, until in enumerate(rests):
        rotation.rests(place, until)
    assert pause_before_next(rotation, retry, tried, now=1.0, deadline=10.0) == pause
