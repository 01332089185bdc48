"""The windows of versions: which there are, how many are kept."""

from __future__ import annotations

import pytest

from serving.observe.figures import Key
from serving.observe.history import KEPT, KEPT_TOGETHER, MOST_VERSIONS, History, Span
from tests.unit.tracking_world import counters

SECOND = Span(10.0, 11.0, 1.0)
A: Key = ("a", 1)
B: Key = ("b", 2)


def _close(history: History, counted: dict[Key, int], served: str) -> dict[str, tuple[int, float]]:
    """Model -> number and requests of the window that ends."""
    of = {key: counters(*[0.005] * count) for key, count in counted.items()}
    costs = {key: None for key in (A, B) if key[0] in served}
    windows = history.close(SECOND, of, costs, {"system/x": 3.0})
    assert all((one.start, one.end) == (10.0, 11.0) for one in windows)
    assert all(one.figures["system/x"] == 3.0 for one in windows)
    return {one.model: (one.number, one.figures["requests"]) for one in windows}


@pytest.mark.parametrize(
    "steps",
    [
        # (what is counted, who is served, the windows' numbers and requests)
        [({A: 2}, "a", {"a": (1, 2)}), ({A: 5}, "a", {"a": (2, 3)}), ({A: 5}, "a", {"a": (3, 0)})],
        # Each version by itself, in their order.
        [({B: 1, A: 2}, "ab", {"a": (1, 2), "b": (1, 1)}), ({B: 2, A: 2}, "b", {"b": (2, 1)})],
        # One that isn't served has no window, and what it did then is nobody's.
        [({A: 2}, "", {}), ({A: 5}, "a", {"a": (1, 3)})],
        # One whose counters are gone has none; they go on where they were.
        [({A: 2}, "a", {"a": (1, 2)}), ({}, "a", {}), ({A: 3}, "a", {"a": (2, 1)})],
        # Counters that began anew are taken as they are.
        [({A: 9}, "a", {"a": (1, 9)}), ({A: 4}, "a", {"a": (2, 4)})],
        [({}, "ab", {})],
    ],
)
def test_a_window_is_what_was_counted_since_the_last(
    steps: list[tuple[dict[Key, int], str, dict[str, tuple[int, float]]]],
) -> None:
    history = History()
    for counted, served, expected in steps:
        found = _close(history, counted, served)
        assert found == expected
        assert list(found) == sorted(found)


def test_a_versions_last_windows_are_kept_oldest_first() -> None:
    history = History()
    assert history.windows(A) == ()
    for count in range(KEPT + 3):
        _close(history, {A: count}, "a")
    assert [one.number for one in history.windows(A)] == list(range(4, KEPT + 4))


def test_many_versions_keep_fewer_windows_each() -> None:
    """What is held does not grow with the number of models."""
    history = History()
    keys = [("m", number) for number in range(1, 301)]
    for _ in range(25):
        history.close(SECOND, dict.fromkeys(keys, counters(0.005)), dict.fromkeys(keys), {})
    most = KEPT_TOGETHER // len(keys)
    assert all(
        [w.number for w in history.windows(key)] == list(range(26 - most, 26)) for key in keys
    )


def test_versions_that_changed_longest_ago_are_forgotten() -> None:
    history = History()
    keys = [("m", number) for number in range(1, MOST_VERSIONS + 3)]
    for key in (*keys[:MOST_VERSIONS], keys[0], *keys[MOST_VERSIONS:]):
        history.close(SECOND, {key: counters(0.005)}, {key: None}, {})
    assert [one.number for one in history.windows(keys[0])] == [1, 2]
    assert not any(history.windows(key) for key in keys[1:3])
    assert sum(bool(history.windows(key)) for key in keys) == MOST_VERSIONS


def test_a_window_tells_a_versions_share_where_requests_are_divided() -> None:
    of = {("m", 1): counters(0.005), ("m", 2): counters(0.005)}
    windows = History().close(SECOND, of, dict.fromkeys(of), {}, {("m", 2): 0.05})
    assert [window.figures.get("route_share") for window in windows] == [None, 0.05]
