"""What decides knows the core by its types alone. Its other imports are the import linter's affair,
which does not see compiled modules."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[3]


def _pure_modules() -> list[str]:
    pyproject = tomllib.loads((_ROOT / "pyproject.toml").read_text())
    contracts = pyproject["tool"]["importlinter"]["contracts"]
    (pure,) = (one for one in contracts if one["name"].startswith("What decides"))
    return list(pure["source_modules"])


def _files(module: str) -> list[Path]:
    path = _ROOT / module.replace(".", "/")
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def _imports(tree: ast.AST) -> Iterator[str]:
    """What is imported when the module runs, whole names."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{name.name}" for name in node.names)
        yield from _imports(node)


def _asks_the_core(text: str) -> bool:
    return any(f"{name}.".startswith("serving._core.") for name in _imports(ast.parse(text)))


@pytest.mark.parametrize("module", _pure_modules())
def test_what_decides_does_not_ask_the_core(module: str) -> None:
    asking = [file.name for file in _files(module) if _asks_the_core(file.read_text())]
    assert asking == []


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("from serving import _core", True),
        ("from serving._core import Queue", True),
        ("def f():\n    import serving._core", True),
        ("if TYPE_CHECKING:\n    from serving import _core", False),
        ("from serving import errors", False),
    ],
)
def test_the_core_is_seen_however_it_is_imported(text: str, asks: bool) -> None:
    assert _asks_the_core(text) is asks
