"""A rollout from its start to its end, as transcripts; and what holds in any order of events."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.rollout import canary
from serving.rollout.canary import Facts, Phase, Rollout
from serving.rollout.documents import document, from_document
from serving.rollout.figures import NO_ANSWERS, Answers, Window
from serving.rollout.rules import Rules, Steps

RULES = Rules()
START = Rollout("m", 3, 2, Steps((5, 50, 100), 60.0, 10))
READY = Facts(ready=frozenset({2, 3}))


def told(rollout: Rollout) -> str:
    return f"{rollout.phase.value} {rollout.share} %: {rollout.reason}"


def played(script: str) -> list[str]:
    """Lines of what happens -> what the rollout says after each."""
    rollout, said = START, []
    for line in script.split("\n"):
        rollout = _after(rollout, line.split())
        said.append(told(rollout))
    return said


def _after(rollout: Rollout, words: list[str]) -> Rollout:
    match words:
        case ["window", seconds, requests, errors]:
            window = Window(_answers(int(requests), int(errors)), Answers(int(requests) * 9))
            return canary.turn(rollout, READY, window, float(seconds), RULES, 0)
        case ["glance", requests, errors, deaths]:
            seen = _answers(int(requests), int(errors))
            return canary.at_once(rollout, Window(seen, NO_ANSWERS, int(deaths)), RULES, 0)
        case [verb] if verb in VERBS:
            return VERBS[verb](rollout, "somebody", 0)
        case _:
            return canary.turn(rollout, _facts(words), None, 1, RULES, 0)


VERBS = {
    "pause": canary.pause,
    "resume": canary.resume,
    "promote": canary.promote,
    "abort": canary.abort,
}


def _facts(words: list[str]) -> Facts:
    match words:
        case ["loading"]:
            return Facts(ready=frozenset({2}))
        case ["held"]:
            return Facts(ready=frozenset({2}), held=frozenset({3}))
        case ["failed"]:
            return Facts(ready=frozenset({2}), failed={3: "it is broken"})
        case ["pinned", version]:
            return replace(READY, pinned=int(version))
        case ["gone", version]:
            return replace(READY, gone={int(version): f"version {version} was unloaded"})
        case ["weights", *pairs]:
            weights = (pair.partition("=") for pair in pairs)
            return replace(READY, weights={int(v): int(weight) for v, _, weight in weights})
    assert words == ["ready"]
    return READY


def _answers(requests: int, errors: int) -> Answers:
    return Answers(requests, {"internal": errors} if errors else {})


def test_a_good_version_goes_step_by_step_and_waits_for_its_proof() -> None:
    windows = "window 30 9 0\nwindow 30 0 0\nwindow 5 1 0\nwindow 60 900 0\nwindow 5 20000 0"
    assert played(f"loading\nready\n{windows}") == [
        "waiting 0 %: waits until version 3 is ready",
        "running 5 %: version 3 is ready",
        "running 5 %: 30 s of this step are left",
        "running 5 %: waits for traffic: it answered 9 of the 10 requests that this step takes",
        "running 50 %: nothing speaks against it",
        "running 50 %: waits for traffic: 910 requests are too few to show that it is sound (9%)",
        "promoted 100 %: it is shown to be sound",
    ]


def test_a_bad_version_is_rolled_back_by_a_window_also_in_a_pause() -> None:
    bad = (
        "rolled back 0 %: too many internal errors: 12 of 100 requests (12.000%), against 0 of 900"
    )
    assert played("ready\nwindow 5 100 12")[-1].startswith(bad)
    assert played("ready\npause\nwindow 5 100 12")[-1].startswith(bad)


def test_hard_signals_wait_for_no_window() -> None:
    assert played("ready\nglance 4 0 0\nglance 4 0 1")[1:] == [
        "running 5 %: version 3 is ready",
        "rolled back 0 %: its process died once",
    ]
    assert played("ready\nglance 4 4 0\nglance 5 5 0")[1:] == [
        "running 5 %: version 3 is ready",
        "rolled back 0 %: every request failed: the last 5",
    ]


def test_a_pause_holds_the_step_and_not_the_evidence() -> None:
    script = "ready\nwindow 50 100 0\npause\nwindow 600 100 0\nresume\nwindow 5 1 0\nwindow 5 1 0"
    assert played(script)[2:] == [
        "paused 5 %: paused by somebody",
        "paused 5 %: paused by somebody",
        "running 5 %: resumed by somebody",
        "running 5 %: 5 s of this step are left",
        "running 50 %: nothing speaks against it",
    ]


# What happens -> what becomes of a rollout that runs, and of the weights.
@pytest.mark.parametrize(
    ("event", "said", "weights"),
    [
        ("promote", "promoted 100 %: promoted by somebody", {3: 100}),
        ("abort", "aborted 0 %: aborted by somebody", {2: 100}),
        ("failed", "rolled back 0 %: version 3 can't answer: it is broken", {2: 100}),
        ("pinned 2", "ended 0 %: version 2 was pinned", {2: 100}),
        ("gone 3", "ended 0 %: version 3 was unloaded", {2: 100}),
        ("gone 2", "ended 0 %: version 2 was unloaded", None),
        ("weights 2=50 3=50", "ended 0 %: the route's weights were set to 2=50 3=50", None),
        ("weights", "ended 0 %: the route's weights were taken away", None),
        ("weights 2=95 3=5", "running 5 %: version 3 is ready", {2: 95, 3: 5}),
    ],
)
def test_what_else_is_done_ends_it_in_words(
    event: str, said: str, weights: dict[int, int] | None
) -> None:
    rollout = _after(_after(START, ["ready"]), event.split())
    assert (told(rollout), rollout.weights) == (said, weights)


def test_one_that_is_held_back_waits_for_its_signature() -> None:
    said = played("held\nready")
    assert said[0] == "waiting 0 %: waits until the signature of version 3 is accepted"
    assert said[1].startswith("running 5 %")


def test_a_single_step_of_100_promotes_what_is_ready() -> None:
    rollout = replace(START, steps=Steps((100,), 60.0, 10))
    assert (
        told(canary.turn(rollout, READY, None, 1, RULES, 0))
        == "promoted 100 %: its only step is 100"
    )


@pytest.mark.parametrize(
    ("before", "verb", "words"),
    [
        ("", "pause", "the rollout is waiting: only one that runs can be paused"),
        ("", "promote", "the rollout is waiting: there is nothing to promote"),
        ("ready", "resume", "the rollout is running, not paused"),
        ("ready\nabort", "abort", "the rollout is aborted already"),
    ],
)
def test_commands_that_come_at_the_wrong_time_are_refused(
    before: str, verb: str, words: str
) -> None:
    rollout = START
    for line in filter(None, before.split("\n")):
        rollout = _after(rollout, line.split())
    with pytest.raises(ValueError, match=words):
        _after(rollout, [verb])


events = st.one_of(
    st.sampled_from(
        ["loading", "held", "ready", "failed", "pause", "resume", "promote", "abort", "gone 3"]
    ),
    st.builds(
        "window {} {} {}".format,
        st.sampled_from([1, 30, 60]),
        st.sampled_from([0, 5, 500, 20_000]),
        st.sampled_from([0, 0, 0, 1, 5]),
    ),
    st.builds("glance {} {} {}".format, st.integers(5, 9), st.integers(0, 5), st.integers(0, 1)),
)


@given(st.lists(events, max_size=25))
def test_in_any_order_shares_only_grow_and_an_end_is_an_end(script: list[str]) -> None:
    rollout = START
    for line in script:
        before = rollout
        try:
            rollout = _after(rollout, line.split())
        except ValueError:
            continue
        if not before.under_way:
            assert rollout == before
        elif rollout.under_way:
            assert rollout.share >= before.share
        weights = rollout.weights
        assert weights is not None
        assert sum(weights.values()) == 100
        assert (rollout.phase is Phase.PROMOTED) == (weights == {3: 100})
        kept, wrong = from_document(json.loads(json.dumps(document({"m": rollout}))))
        assert (kept, wrong) == ({"m": replace(rollout, evidence=kept["m"].evidence)}, ())
        assert kept["m"].evidence.worse == rollout.evidence.worse
        assert kept["m"].evidence.canary.requests == rollout.evidence.canary.requests


def test_a_document_that_is_none_of_ours_is_left_out_in_words() -> None:
    good = document({"m": START})
    assert from_document(None) == ({}, ())
    assert from_document({"form": 9})[1] == ("it has another form than this version writes",)
    assert from_document({"form": 1, "rollouts": {}})[1] == ("its rollouts are not a list",)
    for key, value, words in [
        ("shares", [5, 50], "the last step has to be 100"),
        ("phase", "odd", "the unknown phase 'odd'"),
        ("step", 7, "its step is beyond its steps"),
        ("candidate", 0, "candidate"),
    ]:
        entry = {**good["rollouts"][0], key: value}
        kept, wrong = from_document({"form": 1, "rollouts": [entry, good["rollouts"][0]]})
        assert kept == {"m": START}
        assert any(words.split()[-1] in one for one in wrong), (words, wrong)
