"""The zoo is what it says: answers move in the one half, and none does in the other."""

from __future__ import annotations

import pytest

from . import harness
from .build import Entry
from .coupled_zoo import COUPLED
from .independent_zoo import INDEPENDENT


def named(entries: list[Entry]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("entry", entries, ids=[one.name for one in entries])


def test_every_name_stands_for_one_model() -> None:
    names = [one.name for one in COUPLED + INDEPENDENT]
    assert len(set(names)) == len(names)
    assert len(COUPLED) >= 90
    assert len({one.kind for one in COUPLED}) == 10
    assert len(INDEPENDENT) >= 60


@named([one for one in COUPLED if not one.random])
def test_a_neighbour_moves_the_answer(entry: Entry) -> None:
    assert harness.moves_in_some_order(entry.bytes(), entry.a, entry.b)


@named([one for one in COUPLED if one.random])
def test_a_random_answer_comes_in_the_rows_own_shape(entry: Entry) -> None:
    model = entry.bytes()
    for caller in (entry.a, entry.b):
        for answer in harness.run(model, caller).values():
            assert len(answer) == harness.rows_of(caller)


@named(INDEPENDENT)
def test_no_neighbour_moves_the_answer(entry: Entry) -> None:
    model = entry.bytes()
    harness.run(model, entry.a)  # Refused alone says nothing: it must be answered.
    harness.run(model, entry.b)
    assert harness.moves_in_some_order(model, entry.a, entry.b) == ""
    assert harness.moved(model, harness.with_outliers(entry.a, entry.b)) == ""
