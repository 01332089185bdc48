"""The figure of `make test`: functions that were entered, and no others."""

from __future__ import annotations

import ast
import builtins
import importlib
import sys
from pathlib import Path

import pytest

from tests import entered

SOURCE = '''
"""A module."""
from __future__ import annotations

def asked(x: int) -> int:
    """Its words."""
    def inner() -> int:
        return x + 1
    return inner()

def never() -> None:
    raise ValueError

class Said:
    def declared(self) -> int: ...

    async def waits(self) -> int:
        return 1
'''


def test_what_ran_is_noted_and_the_code_is_otherwise_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "watched_package.py").write_text(SOURCE)
    finder = entered.Entered("watched_package")
    monkeypatch.setattr(builtins, entered._HITS, finder.hits, raising=False)
    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("watched_package")
    monkeypatch.delitem(sys.modules, "watched_package")
    assert (module.__doc__, module.asked.__doc__) == ("A module.", "Its words.")
    assert finder.entered() == []
    assert module.asked(1) == 2
    lines = sorted(line for _, line in finder.entered())
    names = {one.lineno: one.name for one in entered.functions_of(ast.parse(SOURCE))}
    assert [names[line] for line in lines] == ["asked", "inner"]
    assert sorted(names.values()) == ["asked", "inner", "never", "waits"]
    assert len(finder.functions) == entered.all_functions(tmp_path)
