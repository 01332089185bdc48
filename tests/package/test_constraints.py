"""What CI installs is what pyproject.toml allows, and all of it."""

from __future__ import annotations

import pytest
from packaging.requirements import Requirement

from tests.package import constraints


def test_all_that_ci_needs_is_pinned_within_its_range() -> None:
    pinned = constraints.pins(constraints.FILE.read_text().splitlines())
    found = list(constraints.faults(constraints.needed(), pinned))
    assert found == [], "make lock"


def test_what_is_missing_or_out_of_range_is_named() -> None:
    asked = [Requirement("numpy>=2"), Requirement("Absent_One"), Requirement("onnx[x]>=1,<2")]
    found = list(constraints.faults(asked, {"numpy": "1.26.4", "onnx": "1.20.0"}))
    assert found == ["numpy: 1.26.4 is not >=2", "Absent_One: it has no version"]


@pytest.mark.parametrize(
    "line", ["numpy>=2", "numpy", "numpy==2.0 ; python_version > '3'", "-i https://one/simple"]
)
def test_a_line_says_a_version_and_nothing_else(line: str) -> None:
    with pytest.raises(ValueError, match=r"not a name|Expected|Invalid"):
        constraints.pins([line])
