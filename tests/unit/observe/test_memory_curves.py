"""Curves of memory: what is kept of it, of whom, and for how long."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from serving.models.views import ModelView, VersionView
from serving.observe.curves.keeper import Curves
from serving.observe.curves.levels import LEVEL_BYTES, Levels, columns
from serving.observe.curves.memory import MemoryCurves
from serving.observe.curves.ring import DAY, HOUR
from tests.unit.control_fakes import Line
from tests.unit.observe.test_curves import START, Core
from tests.unit.protocol_views import model, version

# Steps of the hour and of the day that end together.
DAY_STEP = 10_000
FIRST = (DAY_STEP + 1) * 12 - 1


def loaded(number: int, memory: int, pid: int | None = 0) -> VersionView:
    """``pid`` 0: it runs in this process; None: there is none just now."""
    one = version(number, queue=Line())
    facts = replace(one.facts, memory_bytes=memory, isolated="" if pid == 0 else "asked for")
    process: Any = None if pid == 0 else SimpleNamespace(pid=pid, crashes=0, restarts=0)
    return replace(one, facts=facts, process=process)


class Models:
    def __init__(self, *views: ModelView) -> None:
        self.now = views

    def views(self) -> tuple[ModelView, ...]:
        return self.now


def test_a_level_is_kept_where_it_changes_with_the_one_that_the_span_began_with() -> None:
    levels = Levels()
    assert [levels.set(step, level) for step, level in ((5, 0), (6, 7), (7, 7), (9, 8))] == [
        *(False, True, False, True)
    ]
    assert levels.changes(0) == [(6, 7), (9, 8)]
    assert levels.changes(8) == [(8, 7), (9, 8)]
    levels.forget(8)
    assert levels.changes(0) == [(6, 7), (9, 8)]
    levels.forget(9)
    assert (levels.changes(0), levels.nbytes) == ([(9, 8)], LEVEL_BYTES)
    levels.set(10, 0)
    assert levels.changes(12) == []
    levels.forget(12)
    assert levels.nbytes == 0
    assert columns([(0, 3)], DAY) == {"at": [120.0], "bytes": [3.0]}


def test_who_is_loaded_and_left_alone_takes_two_changes_and_who_moves_no_more_than_a_span() -> None:
    still, moving = loaded(1, 1000), loaded(2, 0, os.getpid())
    sizes = itertools.count(1)
    curves = MemoryCurves(Models(model("m", still, moving)).views, 10, lambda _: next(sizes))
    for step in range(3 * DAY.kept * 12):
        curves.look(step, step // 12 if step % 12 == 11 else None)
    assert curves.of("m", HOUR, 0)[1].changes == [(0, 1000)]
    assert not curves.of("m", HOUR, 0)[1].measured
    assert curves.of("m", HOUR, 0)[2].measured
    assert curves.nbytes <= 2 * LEVEL_BYTES + (HOUR.kept + DAY.kept + 2) * LEVEL_BYTES


def test_the_days_step_tells_its_most_and_a_process_that_is_gone_takes_nothing() -> None:
    models = Models(model("m", loaded(1, 5, 7)))
    sizes = {7: 100}
    curves = MemoryCurves(models.views, 10, lambda pid: sizes[pid])
    curves.look(FIRST - 3, None)
    sizes[7] = 900
    curves.look(FIRST - 2, None)
    models.now = (model("m", loaded(1, 5, None)),)
    curves.look(FIRST - 1, None)
    models.now = (model("m", loaded(1, 5, 7)),)
    sizes[7] = 50
    curves.look(FIRST, DAY_STEP)
    assert [level for _, level in curves.of("m", HOUR, 0)[1].changes] == [100, 900, 0, 50]
    assert curves.of("m", DAY, 0)[1].changes == [(DAY_STEP, 900)]


def test_of_too_many_those_that_are_loaded_stay_and_nothing_goes_round() -> None:
    models = Models(*(model(f"m{number}", loaded(1, 5)) for number in range(4)))
    curves = MemoryCurves(models.views, 3)
    assert len(curves.look(1, None)) == 3
    assert curves.look(2, None) == set()
    models.now = models.now[1:]
    # Now there is room for the one that came too late.
    assert curves.look(3, None) == {("m3", 1)}
    assert curves.of("m0", HOUR, 0) == {}
    models.now = ()
    curves.look(5, None)
    for step in range(6, 6 + HOUR.kept):
        curves.look(step, None)
    curves.look(6 + HOUR.kept, 100)
    curves.look(7 + HOUR.kept, 101)
    curves.look(8 + HOUR.kept, 102 + DAY.kept)
    assert curves._kept == {}


def test_memory_is_looked_at_with_the_rest_and_followers_hear_of_a_change() -> None:
    core = Core(("m", 1))
    models = Models(model("m", loaded(1, 5)), model("n", loaded(2, 6)))
    memory = MemoryCurves(models.views, 10)
    curves = Curves(core, 10, memory=memory, mono=lambda: core.now, wall=lambda: START)
    heard: list[object] = []
    curves.on_step = lambda keys: heard.append(set(keys))
    for _ in range(13):
        core.now += HOUR.step_s
        curves.look()
    assert heard == [{("m", 1), ("n", 2)}, *[set[object]()] * 12]
    assert columns(curves.memory_of("n", HOUR)[2].changes, HOUR) == {
        "at": [START + 10],
        "bytes": [6.0],
    }
    assert columns(curves.memory_of("n", DAY)[2].changes, DAY)["at"] == [START + 120]
    assert curves.of("n", HOUR) == {}
