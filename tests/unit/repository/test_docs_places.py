"""Files and folders that the pages for people who work on the code name are there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGES = ("docs/architecture.md", "docs/glossary.md", "CONTRIBUTING.md")
# What commands make, and what is large.
MADE = ("target", "build", "dist", "__pycache__", "shared")
# `trial.py`, `models/state.py`, `queue/`; with or without the folders before.
PLACE = re.compile(r"`(\w[\w./]*(?:\.(?:py|pyi|rs|md|proto|txt|toml)|/))`")
HEADING = "our word"


@pytest.mark.parametrize("page", PAGES)
def test_every_place_that_is_named_exists(page: str) -> None:
    text = (ROOT / page).read_text()
    named = PLACE.findall(text)
    assert named
    assert [place for place in named if f"/{place}" not in _ends()] == []


def test_the_glossary_explains_each_word_once() -> None:
    lines = (ROOT / "docs/glossary.md").read_text().splitlines()
    rows = [line.split("|")[1].strip() for line in lines if line.startswith("| ")]
    rows = [row for row in rows if row != HEADING]
    words = [word for row in rows for word in row.split(", ")]
    assert len(words) > 100
    assert sorted(words) == sorted(set(words))


@cache
def _ends() -> frozenset[str]:
    """Every path below the root, whole and without its first parts."""
    return frozenset(end for path in _paths() for end in _shorter(path))


def _paths() -> Iterator[str]:
    for folder, below, files in os.walk(ROOT):
        below[:] = [name for name in below if name not in MADE and not name.startswith(".")]
        place = Path(folder).relative_to(ROOT)
        yield from (f"/{place / name}" for name in files)
        yield from (f"/{place / name}/" for name in below)


def _shorter(path: str) -> Iterator[str]:
    for at, sign in enumerate(path[:-1]):
        if sign == "/":
            yield path[at:]
