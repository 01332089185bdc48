"""How far two versions' outputs are apart, and what is made of it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.rollout.canary import Phase, Rollout
from serving.rollout.documents import document, from_document
from serving.rollout.drift import (
    NO_DRIFT,
    begun_anew,
    class_distance,
    compared,
    drifted,
    score_distance,
    too_few,
)
from serving.rollout.evidence import NO_EVIDENCE, after, in_next_step
from serving.rollout.figures import Answers, Spread, Window
from serving.rollout.judge import Decision, Progress, judge
from serving.rollout.rules import Rules

RULES = Rules(drift_classes=0.1, drift_scores=0.1)
RISK = 0.001
DONE = Progress(600.0, 1000, 600.0, 50, is_last=False)


def spread(*counts: int, each: int = 1) -> Spread:
    """Of answers with ``each`` observations."""
    return Spread(counts, sum(counts) * each)


def window(canary: tuple[int, ...], base: tuple[int, ...], *, each: int = 1) -> Window:
    of_canary, of_base = spread(*canary, each=each), spread(*base, each=each)
    return Window(
        Answers(sum(canary), classes=of_canary, scores=of_canary),
        Answers(sum(base), classes=of_base, scores=of_base),
    )


@pytest.mark.parametrize(
    ("canary", "base", "classes", "scores"),
    [
        ((1, 1), (5, 5), 0.0, 0.0),
        ((1, 0), (0, 7), 1.0, 1.0),
        ((3, 1), (1, 3), 0.5, 0.5),
        # Many small differences in one direction are one large of the cumulative distribution.
        ((4, 4, 1, 1), (1, 1, 4, 4), 0.3, 0.6),
        ((4, 1, 4, 1), (1, 4, 1, 4), 0.3, 0.3),
    ],
)
def test_distances(
    canary: tuple[int, ...], base: tuple[int, ...], classes: float, scores: float
) -> None:
    assert class_distance(canary, base) == pytest.approx(classes)
    assert score_distance(canary, base) == pytest.approx(scores)


_COUNTS = st.lists(st.integers(0, 50), min_size=5, max_size=5).filter(any)


@given(_COUNTS, _COUNTS)
def test_distances_are_symmetric_between_0_and_1_and_0_of_the_same(
    canary: list[int], base: list[int]
) -> None:
    for distance in (class_distance, score_distance):
        assert distance(canary, base) == pytest.approx(distance(base, canary))
        assert 0 <= distance(canary, base) <= 1 + 1e-9
        assert distance(canary, [3 * n for n in canary]) == pytest.approx(0)


def test_what_differs_is_told_in_figures_and_rolled_back() -> None:
    evidence = after(NO_EVIDENCE, window((900, 100), (5000, 5000)), RULES)
    verdict = judge(evidence, RULES, DONE)
    assert verdict.decision is Decision.ROLL_BACK
    assert verdict.reason.startswith("its classes are distributed otherwise: 0.400 apart, of which")
    assert verdict.reason.endswith("and 0.1 is allowed (1000 answers against 10000)")


def test_too_few_are_said_to_be_too_few_and_wait() -> None:
    evidence = after(NO_EVIDENCE, window((400, 99), (5000, 5000)), RULES)
    verdict = judge(evidence, RULES, DONE)
    assert (verdict.decision, verdict.reason) == (
        Decision.KEEP,
        "waits for traffic: 499 answers are too few to compare classes, which takes 500",
    )
    evidence = after(evidence, window((400, 101), (5000, 5000)), RULES)
    assert judge(evidence, RULES, DONE).decision is Decision.ROLL_BACK


def test_rows_of_one_answer_are_not_as_many_answers() -> None:
    rules = Rules(drift_classes=0.1)
    drift = compared(NO_DRIFT, window((9000, 1000), (50_000, 50_000), each=100), rules, RISK)
    assert too_few(drift, rules) == "100 answers are too few to compare classes, which takes 500"


def test_a_model_that_has_no_such_outputs_is_not_held_up() -> None:
    drift = compared(NO_DRIFT, Window(Answers(499), Answers(5000)), RULES, RISK)
    assert too_few(drift, RULES) == "0 answers are too few to compare classes, which takes 500"
    drift = compared(drift, Window(Answers(1), Answers(5)), RULES, RISK)
    assert (too_few(drift, RULES), drifted(drift, RULES)) == (None, None)


def test_what_is_off_is_not_looked_at() -> None:
    off = Rules()
    apart = window((1000, 0), (0, 1000))
    assert compared(NO_DRIFT, apart, off, RISK) is NO_DRIFT
    assert (drifted(NO_DRIFT, off), too_few(NO_DRIFT, off)) == (None, None)
    scores = Rules(drift_scores=0.1)
    found = drifted(compared(NO_DRIFT, apart, scores, RISK), scores)
    assert found is not None
    assert found.startswith("its scores are distributed otherwise")


def test_it_is_looked_at_when_there_are_twice_as_many_and_each_look_takes_less_risk() -> None:
    rules, alike = Rules(drift_classes=0.1), window((250, 250), (500, 500))
    drift, looks = NO_DRIFT, []
    for _ in range(16):
        drift = compared(drift, alike, rules, RISK)
        looks.append(drift.looks)
    assert looks == [1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 5]
    assert begun_anew(drift).looks == 5
    assert begun_anew(drift).classes.last is None


def test_each_step_is_compared_by_itself() -> None:
    """Its share of the requests is another, of another hour's."""
    rules = Rules(drift_classes=0.1)
    evidence = after(NO_EVIDENCE, window((500, 500), (500, 500)), rules)
    assert too_few(evidence.drift, rules) is None
    assert too_few(in_next_step(evidence).drift, rules) is not None


def test_looks_of_before_a_restart_count_on() -> None:
    """Else each restart gave chance all of its risk again."""
    evidence = after(NO_EVIDENCE, window((500, 500), (500, 500)), RULES)
    rollout = Rollout("m", 3, 2, phase=Phase.RUNNING, evidence=evidence)
    kept, wrong = from_document(json.loads(json.dumps(document({"m": rollout}))))
    assert wrong == ()
    assert kept["m"].evidence.drift == begun_anew(evidence.drift)
    assert kept["m"].evidence.drift.looks == 2
