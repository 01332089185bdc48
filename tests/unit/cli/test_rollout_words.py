"""Durations and steps as people write them, and a rollout as they read it."""

from __future__ import annotations

import pytest

from serving.cli import durations
from serving.cli.output import UserError
from serving.cli.rollout_table import watch
from serving.cli.rollouts import _shares


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10m", 600), ("90s", 90), ("1h30m", 5400), ("2d", 172_800), ("45", 45), ("0.5s", 0.5)],
)
def test_a_duration_is_read_as_it_is_meant(text: str, seconds: float) -> None:
    assert durations.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "10 m", "-5s", "1m1h", "1e9", "ten", "9" * 20])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="expected a duration such as 10m"):
        durations.seconds(text)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0s"), (59.6, "1m"), (5400, "1h30m"), (90_061, "1d1h")]
)
def test_a_duration_is_told_in_its_two_largest_units(seconds: float, words: str) -> None:
    assert durations.words(seconds) == words


def test_steps_are_read_with_and_without_percent_signs() -> None:
    assert _shares("1, 5%,100") == [1, 5, 100]
    with pytest.raises(UserError, match="steps are shares in percent"):
        _shares("1;5")


def test_watching_tells_each_change_once_and_ends_with_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    phases = ["running", "running", "promoted"]

    def ask() -> list[dict[str, object]]:
        phase = phases.pop(0)
        share = 100 if phase == "promoted" else 5
        return [{"model": "m", "version": 2, "phase": phase, "share": share, "reason": "why"}]

    watch(ask, lambda rollouts: rollouts[0]["phase"] == "running", lambda seconds: None)
    assert capsys.readouterr().out.splitlines() == [
        "m 2: running, 5 %: why",
        "m 2: promoted, 100 %: why",
    ]
