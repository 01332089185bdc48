"""A promotion as MLflow's registry is to show it: what is done for that, and what is left alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.models.views import ModelView, Route
from serving.rollout.canary import Phase, Rollout
from serving.rollout.route import Split
from serving.write_back.promotion import (
    MOST_EXPECTED,
    Outcome,
    Promotion,
    alias_step,
    promoted,
    routed,
    tags_step,
)

ROLLOUT = Rollout("m", 3, 2, phase=Phase.PROMOTED, changed=5.0)


def view(pinned: int | None = None, **weights: int) -> ModelView:
    split = Split({int(version[1:]): weight for version, weight in weights.items()})
    return ModelView("m", (), pinned=pinned, split=split)


class Registry:
    """What the alias names there; each promotion is written until nothing is left to do."""

    def __init__(self, named: int | None) -> None:
        self.named = named
        self.outcomes: list[Outcome] = []

    def write(self, promotion: Promotion, *, cut: bool = False) -> Promotion:
        """``cut``: it is done, and the gateway doesn't hear of it."""
        assert promotion.alias is not None
        if promotion.alias.done:
            return promotion
        step = alias_step(promotion, promotion.alias, self.named)
        if step.outcome is Outcome.WRITTEN:
            self.named = step.to
        if cut:
            return step.begun or promotion
        self.outcomes.append(step.outcome)
        return step.after


def begun(named: int | None = 2, before: Promotion | None = None) -> Promotion:
    return promoted(ROLLOUT, "champion", {}, named, before)


def stood(promotion: Promotion) -> Promotion:
    return routed(promotion, view(v3=100))


@pytest.mark.parametrize("named", [2, None, 9])
def test_a_promotion_moves_the_alias_and_a_rollback_sets_it_back(named: int | None) -> None:
    registry = Registry(named)
    one = stood(registry.write(begun(named)))
    assert registry.named == 3
    one = registry.write(routed(one, view(pinned=2)))
    assert registry.named == named
    # In force again: the pin was taken away.
    one = registry.write(routed(one, view(v3=100)))
    assert registry.named == 3
    assert registry.outcomes == [Outcome.WRITTEN] * 3
    assert not one.waits


def test_one_that_somebody_moved_meanwhile_stays() -> None:
    registry = Registry(5)
    one = stood(registry.write(begun(2)))
    assert (registry.named, registry.outcomes) == (5, [Outcome.LEFT_ALONE])
    assert one.said == "alias 'champion' names version 5 by now: somebody moved it, and it stays"
    # And what was not moved is not set back.
    registry.named = 3
    registry.write(routed(one, view(pinned=2)))
    assert registry.named == 3


def test_one_that_was_moved_after_the_promotion_is_not_set_back() -> None:
    registry = Registry(2)
    one = stood(registry.write(begun(2)))
    registry.named = 5
    one = registry.write(routed(one, view(pinned=2)))
    assert (registry.named, registry.outcomes[-1]) == (5, Outcome.LEFT_ALONE)


def test_one_that_names_the_version_already_is_somebody_elses() -> None:
    """Whoever follows an alias promotes what it was moved to."""
    registry = Registry(3)
    one = stood(registry.write(begun(3)))
    registry.write(routed(one, view(pinned=2)))
    assert (registry.named, registry.outcomes) == (3, [Outcome.UNCHANGED] * 2)


@pytest.mark.parametrize("named", [2, None])
def test_a_move_whose_answer_was_lost_is_known_as_ours(named: int | None) -> None:
    registry = Registry(named)
    one = registry.write(begun(named), cut=True)
    assert registry.named == 3
    one = stood(registry.write(one))
    assert registry.outcomes == [Outcome.UNCHANGED]
    registry.write(routed(one, view(pinned=2)))
    assert registry.named == named


def test_what_was_taken_back_before_it_could_be_written_is_never_written() -> None:
    registry = Registry(2)
    one = routed(stood(begun(2)), view(pinned=2))
    one = registry.write(one)
    assert (registry.named, one.waits) == (2, False)


def test_the_next_promotion_knows_what_the_one_before_has_written_and_not_looked_at() -> None:
    registry = Registry(2)
    first = registry.write(begun(2))
    next_one = replace(ROLLOUT, candidate=4, base=3)
    second = promoted(next_one, "champion", {}, 2, first)
    registry.write(second)
    assert registry.named == 4
    # Of one that was cut off, either may be.
    for cut in (True, False):
        registry = Registry(2)
        first = registry.write(begun(2), cut=True) if cut else begun(2)
        registry.write(promoted(next_one, "champion", {}, 2, first))
        assert registry.named == 4


def test_what_an_alias_may_name_is_bounded() -> None:
    one = begun(2)
    for number in range(4, 60):
        one = promoted(replace(ROLLOUT, candidate=number), "champion", {}, 2, one)
    assert one.alias is not None
    assert len(one.alias.expect) == MOST_EXPECTED


