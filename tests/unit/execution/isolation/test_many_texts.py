"""Which runs go to a child, and when that one comes and goes. Nothing sleeps here."""

from __future__ import annotations

import math

from serving.execution.isolation.many_texts import BYTES_OF_A_TEXT, Demand, ManyTexts


def test_many_texts_are_as_many_as_the_limit_bytes_counted_in() -> None:
    many = ManyTexts(100).many
    assert many(100, 0, 0)
    assert not many(99, 0, 0)
    assert many(1, 99 * BYTES_OF_A_TEXT, 99 * BYTES_OF_A_TEXT)
    assert not many(1, 98 * BYTES_OF_A_TEXT, 98 * BYTES_OF_A_TEXT)
    assert not many(0, 0, 10**9)


def test_a_run_that_gave_many_speaks_for_all_that_bring_as_much() -> None:
    texts = ManyTexts(100)
    texts.gave(99, 10)
    assert not texts.many(1, 0, 10**9)
    texts.gave(100, 800)
    texts.gave(5000, 4000)
    assert texts.many(1, 0, 800)
    assert not texts.many(1, 0, 799)


def test_a_child_is_idle_after_a_while_without_use() -> None:
    demand = Demand(idle_s=300, first_s=10, longest_s=300)
    demand.use(50.0)
    assert demand.idle_in(50.0) == 300
    assert demand.idle_in(340.0) == 10
    demand.use(340.0)
    assert demand.idle_in(350.0) == 290


def test_a_start_that_failed_is_tried_again_later_each_time() -> None:
    demand = Demand(idle_s=300, first_s=10, longest_s=35)
    assert demand.may_start(-math.inf)
    waits = []
    for _ in range(4):
        demand.failed(1000.0)
        waits.append(demand.not_before - 1000.0)
    assert waits == [10, 20, 35, 35]
    assert not demand.may_start(1034.0)
    assert demand.may_start(1035.0)
    demand.started()
    demand.failed(2000.0)
    assert demand.may_start(2010.0)
