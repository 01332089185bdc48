"""Who answers, and a model's place in the route table, as functions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.models.actual.routes import route_of
from serving.models.state import State
from serving.models.views import UnloadedVersion, VersionView
from serving.registry.folder_origin import FolderOrigin
from serving.rollout.plan import Aliases, Plan, Standing, decide

NONE: frozenset[int] = frozenset()


def version(number: int, state: State, reason: str = "") -> VersionView:
    queue: Any = f"queue {number}" if state in (State.READY, State.DRAINING) else None
    return VersionView(
        number=number,
        state=state,
        origin=FolderOrigin(Path("m") / str(number)),
        reason=reason,
        queue=queue,
    )


# (pinned, ready, chosen, who answered before) -> who answers
@pytest.mark.parametrize(
    ("pinned", "ready", "chosen", "before", "answers"),
    [
        (None, {2, 9, 10}, {2, 9, 10}, 9, 10),
        (None, {9, 10}, {9}, 10, 9),
        (None, {9, 10}, set(), 9, 9),
        (None, {9, 10}, {11}, None, 10),
        (None, set(), {11}, 9, None),
        (9, {9, 10}, {9, 10}, 10, 9),
        (8, {9, 10}, {8, 9, 10}, 9, 9),
        (8, {9, 10}, {8, 10}, 7, 10),
        (8, {9}, {8}, None, 9),
        (8, set(), {8}, 8, None),
    ],
)
def test_the_pinned_version_answers_else_the_newest_chosen_else_who_did(
    pinned: int | None,
    ready: set[int],
    chosen: set[int],
    before: int | None,
    answers: int | None,
) -> None:
    standing = Standing(there=frozenset(chosen), ready=frozenset(ready))
    assert decide(standing, NONE, frozenset(chosen), pinned, before).default == answers


# (held back, pinned, ready, chosen, who answered before, on its way) -> who answers
@pytest.mark.parametrize(
    ("held", "pinned", "ready", "chosen", "before", "coming", "answers"),
    [
        ({10}, None, {9, 10}, {9, 10}, 9, set(), 9),
        ({10}, None, {8, 9, 10}, {8, 9, 10}, 8, set(), 9),
        # Off the disk.
        ({10}, None, {9, 10}, {10}, 9, set(), 9),
        # At a restart.
        ({10}, None, {10}, {9, 10}, 9, {9}, None),
        ({10}, None, {10}, {9, 10}, 9, set(), 10),
        # Its own new configuration.
        ({10}, None, {10}, {10}, 10, {10}, 10),
        ({9, 10}, None, {9, 10}, {9, 10}, 8, set(), 10),
        ({9}, 9, {9, 10}, {9, 10}, 10, set(), 9),
        ({10}, 9, {10}, {9, 10}, 10, {9}, 10),
    ],
)
def test_one_that_is_held_back_answers_where_nothing_else_can(
    held: set[int],
    pinned: int | None,
    ready: set[int],
    chosen: set[int],
    before: int | None,
    coming: set[int],
    answers: int | None,
) -> None:
    standing = Standing(frozenset(chosen), frozenset(coming), frozenset(ready))
    made = decide(standing, frozenset(held), frozenset(chosen), pinned, before)
    assert made.default == answers


@pytest.mark.parametrize(("answering", "answers"), [(None, None), (10, 10), (9, None)])
def test_one_that_is_held_back_goes_on_while_another_comes(
    answering: int | None, answers: int | None
) -> None:
    both, held = frozenset({9, 10}), frozenset({10})
    standing = Standing(both, coming=frozenset({9}), ready=held, answering=answering)
    assert decide(standing, held, both, None, None).default == answers


# (held back, pinned, ready, wanted) -> whether version 1, which answered last, is kept
@pytest.mark.parametrize(
    ("held", "pinned", "ready", "wanted", "keeps"),
    [
        (set(), None, {1}, {2}, False),
        ({2}, None, {1, 2}, {2}, True),
        ({2}, None, {1, 3}, {3}, False),
        (set(), 2, {1}, {2, 3}, True),
        (set(), 2, {1, 2}, {2, 3}, False),
        ({3}, 2, {1, 2, 3}, {2, 3}, True),
    ],
)
def test_who_answered_is_kept_until_what_is_wanted_may_take_over(
    held: set[int], pinned: int | None, ready: set[int], wanted: set[int], keeps: bool
) -> None:
    standing = Standing(there=frozenset({1, 2, 3}), ready=frozenset(ready))
    for previous, kept in ((1, frozenset({1}) if keeps else NONE), (None, NONE)):
        made = decide(standing, frozenset(held), frozenset(wanted), pinned, previous)
        assert made.keep == kept


def test_what_is_kept_is_chosen_from_like_all_that_is_wanted() -> None:
    everything = frozenset({1, 2, 3})
    standing = Standing(there=everything, ready=everything)
    assert decide(standing, frozenset({3}), frozenset({1, 3}), None, 2) == Plan(2, frozenset({2}))


# (ready, wanted, now) -> (which version answers to the alias, what stays loaded)
@pytest.mark.parametrize(
    ("ready", "wanted", "now", "answers", "named"),
    [
        ({1}, 1, None, 1, {1}),
        (set(), 1, None, 1, {1}),
        ({1, 2}, 2, 1, 2, {2}),
        ({1}, 2, 1, 1, {1, 2}),
        (set(), 2, 1, 2, {2}),
    ],
)
def test_an_alias_moves_once_its_new_version_is_ready(
    ready: set[int], wanted: int, now: int | None, answers: int, named: set[int]
) -> None:
    standing = Standing(there=frozenset({1, 2}), ready=frozenset(ready))
    aliases = Aliases({"a": wanted}, {"a": now} if now else {})
    made = decide(standing, NONE, NONE, None, None, aliases)
    assert (made.aliases, made.named) == ({"a": answers}, named)


# (ready, wanted, pinned, who answers now) -> who answers; 9 has an alias, 1 is off the disk
@pytest.mark.parametrize(
    ("ready", "wanted", "pinned", "answering", "answers"),
    [
        ({2, 9}, {2}, None, None, 2),
        ({1, 9}, {2}, None, None, 1),
        # Until 2 is ready, also past a pin.
        ({9}, {2}, None, None, None),
        ({9}, {2}, 2, None, None),
        ({9}, {2}, None, 9, 9),
        ({9}, {2, 9}, None, None, 9),
        # There is no other.
        ({9}, {3}, None, None, 9),
        ({9}, set(), None, None, 9),
    ],
)
def test_what_is_there_for_its_alias_answers_only_where_nothing_else_could(
    ready: set[int],
    wanted: set[int],
    pinned: int | None,
    answering: int | None,
    answers: int | None,
) -> None:
    standing = Standing(frozenset({2, 9}), NONE, frozenset(ready), answering)
    made = decide(standing, NONE, frozenset(wanted), pinned, 1, Aliases({"a": 9}))
    assert made.default == answers


SOME = st.frozensets(st.integers(1, 5))
ONE = st.none() | st.integers(1, 5)


@given(
    there=SOME,
    coming=SOME,
    ready=SOME,
    held=SOME,
    wanted=SOME,
    pinned=ONE,
    previous=ONE,
    answering=ONE,
    named=ONE,
)
def test_whoever_answers_is_ready_and_nobody_does_only_while_something_is_awaited(
    there: frozenset[int],
    coming: frozenset[int],
    ready: frozenset[int],
    held: frozenset[int],
    wanted: frozenset[int],
    pinned: int | None,
    previous: int | None,
    answering: int | None,
    named: int | None,
) -> None:
    aliases = Aliases({"a": named} if named else {})
    standing = Standing(there, coming, ready, answering)
    made = decide(standing, held, wanted, pinned, previous, aliases)
    assert made.keep <= {previous}
    chosen = wanted | made.keep
    if there & chosen:
        # What is there for its alias only is as good as not there.
        ready -= made.named - chosen - {answering}
    if pinned in ready:
        assert made.default == pinned
    elif made.default is None:
        assert not ready or (ready <= held and coming - held)
        assert answering not in ready, "an answer once given goes on"
    else:
        assert made.default in ready
        assert made.default not in held or ready <= held or pinned is not None


def test_only_a_version_that_answers_is_a_default() -> None:
    versions = (version(10, State.READY), version(11, State.LOADING))
    assert route_of(versions, 10, "").default == 10
    for default in (11, 12, None):
        made = route_of(versions, default, "version 11 is loading")
        assert (made.default, made.reason) == (None, "version 11 is loading")


def test_a_version_held_back_is_reached_by_number_and_the_default_only_where_it_was_chosen() -> (
    None
):
    held = replace(version(2, State.READY), held_back=True)
    for first, default in ((State.READY, 1), (State.LOADING, None), (State.FAILED, 2)):
        made = route_of((version(1, first), held), default, "")
        assert made.default == default
        assert made.queues[2] == "queue 2"


def test_without_a_ready_version_there_is_no_default_but_a_reason() -> None:
    made = route_of((version(1, State.LOADING),), None, "version 1 is loading")
    assert made.default is None
    assert made.reason == "version 1 is loading"
    assert route_of((), None, "").reason == "no version of it is ready"


def test_with_a_default_there_is_no_reason_why_not() -> None:
    made = route_of((version(1, State.READY),), 1, "its configuration is wrong")
    assert made.reason is None


def test_what_is_only_on_disk_is_told_by_its_reason() -> None:
    rest = [UnloadedVersion(1, "a"), UnloadedVersion(2, "b"), UnloadedVersion(3, "a")]
    assert route_of((), None, "", rest).unloaded == (("a", [1, 3]), ("b", [2]))


@pytest.mark.parametrize(
    "state", [State.NEW, State.LOADING, State.WARMING, State.FAILED, State.DRAINING]
)
def test_a_known_version_that_is_not_ready_is_unavailable_and_never_unknown(state: State) -> None:
    """Fault table A: UNAVAILABLE, never NOT_FOUND."""
    made = route_of((version(1, State.READY), version(2, state, "because")), None, "")
    assert dict(made.queues) == {1: "queue 1"}
    assert list(made.unavailable) == [2]
    assert made.unavailable[2].endswith(": because")


def test_a_gone_version_is_in_no_part_of_the_route() -> None:
    made = route_of((version(1, State.READY), version(2, State.GONE)), None, "")
    assert dict(made.queues) == {1: "queue 1"}
    assert not made.unavailable


def test_a_ready_version_without_a_queue_never_gets_a_request() -> None:
    broken = replace(version(1, State.READY), queue=None)
    made = route_of((broken,), 1, "")
    assert not made.queues
    assert made.default is None
    assert list(made.unavailable) == [1]
