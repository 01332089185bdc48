"""What the judge says of what was seen, as tables."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.rollout.evidence import NO_EVIDENCE, Evidence, after
from serving.rollout.figures import KINDS, Answers, Latencies, Window
from serving.rollout.judge import Decision, Progress, judge
from serving.rollout.rules import Rules

RULES = Rules()
BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.05, 0.1)
DONE = Progress(600.0, 1000, 600.0, 50, is_last=False)
LAST = Progress(600.0, 1000, 600.0, 50, is_last=True)


def seen(*windows: Window, rules: Rules = RULES) -> Evidence:
    evidence = NO_EVIDENCE
    for window in windows:
        evidence = after(evidence, window, rules)
    return evidence


def took(requests: int, *, slow: int = 0, usual: float = 0.002, slowest: float = 0.1) -> Latencies:
    """So many requests, ``slow`` of which took as long as ``slowest``, the others ``usual``."""
    counts = [
        sum(n for n, at in ((requests - slow, usual), (slow, slowest)) if at <= bound)
        for bound in BOUNDS
    ]
    return Latencies(BOUNDS, (*counts, requests))


def answers(requests: int, latencies: Latencies | None = None, **errors: int) -> Answers:
    return Answers(requests, errors, latencies or took(requests))


# What the canary and the base answered -> what the reason begins with.
@pytest.mark.parametrize(
    ("canary", "base", "reason"),
    [
        (answers(100, internal=20), answers(1000, internal=10), "too many internal errors"),
        (answers(100, unavailable=8), answers(1000), "too many answers that it is unavailable"),
        (answers(100, refused=30), answers(5000, refused=50), "too many refusals"),
        (answers(100, late=30), answers(5000, late=50), "too many passed deadlines"),
        (answers(100, bad_data=9), answers(5000), "too many errors of its operators"),
        (answers(500, input=60), answers(5000, input=5), "too many inputs that it does not take"),
        # No kind alone, but all together.
        (
            answers(1000, internal=5, unavailable=5, refused=5, late=5, bad_data=5, input=5),
            answers(9000, internal=9, unavailable=9, refused=9, late=9, bad_data=9, input=9),
            "too many errors: 30 of 1000 requests (3.000%), against 54 of 9000",
        ),
    ],
)
def test_a_canary_with_more_errors_of_a_kind_is_rolled_back(
    canary: Answers, base: Answers, reason: str
) -> None:
    verdict = judge(seen(Window(canary, base)), RULES, DONE)
    assert (verdict.decision, verdict.reason.startswith(reason)) == (
        Decision.ROLL_BACK,
        True,
    ), verdict


@pytest.mark.parametrize(
    ("canary", "base"),
    [
        # Below the floor, however unlikely.
        (answers(100, internal=2), answers(100_000)),
        # As often.
        (answers(100, internal=10), answers(1000, internal=100)),
        (answers(100, internal=90), answers(1000, internal=900)),
        # The base is worse.
        (answers(1000), answers(1000, internal=500)),
        # Too few to tell.
        (answers(10, internal=4), answers(10, internal=2)),
        # Nothing at all.
        (answers(0), answers(0)),
        (answers(100, internal=3), answers(0)),
    ],
)
def test_what_may_be_chance_is_no_reason(canary: Answers, base: Answers) -> None:
    assert judge(seen(Window(canary, base)), RULES, DONE).decision is Decision.ADVANCE


def looked_at(inspected: int, nonfinite: int) -> Answers:
    return Answers(inspected, inspected=inspected, nonfinite=nonfinite)


# Answers of the canary and of the base, and those of them with NaN or infinity.
@pytest.mark.parametrize(
    ("canary", "base", "bad"),
    [
        ((100, 20), (9900, 0), True),
        ((100, 20), (9900, 60), True),
        # A model may give them by right, and as often.
        ((1000, 300), (9000, 2700), False),
        ((1000, 10), (9000, 2700), False),
        # Below the floor, or nothing to compare with.
        ((10, 2), (90_000, 0), False),
        ((100, 20), (0, 0), False),
        ((0, 0), (1000, 10), False),
    ],
)
def test_a_canary_that_gives_nan_more_often_is_rolled_back(
    canary: tuple[int, int], base: tuple[int, int], bad: bool
) -> None:
    window = Window(looked_at(*canary), looked_at(*base))
    verdict = judge(seen(window), RULES, DONE)
    assert (verdict.decision is Decision.ROLL_BACK) is bad, verdict
    if bad:
        assert verdict.reason.startswith(
            f"too many answers with NaN or infinity: {canary[1]} of {canary[0]} answers"
        )
    off = Rules(nonfinite=False)
    assert judge(seen(window, rules=off), off, DONE).decision is Decision.ADVANCE


BASE = answers(1000, took(1000))


@pytest.mark.parametrize(
    ("canary", "reason"),
    [
        (took(1000, usual=0.01), "its median latency is too far above"),
        (took(100, usual=0.1), "its median latency is too far above"),
        (took(1000, slow=200), "its 99th percentile of latency is too far above"),
        # Not twice as slow, too few, or of the slack's size.
        (took(1000), None),
        (took(99, usual=0.1), None),
        (took(1000, slow=10), None),
    ],
)
def test_a_slower_canary_is_rolled_back(canary: Latencies, reason: str | None) -> None:
    windows = [Window(answers(canary.count, canary), BASE)] * 3
    verdict = judge(seen(*windows[: 2 if canary.count == 100 else 3]), RULES, DONE)
    if reason is None:
        assert verdict.decision is Decision.ADVANCE, verdict
    else:
        assert verdict.decision is Decision.ROLL_BACK
        assert verdict.reason.startswith(reason)


@pytest.mark.parametrize("slow", [400, 1000])
def test_one_hiccup_alone_is_no_slower_canary(slow: int) -> None:
    hiccup = Window(answers(1000, took(1000, slow=slow)), BASE)
    assert judge(seen(hiccup), RULES, DONE).decision is Decision.ADVANCE
    assert judge(seen(hiccup, hiccup), RULES, DONE).decision is Decision.ROLL_BACK


def test_latencies_of_small_windows_are_compared_once_they_are_enough() -> None:
    window = Window(answers(30, took(30, usual=0.1)), answers(300, took(300)))
    decisions = [judge(seen(*[window] * n), RULES, DONE).decision for n in (1, 7, 8)]
    assert decisions == [Decision.ADVANCE, Decision.ADVANCE, Decision.ROLL_BACK]


def test_latencies_within_the_slack_are_not_slower() -> None:
    slower = Window(answers(1000, took(1000, usual=0.002)), answers(1000, took(1000, usual=0.001)))
    generous = Rules(slack_s=0.01, p50_factor=1.5)
    assert judge(seen(*[slower] * 5, rules=generous), generous, DONE).decision is Decision.ADVANCE


def test_a_death_ends_it_at_once() -> None:
    verdict = judge(seen(Window(deaths=1)), RULES, Progress(0, 0, 600, 50, is_last=False))
    assert (verdict.decision, verdict.reason) == (Decision.ROLL_BACK, "its process died once")


def test_requests_that_all_fail_end_it_unless_the_bases_do() -> None:
    failing = answers(3, unavailable=3)
    few, enough = [Window(failing, answers(3))], [Window(failing, answers(3))] * 2
    assert judge(seen(*few), RULES, DONE).decision is Decision.ADVANCE
    verdict = judge(seen(*enough), RULES, DONE)
    assert (verdict.decision, verdict.reason) == (
        Decision.ROLL_BACK,
        "every request failed: the last 6",
    )
    between = [Window(failing, answers(3)), Window(answers(3)), Window(failing, answers(3))]
    assert judge(seen(*between), RULES, DONE).decision is Decision.ADVANCE
    alike = [Window(answers(9)), *[Window(failing, answers(50, unavailable=50))] * 2]
    assert judge(seen(*alike), RULES, DONE).decision is Decision.ADVANCE


def test_requests_that_all_fail_by_chance_are_no_reason_where_the_base_fails_often() -> None:
    """With a request in each window any row of failures counts."""
    for seed in range(4):
        dice = np.random.default_rng(seed)
        evidence = NO_EVIDENCE
        for _ in range(500):
            errors = int(dice.random() < 0.3), int(dice.binomial(9, 0.3))
            canary, base = (
                Answers(n, {"internal": e}) for n, e in zip((1, 9), errors, strict=True)
            )
            evidence = after(evidence, Window(canary, base), RULES)
            verdict = judge(evidence, RULES, DONE)
            assert verdict.decision is Decision.ADVANCE, (seed, verdict)
    for _ in range(30):
        window = Window(Answers(1, {"internal": 1}), Answers(10, {"internal": 3}))
        evidence = after(evidence, window, RULES)
    assert judge(evidence, RULES, DONE).reason == "every request failed: the last 30"


SOUND = Window(answers(10_000), answers(10_000))


@pytest.mark.parametrize(
    ("progress", "window", "decision", "reason"),
    [
        (Progress(1, 99, 600, 50, False), SOUND, Decision.KEEP, "599 s of this step are left"),
        (
            Progress(700, 9, 600, 50, False),
            SOUND,
            Decision.KEEP,
            "waits for traffic: it answered 9 of the 50 requests that this step takes",
        ),
        (Progress(700, 50, 600, 50, False), SOUND, Decision.ADVANCE, "nothing speaks against it"),
        (Progress(700, 50, 600, 50, True), SOUND, Decision.PROMOTE, "it is shown to be sound"),
        (
            Progress(700, 50, 600, 50, True),
            Window(answers(600), answers(600)),
            Decision.KEEP,
            "waits for traffic: 600 requests are too few to show that it is sound (5%)",
        ),
    ],
)
def test_it_goes_on_by_time_traffic_and_proof(
    progress: Progress, window: Window, decision: Decision, reason: str
) -> None:
    verdict = judge(seen(window), RULES, progress)
    assert verdict.decision is decision
    assert verdict.reason == reason


def test_where_requests_fail_alike_both_ways_to_the_proof_lead_to_it() -> None:
    """Fewer errors than are tolerated, or as many as the base has."""
    rare = Window(answers(20_000, internal=2), answers(20_000))
    many = Window(answers(8000, internal=800), answers(8000, internal=800))
    for window in (rare, many):
        assert judge(seen(window), RULES, LAST).decision is Decision.PROMOTE


@given(
    st.sampled_from(tuple(KINDS)),
    st.lists(st.tuples(st.integers(1, 50), st.integers(1, 20), st.integers(0, 50)), max_size=12),
)
def test_a_canary_that_fails_exactly_as_often_is_never_rolled_back(
    kind: str, windows: list[tuple[int, int, int]]
) -> None:
    """However the rate that both share changes."""
    drawn = [
        Window(
            answers(requests, **{kind: min(errors, requests)}),
            answers(requests * more, **{kind: min(errors, requests) * more}),
        )
        for requests, more, errors in windows
    ]
    assert judge(seen(*drawn), RULES, DONE).decision is Decision.ADVANCE
