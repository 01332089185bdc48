"""What docs/bounds.md names is there: tests by fault number and file, settings, figures."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "bounds.md").read_text()
NO_TEST = {"\u2013", "none of its own", "test"}


def _rows() -> list[str]:
    return [line for line in PAGE.splitlines() if line.startswith("|") and "---" not in line]


def _tests() -> list[str]:
    cells = [row.strip("|").rpartition("|")[2] for row in _rows()]
    return sorted({item.strip(" `") for cell in cells for item in cell.split(",")} - NO_TEST)


@cache
def _sources() -> dict[str, str]:
    places = [ROOT / "core" / crate / "src" for crate in ("engine", "seam")]
    files = [file for place in places for file in place.rglob("*.rs")]
    files += (ROOT / "tests").rglob("*.py")
    return {str(file.relative_to(ROOT)): file.read_text() for file in files}


@pytest.mark.parametrize("named", _tests())
def test_what_stands_as_a_bounds_test_is_one(named: str) -> None:
    if named.isdigit():
        fault = re.compile(rf"def test_fault_{named}_|fn fault_{named}_")
        assert any(fault.search(text) for text in _sources().values())
    else:
        found = [path for path in _sources() if named in path]
        assert found
        assert any(re.search(r"def test_|#\[(tokio::)?test\]", _sources()[path]) for path in found)


def test_settings_and_figures_that_it_names_are_there() -> None:
    settings = (ROOT / "docs" / "settings.md").read_text()
    figures = (ROOT / "docs" / "observability.md").read_text()
    for name in set(re.findall(r"`([a-z_]+\.[a-z_]+)`", PAGE)) - {"limits.x"}:
        assert f"`{name}`" in settings or name.endswith((".rs", ".py")), name
    for name in set(re.findall(r"`(serving_[a-z_]+)`", PAGE)):
        assert name in figures, name
