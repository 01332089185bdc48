"""What the judge makes of how far two versions' features are apart, by statistics."""

from __future__ import annotations

import json
from typing import Any

import pytest

from serving.rollout.canary import Phase, Rollout
from serving.rollout.documents import document, from_document
from serving.rollout.drift import begun_anew, risk_at_features
from serving.rollout.evidence import NO_EVIDENCE, after, in_next_step
from serving.rollout.features import Apart, FeatureLook, needed
from serving.rollout.figures import Answers, Window
from serving.rollout.judge import Decision, Progress, Verdict, judge
from serving.rollout.rules import Rules

RULES = Rules(drift_inputs=0.3, drift_outputs=0.1)
DONE = Progress(600.0, 1000, 600.0, 50, is_last=False)
FAR = Apart("y[2]", "Jensen-Shannon divergence", 0.25, 0.2)
NEAR = Apart("x", "Jensen-Shannon divergence", 0.25, 0.0)


def look(*counted: int, why_not: str = "", **farthest: Apart) -> FeatureLook:
    return FeatureLook(*counted, farthest=farthest or None, why_not=why_not)


def judged(*looks: FeatureLook | None, rules: Rules = RULES) -> Verdict:
    evidence = NO_EVIDENCE
    for one in looks:
        window = Window(Answers(2000), Answers(9000), features=one)
        evidence = after(evidence, window, rules)
    return judge(evidence, rules, DONE)


FEW = "waits for traffic: statistics of {} requests are too few to compare {}, which takes 500"
OTHERWISE = "its outputs are distributed otherwise: feature 'y[2]' is"
IN_FIGURES = "(Jensen-Shannon divergence), of which 0.050 may be chance, and 0.1 is allowed"
OFF = "statistics, by which it is to be compared, are off (statistics.enabled)"


@pytest.mark.parametrize(
    ("looks", "rules", "decision", "reason"),
    [
        ([look(600, 700, inputs=NEAR, outputs=NEAR)], {}, "ADVANCE", "nothing speaks against it"),
        (
            [look(600, 700, inputs=NEAR, outputs=FAR)],
            {},
            "ROLL_BACK",
            f"{OTHERWISE} 0.250 apart {IN_FIGURES} (600 requests against 700)",
        ),
        # As far as it may be, and what is off.
        ([look(600, 700, inputs=FAR, outputs=NEAR)], {}, "ADVANCE", "nothing speaks against it"),
        ([look(600, 700, outputs=FAR)], {"drift_outputs": 0.2}, "ADVANCE", "nothing speaks"),
        ([look(600, 700, outputs=FAR)], {"drift_outputs": 0.0}, "ADVANCE", "nothing speaks"),
        ([None], {"drift_inputs": 0.0, "drift_outputs": 0.0}, "ADVANCE", "nothing speaks"),
        # Nothing that both have: no model is held up for that.
        ([FeatureLook(600, 700, {})], {}, "ADVANCE", "nothing speaks against it"),
        ([look(499, 700)], {}, "KEEP", FEW.format(499, "inputs and outputs")),
        ([look(700, 3)], {"drift_inputs": 0.0}, "KEEP", FEW.format(3, "outputs")),
        ([None], {}, "KEEP", FEW.format(0, "inputs and outputs")),
        ([look(why_not=OFF)], {}, "KEEP", f"waits: {OFF}"),
        # What was seen once stands until the next look.
        ([look(600, 700, inputs=NEAR), look(650, 800)], {}, "ADVANCE", "nothing speaks against it"),
        (
            [look(600, 700, outputs=NEAR), look(1300, 1400, outputs=FAR)],
            {},
            "ROLL_BACK",
            f"{OTHERWISE} 0.250 apart",
        ),
    ],
)
def test_what_the_judge_makes_of_it(
    looks: list[FeatureLook | None], rules: dict[str, Any], decision: str, reason: str
) -> None:
    given = {"drift_inputs": 0.3, "drift_outputs": 0.1, **rules}
    verdict = judged(*looks, rules=Rules(**given))
    assert verdict.decision is Decision[decision], verdict
    assert verdict.reason.startswith(reason)


def test_looks_come_with_twice_as_many_and_all_their_risk_is_no_more_than_there_is() -> None:
    evidence, risks, counts = NO_EVIDENCE, [], []
    for requests in range(100, 20_000, 100):
        drift = evidence.drift
        due = requests >= needed(drift.features, RULES)
        if due:
            risks.append(risk_at_features(drift, RULES, 0.001))
            counts.append(requests)
        found = {"inputs": NEAR} if due else None
        features = FeatureLook(requests, 3 * requests, found)
        evidence = after(evidence, Window(features=features), RULES)
    assert counts == [500, 1000, 2000, 4000, 8000, 16000]
    assert risks == sorted(risks, reverse=True)
    assert sum(risks) <= 0.001
    both = Rules(drift_outputs=0.1, drift_classes=0.1, drift_scores=0.1)
    assert risk_at_features(evidence.drift, both, 1.0) < risk_at_features(evidence.drift, RULES, 1)


def test_each_step_is_compared_by_itself_and_looks_count_on_over_a_restart() -> None:
    window = Window(features=look(600, 700, outputs=NEAR))
    evidence = after(NO_EVIDENCE, window, RULES)
    assert judge(evidence, RULES, DONE).decision is Decision.ADVANCE
    assert judge(in_next_step(evidence), RULES, DONE).decision is Decision.KEEP
    rollout = Rollout("m", 3, 2, phase=Phase.RUNNING, evidence=evidence)
    kept, wrong = from_document(json.loads(json.dumps(document({"m": rollout}))))
    assert wrong == ()
    assert kept["m"].evidence.drift == begun_anew(evidence.drift)
    assert kept["m"].evidence.drift.looks == 1
