"""What trials found out: when it is on the disk, and what reading it costs."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.loading.batching.analysis import Analysis
from serving.loading.trial import cache
from serving.loading.trial.cache import FOLDER, TrialCache
from serving.loading.trial.findings import Findings
from serving.state_dir import StateDir
from tests.clients.gateway import wait_until

FOUND = Findings(Analysis("proven"))


class Counted(StateDir):
    """Counts what is asked of the disk."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.reads: list[str] = []
        self.lists = 0

    def read(self, name: str) -> object:
        self.reads.append(name)
        return super().read(name)

    def names(self, folder: str) -> list[str]:
        self.lists += 1
        return super().names(folder)


def test_what_was_found_out_is_on_the_disk_soon_while_a_load_goes_on(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "state")
    kept = TrialCache(state, within_s=0.05)
    with kept.gathering():
        for name in ("a", "b"):
            kept.write(name, FOUND)
            written = lambda name=name: TrialCache(state).read(name) == FOUND  # noqa: E731 - short
            wait_until(written, 20, "it is on the disk")


def test_of_the_documents_kept_parsed_the_one_used_last_goes_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_PARSED", 2)
    state = Counted(tmp_path / "state")
    for name in "abc":
        TrialCache(state).write(name, FOUND)
    kept = TrialCache(state)
    for name in ("a", "b", "a", "c"):
        assert kept.read(name) == FOUND
    state.reads.clear()
    assert kept.read("a") == FOUND
    assert state.reads == []


def test_what_was_written_here_is_not_looked_for_again(tmp_path: Path) -> None:
    state = Counted(tmp_path / "state")
    kept = TrialCache(state)
    assert kept.read("none") is None
    kept.write("a", FOUND)
    state.lists = 0
    for name in ("b", "c"):
        assert kept.read(name) is None
        kept.write(name, FOUND)
    assert state.lists == 0


def test_who_reads_does_not_wait_for_the_disk_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    TrialCache(StateDir(tmp_path / "state")).write("early", FOUND)
    writing, go_on = threading.Event(), threading.Event()

    def slow(descriptor: int) -> None:
        del descriptor
        writing.set()
        go_on.wait(60)

    monkeypatch.setattr(os, "fsync", slow)
    kept = TrialCache(StateDir(tmp_path / "state"))
    writer = threading.Thread(target=kept.write, args=("late", FOUND))
    writer.start()
    try:
        assert writing.wait(20)
        answers = _within(20, lambda: [kept.read(name) for name in ("early", "late", "none")])
        assert answers == [FOUND, FOUND, None]
    finally:
        go_on.set()
        writer.join(20)
    assert TrialCache(StateDir(tmp_path / "state")).read("late") == FOUND


def _within(seconds: float, ask: Callable[[], list[Findings | None]]) -> list[Findings | None]:
    """Its answer; none where it takes longer."""
    answers: list[Findings | None] = []
    reader = threading.Thread(target=lambda: answers.extend(ask()), daemon=True)
    reader.start()
    reader.join(seconds)
    return list(answers)


def test_what_others_wrote_before_the_first_look_is_found(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "state")
    TrialCache(state).write("theirs", FOUND)
    kept = TrialCache(state)
    kept.write("ours", FOUND)
    assert kept.read("theirs") == FOUND
    assert len(state.names(FOLDER)) == 2
