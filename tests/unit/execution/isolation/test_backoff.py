"""When a child that died is started again. Time is an argument: nothing sleeps here."""

from __future__ import annotations

from serving.execution.isolation.backoff import Backoff


def waits(backoff: Backoff, *lived: float, searching: bool = False) -> list[float]:
    return [backoff.wait(seconds, searching) for seconds in lived]


def test_the_first_start_is_immediate_and_then_the_wait_doubles_up_to_the_longest() -> None:
    assert waits(Backoff(0.2, 2.0), *[0.1] * 7) == [0.0, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]


def test_the_settings_change_the_waits() -> None:
    assert waits(Backoff(1.0, 30.0), *[0.1] * 7) == [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0]


def test_a_child_that_lives_on_has_come_through() -> None:
    backoff = Backoff(0.2, 30.0)
    assert waits(backoff, 0.1, 0.1, 0.1) == [0.0, 0.2, 0.4]
    assert backoff.wait(3.0, searching=False) == 0.0


def test_after_long_waits_it_has_to_live_longer() -> None:
    backoff = Backoff(0.2, 30.0)
    assert waits(backoff, *[0.0] * 10)[-1] == 30.0
    assert backoff.wait(40.0, searching=False) == 30.0
    assert backoff.wait(61.0, searching=False) == 0.0


def test_looking_for_the_guilty_request_costs_no_wait() -> None:
    backoff = Backoff(0.2, 30.0)
    assert backoff.wait(100.0, searching=False) == 0.0
    assert waits(backoff, *[0.1] * Backoff.SEARCHES, searching=True) == [0.0] * Backoff.SEARCHES
    assert backoff.deaths == 1


def test_a_search_that_finds_no_end_backs_off_too() -> None:
    backoff = Backoff(0.2, 30.0)
    backoff.wait(100.0, searching=False)
    waits(backoff, *[0.1] * Backoff.SEARCHES, searching=True)
    assert waits(backoff, *[0.1] * 3, searching=True) == [0.2, 0.4, 0.8]


def test_many_deaths_do_not_overflow() -> None:
    assert waits(Backoff(0.2, 30.0), *[0.0] * 5000)[-1] == 30.0
