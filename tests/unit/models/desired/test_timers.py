"""Whose time has come, and who waits to be loaded: as a look at all of them would say."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from serving.models.desired.timers import Timers
from serving.models.desired.waiting import Turn, Waiting
from serving.models.state import Slot, SlotKey
from serving.registry.folder_origin import FolderOrigin

NAMES = st.sampled_from("abcdef")
NEVER = float("inf")
# How often each version of a model gave way, and its number.
_TURNS = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 9)), max_size=4)


@given(
    st.lists(
        st.tuples(NAMES, st.one_of(st.integers(0, 20), st.just(NEVER)), st.booleans()), max_size=12
    )
)
@settings(max_examples=40)
def test_each_name_comes_once_at_its_last_time(steps: list[tuple[str, float, bool]]) -> None:
    timers, times = Timers(), dict[str, float]()
    for now, (name, at, take) in enumerate(steps):
        timers.put(name, at)
        times[name] = at
        if take:
            due = {one for one, time in times.items() if time <= now}
            assert set(timers.take(now)) == due
            times = {one: time for one, time in times.items() if one not in due}
        assert timers.next() == min(times.values(), default=NEVER)


def test_times_that_are_put_off_again_and_again_are_not_kept() -> None:
    timers = Timers({"a": 0.0})
    for at in range(10_000):
        timers.put("a", float(at))
    assert len(timers._heap) < 100
    assert timers.take(1e9) == ["a"]


@given(st.lists(st.tuples(NAMES, _TURNS), max_size=8))
@settings(max_examples=40)
def test_the_heads_of_both_lines_are_those_of_all_turns_in_order(
    steps: list[tuple[str, list[tuple[int, int]]]],
) -> None:
    waiting, turns = Waiting(), dict[str, dict[Turn, Slot]]()
    for model, wanted in steps:
        turns[model] = {
            (False, gave, False, 0, 0, -v, model): _slot(model, v) for gave, v in wanted
        }
        waiting.put(model, turns[model])
    everything = sorted(turn for mine in turns.values() for turn in mine)
    quick = [turn for turn in everything if not turn[1]]
    slow = [turn for turn in everything if turn[1]]
    expected = [turns[turn[-1]][turn] for turn in sorted(quick[:3] + slow[:3])]
    assert waiting.first(3) == expected


def test_who_has_its_place_stands_in_the_line_no_more() -> None:
    waiting, first, second = Waiting(), _slot("a", 1), _slot("a", 2)
    waiting.put("a", {(False, 0, False, at, 0, 0, "a"): s for at, s in ((0, first), (1, second))})
    waiting.take("a", first)
    assert waiting.first(3) == [second]
    waiting.take("a", second)
    assert waiting.first(3) == []
    waiting.put("a", {})


def _slot(model: str, version: int) -> Slot:
    return Slot(version, SlotKey(model, version, "f", "c"), FolderOrigin(Path(model)), 0.0)
