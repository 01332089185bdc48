"""What stands out is told once, as long as it lasts."""

from __future__ import annotations

import json

import pytest

from serving.observe.statistics.alarms import Alarms, Anomaly
from serving.observe.statistics.damaged import DamagedError
from serving.observe.statistics.rollup import Span

MINUTE, HOUR = Span.MINUTE, Span.HOUR


def one(feature: str = "age", kind: str = "OUT_OF_RANGE", at: float = 1.0) -> Anomaly:
    return Anomaly(at, feature, kind, "too high", "ERROR", MINUTE)


def test_it_is_new_once_whatever_windows_show_it() -> None:
    alarms = Alarms()
    assert alarms.note(MINUTE, [one()]) == ([one()], 0)
    assert alarms.note(MINUTE, [one(at=2.0)]) == ([], 0)
    assert alarms.note(HOUR, [one(at=3.0)]) == ([], 0)
    assert alarms.note(MINUTE, [one(), one("fare")]) == ([one("fare")], 0)
    assert [(a.feature, a.at) for a in alarms.standing] == [("age", 3.0), ("fare", 1.0)]
    assert alarms.counts == {"OUT_OF_RANGE": 2}


def test_it_is_over_once_no_window_shows_it_and_may_begin_again() -> None:
    alarms = Alarms()
    alarms.note(MINUTE, [one()])
    alarms.note(HOUR, [one()])
    assert alarms.note(MINUTE, []) == ([], 0)
    assert alarms.note(HOUR, []) == ([], 1)
    assert not alarms.standing
    assert alarms.note(MINUTE, [one(at=9.0)]) == ([one(at=9.0)], 0)
    assert [a.at for a in alarms.recent] == [1.0, 9.0]


def test_those_that_last_and_those_that_began_are_bounded() -> None:
    alarms = Alarms()
    new, _ = alarms.note(MINUTE, [one(f"f{number}") for number in range(3000)])
    assert len(new) == len(alarms.standing) == 1000
    assert len(alarms.recent) == 100


def test_they_outlive_the_process() -> None:
    alarms, after = Alarms(), Alarms()
    alarms.note(MINUTE, [one()])
    after.take(json.loads(json.dumps(alarms.to_json())))
    assert after.standing == alarms.standing
    assert after.recent == alarms.recent
    assert after.note(MINUTE, [one(at=2.0)]) == ([], 0)


@pytest.mark.parametrize(
    "given", [None, [], {}, {"standing": 1, "recent": []}, {"standing": [{}], "recent": []}]
)
def test_what_is_none_of_them_is_refused(given: object) -> None:
    with pytest.raises(DamagedError):
        Alarms().take(given)
