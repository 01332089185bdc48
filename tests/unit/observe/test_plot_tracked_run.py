"""The plot of a tracked run, from windows as tracking writes them."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from serving.observe.windows import Window
from tests.clients.gateway import ROOT

SCRIPT = ROOT / "examples" / "plot_tracked_run.py"
SVG = "{http://www.w3.org/2000/svg}"


def _write(folder: Path, windows: list[Window]) -> None:
    folder.mkdir(exist_ok=True)
    lines = [json.dumps(window.to_json()) for window in windows]
    (folder / "windows-1.jsonl").write_text("".join(f"{line}\n" for line in lines))


def _window(number: int, model: str = "m", **figures: float) -> Window:
    return Window(model, 3, number, number * 15.0, number * 15.0 + 15, figures)


def _plot(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_every_curve_is_drawn_over_the_time_of_its_windows(tmp_path: Path) -> None:
    rates = [1000.0, 2000.0, 500.0]
    windows = [_window(i, request_rate=rate) for i, rate in enumerate(rates)]
    # A window without requests has no latency.
    windows += [_window(9, model="other", request_rate=1e9)]
    _write(tmp_path / "windows", windows)
    out = tmp_path / "out.svg"
    done = _plot(tmp_path / "windows", "m", 3, out)
    assert (done.returncode, done.stdout) == (0, f"3 windows drawn in {out}\n"), done.stderr
    root = ET.parse(out).getroot()
    points = [line.attrib["points"] for line in root.iter(f"{SVG}polyline")]
    (drawn,) = [one for one in points if one]
    places = [tuple(float(x) for x in pair.split(",")) for pair in drawn.split()]
    across = [x for x, _ in places]
    assert across[1] - across[0] == pytest.approx(across[2] - across[1], abs=0.2)
    heights = [y for _, y in places]
    assert heights[1] < heights[0] < heights[2], "more is further up"
    assert "m, version 3" in [text.text for text in root.iter(f"{SVG}text")]


@pytest.mark.parametrize("version", [3, 4])
def test_what_makes_no_curve_is_said(tmp_path: Path, version: int) -> None:
    _write(tmp_path / "windows", [_window(0, request_rate=1.0)])
    done = _plot(tmp_path / "windows", "m", version, tmp_path / "out.svg")
    assert done.returncode == 1
    assert f"m, version {version}: {4 - version} windows" in done.stderr
    assert not (tmp_path / "out.svg").exists()


def test_the_figures_that_are_drawn_are_those_that_tracking_writes() -> None:
    """By its own names, so that no curve stays empty for ever."""
    text = (ROOT / "serving" / "observe" / "windows.py").read_text()
    program = (
        "from plot_tracked_run import PANELS\n"
        "print(*(key for _, _, lines in PANELS for key in lines))\n"
    )
    drawn = subprocess.run(
        [sys.executable, "-c", program],
        cwd=SCRIPT.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout.split()
    for key in drawn:
        assert f'"{key.partition("/")[0]}' in text, key
