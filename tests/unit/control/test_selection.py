"""Which models a list is asked for: names, states, pages."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from serving.control.selection import Selection, model_states, select
from serving.models.model_state import ModelState
from serving.models.reasons import Absence
from serving.models.state import State
from serving.models.views import ModelView
from tests.unit.protocol_views import failed, model, version

NEWER_FAILED = model("newer-failed", version(1), failed(2, "bad"))
RELOADING = model("reloading", version(1), version(2, state=State.LOADING))
FIRST = model("first", version(1, state=State.NEW))
BROKEN = model("broken", failed(1, "bad"))
ODD = model("odd", reason="'v1' is no version's name: rename it to 1")
OUT = replace(model("out", reason="unloaded by command"), held_out=True)
ASLEEP = replace(model("asleep", reason=Absence.NOBODY_ASKED.value), absence=Absence.NOBODY_ASKED)
GOING = model("going", version(1, state=State.DRAINING))
FINE = model("fine", version(1))
ALL = sorted(
    (NEWER_FAILED, RELOADING, FIRST, BROKEN, ODD, OUT, ASLEEP, GOING, FINE), key=lambda v: v.name
)


class Counted(Sequence[ModelView]):
    """Counts who is looked at."""

    def __init__(self, views: Sequence[ModelView]) -> None:
        self.views, self.looks = views, 0

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, at: Any) -> Any:
        self.looks += 1
        return self.views[at]


def names(views: Sequence[ModelView], **asked: Any) -> list[str]:
    return [view.name for view in select(views, Selection(**asked)).models]


@pytest.mark.parametrize(
    ("view", "words"),
    [
        (NEWER_FAILED, "ready failed"),
        (RELOADING, "ready loading"),
        (FIRST, "loading"),
        (BROKEN, "failed"),
        (ODD, "failed"),
        (OUT, "unloaded"),
        (ASLEEP, "unloaded"),
        (GOING, "unloaded"),
        (FINE, "ready"),
    ],
    ids=lambda one: getattr(one, "name", None),
)
def test_what_is_true_of_a_model_as_a_whole(view: ModelView, words: str) -> None:
    assert " ".join(model_states(view)) == words


@pytest.mark.parametrize("state", ModelState)
def test_a_state_lets_pass_whom_it_is_true_of(state: ModelState) -> None:
    passed = names(ALL, states=[state])
    assert passed == [view.name for view in ALL if state in model_states(view)]
    assert passed


def test_of_several_states_or_names_one_has_to_hold() -> None:
    both = [ModelState.LOADING, ModelState.FAILED]
    assert names(ALL, states=both) == ["broken", "first", "newer-failed", "odd", "reloading"]
    assert names(ALL, names=["f*", "o?d", "going"]) == ["fine", "first", "going", "odd"]
    assert names(ALL, names=["f*"], states=[ModelState.READY]) == ["fine"]


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("fine", True),
        ("fin", False),
        ("ine", False),
        ("fi*", True),
        ("*ne", True),
        ("f[h-j]ne", True),
        ("FINE", False),
        ("fine\n", False),
        ("[", False),
        ("", False),
    ],
)
def test_a_name_is_all_of_it_and_a_pattern_is_a_shells(pattern: str, matches: bool) -> None:
    assert bool(names(ALL, names=[pattern])) == matches


def test_a_pattern_that_is_meant_to_take_long_does_not() -> None:
    """A hundred stars, and a name that fails at the end: exponential, tried naively."""
    views = [model("a" * 254 + "b", version(1))]
    assert names(views, names=["*a" * 100 + "c"]) == []


def test_pages_have_every_model_once_while_others_come_and_go() -> None:
    dice = random.Random(7)
    stay = {f"m{dice.randrange(10**6):06d}" for _ in range(60)}
    for limit in (1, 7, 50, 300):
        met: list[str] = []
        after = ""
        while True:
            others = {f"m{dice.randrange(10**6):06d}" for _ in range(40)}
            views = [model(name, version(1)) for name in sorted(stay | others)]
            page = select(views, Selection(after=after, limit=limit))
            met += [view.name for view in page.models]
            assert len(page.models) <= limit
            if page.next is None:
                break
            assert page.next == met[-1]
            after = page.next
        assert met == sorted(set(met))
        assert stay <= set(met)


def test_the_last_page_says_so_also_where_it_is_full_or_its_beginning_is_gone() -> None:
    views = [model(name, version(1)) for name in "abcd"]
    assert select(views, Selection(limit=4)).next is None
    assert select(views, Selection(limit=3)).next == "c"
    assert names(views, after="bb", limit=3) == ["c", "d"]
    assert select(views, Selection(after="d", limit=1)).models == []
    assert select(views, Selection()).next is None


def test_a_page_costs_what_is_on_it() -> None:
    looks = []
    for count in (100, 1000):
        views = Counted([model(f"m{at:04d}", version(1)) for at in range(count)])
        select(views, Selection(after="m0050", limit=10))
        looks.append(views.looks)
    assert looks[0] <= 20
    # Where it begins is found by halving.
    assert looks[1] <= looks[0] + 4
