"""Verdicts, and their documents."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from serving.gates.verdict import (
    MOST_CHECKS,
    Check,
    Verdict,
    by_person,
    document,
    from_document,
    judged,
)
from serving.gates.verdicts import ANSWERED, FOLDER, MOST, Answered, Verdicts, key_of
from serving.state_dir import StateDir

GOOD = Check("quality", "accuracy", True, "at least 0.9", "r=EU", 0.95, 0.9)
BAD = Check("safe_to_serve", "finite", False, "NaN in output 'y'")


def test_a_version_is_blessed_where_every_check_passed() -> None:
    assert judged((GOOD,), 1.0).blessed
    assert judged((), 1.0).blessed
    verdict = judged((GOOD, BAD), 1.0, ("a note",), base=2)
    assert (verdict.word, verdict.base) == ("NOT_BLESSED", 2)
    assert verdict.words == "finite: NaN in output 'y'"


def test_what_failed_is_kept_among_many_checks() -> None:
    verdict = judged((*[GOOD] * MOST_CHECKS, BAD), 1.0)
    assert len(verdict.checks) == MOST_CHECKS
    assert BAD in verdict.checks


def test_a_person_blesses_with_a_reason_and_the_figures_stay() -> None:
    blessed = by_person(judged((BAD,), 1.0), 2.0, "127.0.0.1", "known")
    assert (blessed.blessed, blessed.checks, blessed.at) == (True, (BAD,), 2.0)
    assert blessed.words == "blessed by command from 127.0.0.1: known"
    assert by_person(None, 2.0, "", "known").words == "blessed by command: known"


def test_a_document_is_read_back_as_it_was() -> None:
    verdict = judged((GOOD, BAD), 1.5, ("n",), base=1, requests=3, examples=4, seconds=0.25)
    assert from_document(json.loads(json.dumps(document(verdict)))) == verdict


@pytest.mark.parametrize(
    "change",
    [
        {"verdict": "MAYBE"},
        {"form": 2},
        {"checks": [{}]},
        {"at": "now"},
        {"more": 1},
    ],
)
def test_another_document_is_no_verdict(change: dict[str, object]) -> None:
    assert from_document({**document(judged((GOOD,), 1.0)), **change}) is None
    assert from_document(None) is None
    assert from_document([]) is None


def test_verdicts_outlive_the_process_and_the_oldest_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.gates.verdicts.MOST", 8)
    assert MOST > 8
    kept = Verdicts(StateDir(tmp_path))
    keys = [key_of("m", n, "files", "config", "terms") for n in range(100)]
    assert len(set(keys)) == 100
    for at, key in enumerate(keys):
        kept.write(key, Verdict(True, float(at)))
    assert Verdicts(StateDir(tmp_path)).read(keys[-1]) == Verdict(True, 99.0)
    assert Verdicts(StateDir(tmp_path)).read(keys[0]) is None
    assert len(list((tmp_path / FOLDER).glob("*.json"))) < 80


def test_what_is_held_stays_however_many_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.gates.verdicts.MOST", 8)
    kept = Verdicts(StateDir(tmp_path))
    held, other = (key_of("m", n, "files", "config", "terms") for n in (1, 2))
    kept.hold(held)
    # Of two slots of the same version one may leave.
    kept.hold(held)()
    for key in (held, other):
        kept.write(key, by_person(None, 1.0, "somebody", "looked at"))
    for n in range(100):
        kept.write(key_of("n", n, "files", "config", "terms"), Verdict(True, 2.0))
    again = Verdicts(StateDir(tmp_path))
    assert again.read(held) == by_person(None, 1.0, "somebody", "looked at")
    assert again.read(other) is None


def test_what_answered_last_is_kept_by_model(tmp_path: Path) -> None:
    kept = Verdicts(StateDir(tmp_path))
    assert kept.answered("m") is None
    kept.keep_answered("m", Answered(3, "files", "contents"))
    kept.keep_answered("n", Answered(1, "files", ""))
    again = Verdicts(StateDir(tmp_path))
    assert again.answered("m") == Answered(3, "files", "contents")
    for file in (tmp_path / ANSWERED).glob("*.json"):
        file.write_text('{"form": 1}')
    assert again.answered("m") is None


def test_what_was_kept_in_memory_lies_in_a_directory_that_is_taken_over(tmp_path: Path) -> None:
    theirs, blessed = key_of("m", 1, "a", "b", "c"), by_person(None, 1.0, "somebody", "seen")
    Verdicts(StateDir(tmp_path)).write(theirs, Verdict(True, 2.0))
    kept = Verdicts(StateDir(None, is_ours=False))
    before, after = (key_of("m", n, "a", "b", "c") for n in (2, 3))
    kept.write(before, blessed)
    kept.keep_answered("m", Answered(2, "files", "contents"))
    kept.take_over(StateDir(tmp_path))
    assert kept.read(theirs) == Verdict(True, 2.0)
    kept.write(after, blessed)
    again = Verdicts(StateDir(tmp_path))
    assert [again.read(key) for key in (before, after)] == [blessed, blessed]
    assert again.answered("m") == Answered(2, "files", "contents")
