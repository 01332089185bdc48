"""Curves of versions: what a step holds, what is kept, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from serving import _core
from serving.observe.curves.keeper import Curves
from serving.observe.curves.ring import DAY, HOUR, POINT_BYTES, UNASKED, Point, Ring, columns, point
from serving.observe.figures import Key

# Whole requests, seconds.
BOUNDS = (0.001, 0.01, 0.1)
START = 1_200_000.0
OK, FAILED = _core.OUTCOMES.index("ok"), _core.OUTCOMES.index("internal")


class Core:
    """Counters of versions, which a test moves; and a clock."""

    def __init__(self, *keys: Key) -> None:
        self.keys = list(keys)
        self.now = 0.0
        self.selected: list[list[Key]] = []
        self._latencies: dict[Key, list[float]] = {key: [] for key in keys}
        self._failed = dict.fromkeys(keys, 0)
        self._runs: dict[Key, list[int]] = {key: [] for key in keys}

    def answer(self, key: Key, *latencies: float, failed: int = 0, rows: int = 1) -> None:
        self._latencies.setdefault(key, []).extend(latencies)
        self._failed[key] = self._failed.get(key, 0) + failed
        self._runs.setdefault(key, []).append(rows)

    def figures(self, select: Sequence[Key] | None = None) -> Any:
        if select is not None:
            self.selected.append(list(select))
        keys = self.keys if select is None else list(select)
        outcomes = np.zeros((len(keys), 2, len(_core.OUTCOMES)), np.uint64)
        total = np.zeros((len(keys), 2, len(BOUNDS) + 1), np.uint64)
        batch = np.zeros((len(keys), 1, 2), np.uint64)
        rows = np.zeros((len(keys), 1))
        for row, key in enumerate(keys):
            latencies = np.array(self._latencies[key])
            outcomes[row, 0, FAILED] = self._failed[key]
            outcomes[row, 1, OK] = len(latencies) - self._failed[key]
            total[row, 1] = [*((latencies <= bound).sum() for bound in BOUNDS), len(latencies)]
            batch[row, 0] = len(self._runs[key])
            rows[row, 0] = sum(self._runs[key])
        return SimpleNamespace(
            versions=keys,
            outcomes=outcomes,
            counts={"queue_requests": np.full(len(keys), 3, np.uint64)},
            histograms={
                "total": SimpleNamespace(
                    bounds=np.array(BOUNDS), counts=total, sums=np.ones((len(keys), 2))
                ),
                "batch": SimpleNamespace(bounds=np.array([1.0]), counts=batch, sums=rows),
            },
        )


def curves_of(core: Core, most: int = 1000) -> Curves:
    return Curves(core, most, mono=lambda: core.now, wall=lambda: START)


def step(core: Core, curves: Curves, steps: int = 1) -> None:
    for _ in range(steps):
        core.now += HOUR.step_s
        curves.look()


def test_a_step_holds_what_happened_in_it() -> None:
    core = Core(("m", 1))
    curves = curves_of(core)
    core.answer(("m", 1), *[0.0005] * 50)
    step(core, curves)
    core.answer(("m", 1), *[0.0005] * 98, 0.05, 0.05, failed=10, rows=100)
    step(core, curves)
    found = curves.now()[("m", 1)]
    assert (found.request_rate, found.error_rate) == (10.0, 1.0)
    assert found.p50_ms <= 1.0
    assert 10 < found.p99_ms <= 100
    assert (found.batch_rows, found.queue_requests) == (100.0, 3.0)
    table = columns(curves.of("m", HOUR)[1], HOUR)
    assert table["at"] == [START + 10, START + 20]
    assert table["request_rate"] == [5.0, 10.0]


def test_who_is_not_asked_costs_no_look_and_no_room() -> None:
    core = Core(*((f"m{n}", 1) for n in range(1000)))
    curves = curves_of(core)
    step(core, curves, 3)
    assert core.selected == []
    assert curves.nbytes == 0
    core.answer(("m7", 1), 0.001)
    step(core, curves)
    step(core, curves)
    assert core.selected == [[("m7", 1)]]
    assert curves.nbytes == POINT_BYTES
    assert curves.now() == {}
    assert curves.of("m1", HOUR) == {}


def test_a_version_keeps_an_hour_and_a_day_and_no_more() -> None:
    core = Core(("m", 1))
    curves = curves_of(core)
    for _ in range(HOUR.kept + 30):
        core.answer(("m", 1), 0.001)
        step(core, curves)
    assert len(curves.of("m", HOUR)[1]) == HOUR.kept
    assert len(curves.of("m", DAY)[1]) == (HOUR.kept + 30) // 12
    ring = Ring()
    for number in range(3 * DAY.kept):
        ring.add(number, Point(1, 0, 1, 1, 1, 0), DAY.kept)
    assert ring.nbytes == DAY.kept * POINT_BYTES
    assert (HOUR.kept + DAY.kept) * POINT_BYTES <= 31_000


def test_those_that_were_asked_last_are_kept_and_come_back_without_their_past() -> None:
    one, two, three = ("a", 1), ("b", 1), ("c", 1)
    core = Core(one, two, three)
    curves = curves_of(core, most=2)
    core.answer(one, *[0.001] * 1000)
    step(core, curves)
    core.answer(two, 0.001)
    core.answer(three, 0.001)
    step(core, curves)
    assert set(curves.now()) == {two, three}
    assert curves.of("a", HOUR) == {}
    core.answer(one, 0.001)
    step(core, curves)
    core.answer(one, 0.001)
    step(core, curves)
    assert [found.request_rate for _, found in curves.of("a", HOUR)[1]] == pytest.approx([0.1])


def test_a_version_that_was_idle_for_days_and_is_asked_now_and_then_has_curves_again() -> None:
    core = Core(("m", 1))
    curves = curves_of(core)
    core.answer(("m", 1), 0.005)
    step(core, curves)
    step(core, curves, 2 * 24 * 360)
    assert not curves.of("m", DAY)
    # Less often than the day's steps are long.
    for _ in range(4):
        core.answer(("m", 1), 0.005)
        step(core, curves, 30)
    assert len(curves.of("m", HOUR)[1]) == 3


def test_a_point_of_the_day_is_of_its_own_requests_and_no_mean_of_quantiles() -> None:
    core = Core(("m", 1))
    curves = curves_of(core)
    core.answer(("m", 1), *[0.05] * 10)
    step(core, curves)
    core.answer(("m", 1), *[0.0005] * 990)
    step(core, curves, 11)
    ((number, found),) = curves.of("m", DAY)[1]
    assert number * DAY.step_s == START
    assert found.request_rate == pytest.approx(1000 / 120)
    assert found.p99_ms <= 1.0


def test_a_sleep_of_the_machine_is_one_step() -> None:
    core = Core(("m", 1))
    curves = curves_of(core)
    core.now += 1000
    core.answer(("m", 1), *[0.001] * 1000)
    curves.look()
    ((_, found),) = curves.of("m", HOUR)[1]
    assert found.request_rate == pytest.approx(1.0)
    assert list(curves.of("m", DAY)) == [1]


def test_counters_that_went_back_begin_anew_and_nothing_is_divided_by_none() -> None:
    core = Core(("m", 1))
    curves = curves_of(core)
    core.answer(("m", 1), 0.001)
    step(core, curves)
    look = curves._kept[("m", 1)].look  # the only one there is
    again = point(look, UNASKED, 10.0, 0.0)
    assert (again.request_rate, again.error_rate) == (0.0, 0.0)
    assert math.isnan(again.p50_ms)
    assert columns([(1, again)], HOUR)["p50_ms"] == [None]


def test_whoever_follows_hears_of_those_that_did_something() -> None:
    core = Core(("m", 1), ("n", 2))
    curves = curves_of(core)
    heard: list[set[Key]] = []
    curves.on_step = lambda keys: heard.append(set(keys))
    core.answer(("n", 2), 0.001)
    step(core, curves, 2)
    assert heard == [{("n", 2)}, set()]
