"""``docs/faults.md`` knows every fault that the sources cite, and names tests that there are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "faults.md"
SOURCES = (
    ("serving", "*.py"),
    ("tests", "*.py"),
    ("core/engine/src", "*.rs"),
    ("core/seam/src", "*.rs"),
    ("core/fuzz", "*.rs"),
)
ROW = re.compile(r"^\| (C?\d+) \|", re.MULTILINE)
NAMED = re.compile(r"`((?:test_|faults?_)\w+|\w+_\w+_\w+)`")
FUNCTION = re.compile(r"\b(?:def|fn) (\w+)\(")
# As in fault_9_..., faults_4_and_84_..., fault_12_62_...; of fault_40_70000_... the first only.
NUMBERED = re.compile(r"faults?_(\d+(?:_and_\d+|_\d\d(?!\d))*)_")
# "fault 9", "Faults 12, 62 and 88", "faults 51, 58-60", "fact C14".
IN_WORDS = re.compile(r"[Ff]a(?:ult|ct)s? (C?\d+(?:(?:, and |, | and | to |-)C?\d+)*)")


def test_every_fault_that_is_cited_has_a_row() -> None:
    rows = set(ROW.findall(PAGE.read_text()))
    cited = {number for text in _sources() for number in _cited(text)}
    assert len(cited) > 100
    assert cited - rows == set()


def test_rows_are_in_order_and_none_is_left_out() -> None:
    rows = ROW.findall(PAGE.read_text())
    faults = [int(row) for row in rows if row.isdigit()]
    assert faults == list(range(1, len(faults) + 1))
    facts = [int(row[1:]) for row in rows if not row.isdigit()]
    assert facts == list(range(1, len(facts) + 1))


def test_every_test_that_is_named_exists() -> None:
    there = {name for text in _sources() for name in FUNCTION.findall(text)}
    assert set(NAMED.findall(PAGE.read_text())) - there == set()


def test_every_row_names_a_test_and_a_numbered_test_stands_in_its_own() -> None:
    for line in PAGE.read_text().splitlines():
        if row := ROW.match(line):
            names = NAMED.findall(line)
            assert names, line
            for name in names:
                numbers = {number for found in NUMBERED.findall(name) for number in _each(found)}
                # What is a fact of onnxruntime's is held by tests of the fault that it makes.
                assert row[1].startswith("C") or not numbers or row[1] in numbers, (row[1], name)


@cache
def _sources() -> tuple[str, ...]:
    return tuple(
        path.read_text()
        for folder, pattern in SOURCES
        for path in sorted((ROOT / folder).rglob(pattern))
        if path != Path(__file__) and "target" not in path.parts
    )


def _cited(text: str) -> Iterator[str]:
    for found in NUMBERED.findall(text):
        yield from _each(found)
    for found in IN_WORDS.findall(text):
        yield from _each(found)


def _each(found: str) -> list[str]:
    return re.findall(r"C?\d+", found)
