"""The state machine of a slot."""

from __future__ import annotations

from itertools import pairwise, product
from pathlib import Path

import pytest

from serving.models.state import TRANSITIONS, Slot, SlotKey, State, TransitionError
from serving.registry.folder_origin import FolderOrigin

LIFE = (State.NEW, State.LOADING, State.WARMING, State.READY, State.DRAINING, State.GONE)
ALLOWED = (
    set(pairwise(LIFE))
    | {(state, State.FAILED) for state in LIFE if state is not State.GONE}
    | {(State.FAILED, State.LOADING), (State.FAILED, State.GONE)}
    # A load gave way to others.
    | {(State.LOADING, State.NEW), (State.WARMING, State.NEW)}
)


def slot(state: State) -> Slot:
    return Slot(
        1, SlotKey("m", 1, "files", "config"), FolderOrigin(Path("m/1")), since=0.0, state=state
    )


@pytest.mark.parametrize(("was", "to"), sorted(ALLOWED))
def test_every_move_of_the_design_is_allowed(was: State, to: State) -> None:
    moving = slot(was)
    moving.move(to, now=7.0, reason="because")
    assert (moving.state, moving.since, moving.reason) == (to, 7.0, "because")


@pytest.mark.parametrize(("was", "to"), sorted(set(product(State, State)) - ALLOWED))
def test_every_other_move_is_a_loud_bug_and_changes_nothing(was: State, to: State) -> None:
    facts = slot(was)
    with pytest.raises(TransitionError, match=f"m/1: {was} -> {to}"):
        facts.move(to, now=7.0)
    assert (facts.state, facts.since) == (was, 0.0)


def test_the_table_names_every_state() -> None:
    assert set(TRANSITIONS) == set(State)


def test_nothing_leaves_gone_and_every_other_state_leads_to_it() -> None:
    assert not TRANSITIONS[State.GONE]
    reaches = {State.GONE}
    for _ in State:
        reaches |= {state for state, to in TRANSITIONS.items() if to & reaches}
    assert reaches == set(State)


@pytest.mark.parametrize("state", State)
def test_a_slot_leaves_once_it_is_draining_gone_or_cancelled(state: State) -> None:
    assert slot(state).leaving == (state in (State.DRAINING, State.GONE))
    cancelled = slot(state)
    cancelled.cancelled = True
    assert cancelled.leaving
