"""The suite's own guard (``tests/durations.py``), in a run of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import durations
from tests.clients.gateway import ROOT

SLEEPS = """
import time, pytest

{mark}
def test_it():
    time.sleep(0.01)
"""


# Below nothing: on a busy machine what counts of a test may be less than nothing.
ANYTHING = -1000


@pytest.mark.parametrize(
    ("mark", "longest_s", "code", "workers"),
    [
        ("", ANYTHING, 1, ()),
        ("", ANYTHING, 1, ("-n", "1")),
        ("@pytest.mark.slow", ANYTHING, 0, ()),
        ("", 100, 0, ()),
    ],
)
def test_an_unmarked_test_that_takes_long_fails_the_run(
    tmp_path: Path, mark: str, longest_s: float, code: int, workers: tuple[str, ...]
) -> None:
    (tmp_path / "test_one.py").write_text(SLEEPS.format(mark=mark))
    ini = f"[pytest]\nlongest_test_s = {longest_s}\nmarkers = slow\n"
    (tmp_path / "pytest.ini").write_text(ini)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.durations", *workers, str(tmp_path)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout
    assert ("longer than" in done.stdout) == bool(code)
    assert ("1 failed" if code else "1 passed") in done.stdout


def test_a_machine_half_as_fast_gets_twice_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durations, "_loop_s", lambda: 2 * durations.ROUNDS_S)
    assert durations._slowness() == 2.0
    monkeypatch.setattr(durations, "_loop_s", lambda: durations.ROUNDS_S / 2)
    assert durations._slowness() == 1.0


def test_a_kernel_that_tells_no_pressure_takes_nothing_off(tmp_path: Path) -> None:
    assert durations._stalled_s((tmp_path / "none",)) == 0.0
