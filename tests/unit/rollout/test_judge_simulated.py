"""The judge's promise, held against simulated rollouts at rates of errors of the base's own of 0,
0.1, 1 and 10 %: of what is as good 99 % are promoted, of what fails twice as often (or, where the
base never fails, at all often) 99 % are rolled back."""

from __future__ import annotations

from collections import Counter

import pytest

from serving.rollout.drift import drifted
from serving.rollout.judge import Decision
from serving.rollout.rules import Rules
from tests.unit.rollout.simulated import (
    Pace,
    Play,
    Scored,
    drift_of,
    played,
    windows_until_too_slow,
)

GOOD = [Play(0, 0, 2000), Play(0.001, 0.001, 10_000), Play(0.01, 0.01, 2000), Play(0.1, 0.1, 500)]
BAD = [
    Play(0, 0.002, 2000),
    Play(0.001, 0.002, 10_000),
    Play(0.01, 0.02, 2000),
    Play(0.1, 0.2, 500),
]


def decisions(play: Play, rollouts: int) -> Counter[Decision]:
    return Counter(played(play, Rules(), seed).decision for seed in range(rollouts))


@pytest.mark.parametrize("play", GOOD, ids=lambda play: f"{play.base:.1%}")
def test_what_is_as_good_is_promoted(play: Play) -> None:
    assert decisions(play, 25) == {Decision.PROMOTE: 25}


@pytest.mark.parametrize("play", BAD, ids=lambda play: f"{play.base:.1%}")
def test_what_fails_twice_as_often_is_rolled_back(play: Play) -> None:
    assert decisions(play, 25) == {Decision.ROLL_BACK: 25}


@pytest.mark.slow
@pytest.mark.parametrize("play", GOOD, ids=lambda play: f"{play.base:.1%}")
def test_of_what_is_as_good_99_percent_are_promoted(play: Play) -> None:
    assert decisions(play, 1000)[Decision.PROMOTE] >= 990


@pytest.mark.slow
@pytest.mark.parametrize("play", BAD, ids=lambda play: f"{play.base:.1%}")
def test_of_what_fails_twice_as_often_99_percent_are_rolled_back(play: Play) -> None:
    assert decisions(play, 1000)[Decision.ROLL_BACK] >= 990


def too_slow(pace: Pace, rollouts: int) -> list[int]:
    """After how many windows, of those that were."""
    found = (windows_until_too_slow(pace, Rules(), seed) for seed in range(rollouts))
    return [windows for windows in found if windows is not None]


@pytest.mark.parametrize(
    "pace", [Pace(), Pace(factor=1.5), Pace(hiccups=0.02)], ids=["alike", "slower", "hiccups"]
)
def test_a_bad_stretch_now_and_then_is_no_slow_version(pace: Pace) -> None:
    assert too_slow(pace, 20) == []


def test_one_window_never_decides_and_a_slow_version_is_found_in_a_few() -> None:
    assert too_slow(Pace(factor=5.0), 20) == [2] * 20
    assert all(2 <= windows <= 6 for windows in too_slow(Pace(factor=3.0), 20))


@pytest.mark.parametrize("median", [0.004, 0.15, 2.0])
@pytest.mark.parametrize("spread", [0.2, 0.5])
@pytest.mark.parametrize(
    ("allowed", "factor", "most"),
    [(2.0, 2.0, None), (2.0, 2.5, 8), (1.5, 1.5, None), (1.5, 2.0, 8)],
)
def test_a_median_beyond_what_is_allowed_is_found_at_any_latency_and_one_at_it_is_not(
    median: float, spread: float, allowed: float, factor: float, most: int | None
) -> None:
    """Of 120 requests in a window. The scrape's buckets would hide it: between 0.1 and 0.25 s there
    is none."""
    pace = Pace(factor=factor, median=median, spread=spread, windows=20)
    rules = Rules(p50_factor=allowed)
    found = [windows_until_too_slow(pace, rules, seed) for seed in range(10)]
    if most is None:
        assert found == [None] * 10
    else:
        assert all(windows is not None and 2 <= windows <= most for windows in found), found


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.2, 0.5, 1.0])
@pytest.mark.parametrize(("allowed", "factor"), [(2.0, 2.0), (2.0, 2.5), (1.5, 1.5), (1.5, 2.0)])
def test_of_medians_at_what_is_allowed_99_percent_stay_and_beyond_it_99_percent_go(
    spread: float, allowed: float, factor: float
) -> None:
    pace = Pace(factor=factor, median=0.15, spread=spread, windows=60)
    rules = Rules(p50_factor=allowed)
    found = [windows_until_too_slow(pace, rules, seed) for seed in range(200)]
    stayed = found.count(None)
    assert stayed >= 198 if factor == allowed else stayed <= 2


@pytest.mark.slow
@pytest.mark.parametrize("pace", [Pace(), Pace(hiccups=0.01)], ids=["alike", "hiccups"])
def test_of_what_is_as_fast_99_percent_are_not_rolled_back(pace: Pace) -> None:
    assert len(too_slow(pace, 500)) <= 5


DRIFT = Rules(drift_classes=0.05)


def shown(scored: Scored, rollouts: int, rules: Rules = DRIFT) -> int:
    return sum(
        drifted(drift_of(scored, rules, seed), rules) is not None for seed in range(rollouts)
    )


@pytest.mark.parametrize("rows", [1, 30])
def test_distributions_that_are_alike_or_as_far_apart_as_they_may_be_are_no_drift(
    rows: int,
) -> None:
    """Also where all rows of an answer are alike: they count as one."""
    assert shown(Scored(rows=rows), 100) == 0
    assert shown(Scored(shift=0.05, rows=rows), 100) == 0


@pytest.mark.parametrize("rows", [1, 30])
def test_what_is_farther_apart_is(rows: int) -> None:
    assert shown(Scored(shift=0.2, rows=rows), 20) == 20
