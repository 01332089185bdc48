"""``serving doctor``: what it tells of the state directory and the environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from serving.cli.doctor import _files, _locale
from serving.execution import text_locale
from serving.settings import Settings
from serving.state_lock import StateLock

ROOT = Path(__file__).resolve().parents[3]


def state_words(folder: Path) -> str:
    found = {one.name: one for one in _files(Settings(state_dir=folder))}
    assert found["state directory"].problem == ""
    return found["state directory"].value


def test_who_has_the_state_directory_is_told_and_the_lock_is_left_alone(tmp_path: Path) -> None:
    assert state_words(tmp_path) == str(tmp_path)
    assert list(tmp_path.iterdir()) == []
    lock = StateLock(tmp_path)
    said = state_words(tmp_path)
    assert said.startswith(f"{tmp_path}: held by process {os.getpid()} (")
    assert Path(sys.executable).name in said
    lock.release()
    assert f"{tmp_path}: last held by the gateway with pid {os.getpid()}" in state_words(tmp_path)
    StateLock(tmp_path).release()


def test_a_problem_ends_with_status_1_and_a_wrong_variable_is_one(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    environment |= {"SERVING_LIMIT__MAX_STREAMS": "3", "SERVING_PORT": "tcp://10.0.0.1:80"}
    done = subprocess.run(
        [sys.executable, "-m", "serving", "doctor", "--json"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    found = {one["name"]: one for one in json.loads(done.stdout)}
    assert "SERVING_LIMITS__MAX_STREAMS" in found["SERVING_LIMIT__MAX_STREAMS"]["problem"]
    assert found["SERVING_PORT"]["problem"] == ""


def test_a_locale_that_is_missing_is_told_where_nothing_was_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(text_locale, "is_there", lambda: False)
    (found,) = _locale()
    assert found.value.startswith("absent; only some text models need it: as root, localedef")
    assert not found.problem
    assert "again" not in found.value
    assert text_locale.missing("xx_XX.UTF-8").endswith(", then load it again")
