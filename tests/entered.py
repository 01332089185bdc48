"""Which functions of ``serving`` the tests' own processes enter: a figure for `make test`.

As a module of it is imported, each of its functions gets one assignment more, at its beginning.
That costs a tenth of what line coverage does (docs/decisions/0018). Not seen is what runs in
processes of other programs: the gateways that tests start, their children, and commands.
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

ROOT = Path(__file__).parents[1] / "serving"
_HITS = "_entered_"
Function = tuple[str, int]


class Entered(MetaPathFinder):
    """Imports ``package`` so that it notes which functions run. ``hits``: a byte for each of
    ``functions``, (file, line)."""

    def __init__(self, package: str) -> None:
        self._package = package
        self.functions: list[Function] = []
        self.hits = bytearray()

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: object = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] != self._package:
            return None
        spec = PathFinder.find_spec(name, path)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _Loader(self, spec.loader.name, spec.loader.path)
        return spec

    def compiled(self, source: bytes, path: str) -> CodeType:
        tree = ast.parse(source, path)
        for function in functions_of(tree):
            hit = ast.parse(f"{_HITS}[{len(self.functions)}] = 1").body[0]
            for node in ast.walk(hit):
                ast.copy_location(node, function.body[0])
            # After its docstring, which must come first.
            function.body.insert(ast.get_docstring(function, clean=False) is not None, hit)
            self.functions.append((path, function.lineno))
            self.hits.append(0)
        code: CodeType = compile(tree, path, "exec", dont_inherit=True)
        return code

    def entered(self) -> list[Function]:
        pairs = zip(self.functions, self.hits, strict=True)
        return [function for function, hit in pairs if hit]


class _Loader(SourceFileLoader):
    def __init__(self, entered: Entered, name: str, path: str) -> None:
        super().__init__(name, path)
        self._entered = entered

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self._entered.compiled(self.get_data(path), path)


def functions_of(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Those that do anything: no protocol's methods, nor overloads."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            only = [one for one in node.body if not isinstance(one, ast.Expr)]
            called = any(isinstance(one, ast.Expr) and _does(one) for one in node.body)
            if only or called:
                yield node


def _does(statement: ast.Expr) -> bool:
    return not isinstance(statement.value, ast.Constant)


def all_functions(folder: Path) -> int:
    files = folder.rglob("*.py")
    return sum(sum(1 for _ in functions_of(ast.parse(file.read_bytes()))) for file in files)


class Plugin:
    """Adds up what this process and pytest-xdist's have entered."""

    def __init__(self, entered: Entered) -> None:
        self._entered = entered
        self._found: set[Function] = set()

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output["entered"] = self._entered.entered()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self._add(getattr(node, "workeroutput", {}).get("entered", ()))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        self._add(self._entered.entered())
        found, all_ = len(self._found), all_functions(ROOT)
        terminalreporter.write_line(
            f"functions of serving/ that ran in the tests' own processes: {found} of {all_}"
            f" ({found / all_:.0%}); gateways and commands run in others"
        )

    def _add(self, functions: Iterable[Sequence[Any]]) -> None:
        self._found.update((path, line) for path, line in functions)


def pytest_configure(config: pytest.Config) -> None:
    assert ROOT.name not in sys.modules, "it is imported already"
    entered = Entered(ROOT.name)
    setattr(builtins, _HITS, entered.hits)
    sys.meta_path.insert(0, entered)
    config.pluginmanager.register(Plugin(entered), "entered functions")
