"""Windows of one version roll up: minutes into hours, hours into days."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.observe.statistics.damaged import DamagedError
from serving.observe.statistics.rollup import Span
from serving.observe.statistics.series import Series
from tests.unit.observe.statistics.world import LENGTHS, NOON, features, series

MINUTE, HOUR, DAY = Span.MINUTE, Span.HOUR, Span.DAY


def add(one: Series, now: float, *values: float, closed: list[Any] | None = None) -> None:
    found = one.close_due(now)
    if closed is not None:
        closed += found
    column = np.array(values, np.float64)
    one.add([({"x": column}, len(column))], [], 1, now)


def rows(one: Series, span: Span | None, at: float | None = None) -> int | None:
    found = one.message(span, at)
    return None if found is None else int(found[0].datasets[0].num_examples)


def test_a_window_is_live_until_it_is_over() -> None:
    one = series()
    add(one, NOON + 3, 1.0, 2.0)
    assert (rows(one, None), rows(one, MINUTE), rows(one, HOUR)) == (2, None, None)
    assert one.close_due(NOON + 59.9) == []
    (closed,) = one.close_due(NOON + 60)
    assert (closed.span, closed.start, closed.end, closed.samples) == (MINUTE, NOON, NOON + 60, 1)
    assert one.live is None
    assert (rows(one, None), rows(one, MINUTE), rows(one, HOUR), rows(one, DAY)) == (2, 2, 2, 2)
    assert one.close_due(NOON + 120) == []


def test_an_hour_is_asked_for_while_it_goes_on_and_by_a_moment_of_it() -> None:
    one, closed = series(), list[Any]()
    add(one, NOON, 1.0, closed=closed)
    add(one, NOON + 1800, 2.0, closed=closed)
    add(one, NOON + 3600, 3.0, 4.0, 5.0, closed=closed)
    add(one, NOON + 3700, 6.0, closed=closed)
    assert [one.span for one in closed] == [MINUTE, MINUTE, HOUR, MINUTE]
    assert rows(one, HOUR) == 3
    assert rows(one, HOUR, NOON + 77) == 2
    assert rows(one, HOUR, NOON + 3601) == 3
    assert rows(one, MINUTE, NOON + 1810) == 1
    assert rows(one, DAY) == 5
    assert rows(one, DAY, NOON - 86400) is None


def test_no_more_windows_are_kept_than_may_be() -> None:
    one = series()
    for number in range(200):
        add(one, NOON + 1800 * number, 1.0)
    kept = {span: len(one.closed(span)) for span in Span}
    assert kept == LENGTHS.keep


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4000), st.integers(-50, 50)), min_size=1, max_size=40))
def test_each_value_is_counted_once_whatever_windows_it_goes_through(
    steps: list[tuple[int, int]],
) -> None:
    one, now, closed = series(), NOON, list[Any]()
    for wait, value in steps:
        now += wait
        add(one, now, float(value), closed=closed)
    closed += one.close_due(now + 3 * 86400)
    for span in (MINUTE, HOUR, DAY):
        found = [part.message() for part in closed if part.span is span]
        numbers = [features(message)["x"].num_stats for message in found]
        values = [value for _, value in steps]
        assert sum(message.datasets[0].num_examples for message in found) == len(values)
        assert (min(n.min for n in numbers), max(n.max for n in numbers)) == (
            min(values),
            max(values),
        )
        assert sum(n.num_zeros for n in numbers) == values.count(0)
        assert sum(part.samples for part in closed if part.span is span) == len(values)


def test_what_is_kept_outlives_the_process() -> None:
    one = series()
    for number in range(5):
        add(one, NOON + 1000 * number, float(number))
    one.close_live()
    after = series()
    after.take(json.loads(json.dumps(one.to_json())))
    for span in Span:
        assert after.closed(span) == one.closed(span)
        assert after.message(span, None) == one.message(span, None)
    add(after, NOON + 5000, 9.0)
    assert rows(after, DAY) == 5
    assert rows(after, None) == 1


@pytest.mark.parametrize(
    "given_",
    [
        None,
        {},
        {"closed": [], "open": 1},
        {"closed": [["minute", 0, 1, 1, "!"]], "open": {}},
        {"closed": [["year", 0, 1, 1, ""]], "open": {}},
        {"closed": [], "open": {"hour": {"start": 0, "samples": 1, "inputs": "", "outputs": ""}}},
    ],
)
def test_what_is_damaged_is_refused_and_changes_nothing(given_: object) -> None:
    one = series()
    with pytest.raises(DamagedError):
        one.take(given_)
    assert one.nbytes == 0


def test_what_unpacks_to_gigabytes_is_refused() -> None:
    import base64
    import zlib

    bomb = base64.b64encode(zlib.compress(bytes(64 << 20), 9)).decode()
    kept = {"start": 0, "samples": 1, "inputs": bomb, "outputs": bomb}
    with pytest.raises(DamagedError):
        series().take({"closed": [], "open": {"hour": kept}})


def test_a_feature_of_another_type_than_before_begins_the_hour_anew() -> None:
    one = series()
    add(one, NOON, 1.0)
    one.close_due(NOON + 60)
    texts = np.array(["a", "b"], object)
    one.add([({"x": texts}, 2)], [], 1, NOON + 61)
    closed = one.close_due(NOON + 120)
    assert [part.span for part in closed] == [HOUR, MINUTE]
    for span in (HOUR, DAY):
        found = one.message(span, None)
        assert found is not None
        assert features(found[0])["x"].WhichOneof("stats") == "string_stats"


def test_a_window_of_anything_stays_within_its_bound() -> None:
    one, generator = series(), np.random.default_rng(1)
    for _ in range(3):
        texts = generator.integers(0, 10**6, (2000, 8)).astype(str).astype(object) + "x" * 300
        numbers = generator.choice([np.nan, 1e308, -1e308, np.inf, 0.0, 1.0], (2000, 300))
        columns = {f"t{at}": texts[:, at] for at in range(8)}
        columns |= {f"n{at}": numbers[:, at] for at in range(300)}
        one.add([(columns, 2000)], [(columns, 2000)], 1, NOON)
        assert one.nbytes <= 1 << 20
    (closed,) = one.close_due(NOON + 60)
    assert closed.nbytes <= 1 << 20
    found = features(closed.message())
    assert len(found) == 256
    assert closed.message().datasets[0].num_examples == 6000