@pytest.mark.parametrize(
    ("route", "stands"),
    [
        (view(), True),
        (view(v2=75, v3=25), True),
        (view(v3=100), True),
        (view(pinned=3), True),
        (view(v4=100), True),  # a newer one is no rollback
        (view(pinned=4), True),
        (view(pinned=2), False),
        (view(pinned=1), False),
        (view(v2=100), False),
        (view(v2=100, v3=0), False),
    ],
)
def test_what_takes_a_promotion_back(route: ModelView, stands: bool) -> None:
    assert routed(stood(begun()), route).stands is stands


def test_weights_from_before_the_promotion_take_nothing_back() -> None:
    one = routed(begun(), view(v2=100, v3=0))
    assert one.stands
    assert not routed(one, view(pinned=2)).stands


def test_a_promotion_whose_route_is_not_divided_is_taken_back_by_weights_too() -> None:
    """It answers as the newest: nothing was divided before its rollout, and nothing is after it."""
    undivided = ModelView("m", (), route=Route(default=3))
    one = routed(routed(begun(), view(v2=100, v3=0)), undivided)
    assert one.stands
    back = routed(one, view(v2=100))
    assert not back.stands
    # While the promoted version is loaded anew another one answers, which says nothing.
    assert not routed(back, ModelView("m", (), route=Route(default=2))).stands
    assert routed(back, undivided).stands
    assert routed(routed(one, view(pinned=2)), undivided).stands
    assert routed(one, ModelView("m", (), route=Route(default=2))).stands


def tagged(found: dict[str, str], promotion: Promotion) -> tuple[Promotion, Outcome]:
    assert promotion.tags is not None
    step = tags_step(promotion, promotion.tags, found)
    for key, value in step.changes.items():
        if value is None:
            del found[key]
        else:
            found[key] = value
    return step.after, step.outcome


def test_tags_are_set_and_set_back_but_for_those_that_somebody_set_since() -> None:
    found = {"stage": "staging", "owner": "a"}
    one = promoted(ROLLOUT, "", {"stage": "production", "since": "today", "by": "us"}, None, None)
    one, outcome = tagged(found, one)
    assert found == {"stage": "production", "owner": "a", "since": "today", "by": "us"}
    assert outcome is Outcome.WRITTEN
    found["by"] = "them"
    one, outcome = tagged(found, routed(stood(one), view(pinned=2)))
    assert found == {"stage": "staging", "owner": "a", "by": "them"}
    assert (outcome, one.waits) == (Outcome.LEFT_ALONE, False)


def test_tags_that_somebody_set_while_it_was_taken_back_stay() -> None:
    found = {"stage": "staging"}
    one = promoted(ROLLOUT, "", {"stage": "production", "by": "us"}, None, None)
    one, _ = tagged(found, one)
    one, _ = tagged(found, routed(stood(one), view(pinned=2)))
    assert found == {"stage": "staging"}
    found["stage"] = "archived"
    # In force again: the pin was taken away.
    one, outcome = tagged(found, routed(one, view(v3=100)))
    assert found == {"stage": "archived", "by": "us"}
    assert outcome is Outcome.LEFT_ALONE
    tagged(found, routed(one, view(pinned=2)))
    assert found == {"stage": "archived"}


def test_tags_of_a_try_that_was_cut_off_are_remembered_as_they_were() -> None:
    one = promoted(ROLLOUT, "", {"a": "1", "b": "1"}, None, None)
    assert one.tags is not None
    begun_ = tags_step(one, one.tags, {"a": "0"}).begun
    assert begun_.tags is not None
    after, _ = tagged({"a": "1"}, begun_)
    found = {"a": "1", "b": "1"}
    tagged(found, routed(stood(after), view(pinned=2)))
    assert found == {"a": "0"}


@given(
    st.lists(st.sampled_from(["back", "again", "write", "cut", "other", "restart"]), max_size=12)
)
def test_what_nobody_else_moved_ends_as_the_route_has_it(doings: list[str]) -> None:
    """Whatever order things come in; what somebody else set last is never overwritten once it was
    seen to be theirs, nor is what was not ours set back."""
    registry, one, others = Registry(2), stood(begun(2)), False
    for doing in doings:
        if doing == "back":
            one = routed(one, view(pinned=2))
        elif doing == "again":
            one = routed(one, view(v3=100))
        elif doing in ("write", "cut"):
            one = registry.write(one, cut=doing == "cut")
        elif doing == "other":
            registry.named, others = 7, True
    one = registry.write(one)
    assert not one.waits
    if others:
        assert registry.named == 7
    else:
        assert registry.named == (3 if one.stands else 2)
