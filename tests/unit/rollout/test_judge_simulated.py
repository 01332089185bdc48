"""The judge's promise, held against simulated rollouts at rates of errors of the base's own of 0,
0.1, 1 and 10 %: of what is as good 99 % are promoted, of what fails twice as often (or, where the
base never fails, at all often) 99 % are rolled back."""

from __future__ import annotations

from collections import Counter

import pytest

from serving.rollout.judge import Decision
from serving.rollout.rules import Rules
from tests.unit.rollout.simulated import Play, played

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
