"""Fault 109: files that users put in place are opened in one way, which never waits."""

from __future__ import annotations

import ast
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

import serving
from serving.user_files import NotRegularError, TooLargeError, open_file, read_file

SOURCE = Path(serving.__file__).parent
# "# file: why it is none that a user has put in place" on a line of the call.
REASON = re.compile(r"#.*\bfile: \w")
# Calls that open a file by its path, by name or, with a dot before, as anybody's method.
OPENERS = frozenset(
    {
        *("open", ".open", ".read_text", ".read_bytes"),
        *("np.load", "np.loadtxt", "np.fromfile", "np.memmap", "onnx.load"),
        *("shutil.copy", "shutil.copy2", "shutil.copyfile", "shutil.copytree", "shutil.move"),
        *("zipfile.ZipFile", "tarfile.TarFile"),
    }
)


def _openers(source: str) -> Iterator[tuple[int, str]]:
    """(line, what is called) of every call that opens a file in another way, unexcused."""
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        method = f".{node.func.attr}" if isinstance(node.func, ast.Attribute) else ""
        if called not in OPENERS and method not in OPENERS:
            continue
        given = lines[node.lineno - 1 : node.end_lineno]
        if not any(REASON.search(line) for line in given):
            yield node.lineno, called


def test_fault_109_nothing_else_opens_files() -> None:
    found = [
        f"{path.relative_to(SOURCE.parent)}:{line}: {called}"
        for path in sorted(SOURCE.rglob("*.py"))
        if path.name != "user_files.py"
        for line, called in _openers(path.read_text())
    ]
    assert not found, (
        "files that users have put in place are opened by serving.user_files; of others the"
        " line says so ('# file: why'):\n" + "\n".join(found)
    )


@pytest.mark.parametrize(
    "source",
    [
        "open(path)",
        "with path.open() as f:\n    pass",
        "Path(name).read_bytes()",
        "os.open(path, os.O_RDONLY)",
        "x = np.load(path)",
        "shutil.copy(a, b)",
        "open(path)  # file:",
    ],
)
def test_the_search_finds_what_it_looks_for(source: str) -> None:
    assert len(list(_openers(source))) == 1


def test_the_search_takes_a_reason() -> None:
    assert not list(_openers("open(path)  # file: the kernel's"))


@pytest.fixture
def odd(tmp_path: Path) -> Iterator[dict[str, Path]]:
    """Name -> what is no regular file, in many ways."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "socket"))
        names = ("fifo", "folder", "link", "socket")
        yield {name: tmp_path / name for name in names} | {"device": Path("/dev/zero")}


@pytest.mark.parametrize("name", ["fifo", "folder", "link", "socket", "device"])
def test_fault_109_only_a_regular_file_is_opened(odd: dict[str, Path], name: str) -> None:
    with pytest.raises(NotRegularError, match="not a regular file") as caught:
        open_file(odd[name])
    assert caught.value.filename is None


def test_a_file_is_read_whole_and_within_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"12345")
    assert read_file(path, 5) == b"12345"
    with pytest.raises(TooLargeError, match="more than 4 bytes") as caught:
        read_file(path, 4)
    assert caught.value.size == 5
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "none", 4)


def test_a_link_is_followed_only_where_that_is_meant(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"1")
    (tmp_path / "link").symlink_to(tmp_path / "x")
    assert read_file(tmp_path / "link", 1) == b"1"
    with pytest.raises(OSError, match="symbolic links"):
        read_file(tmp_path / "link", 1, follow=False)
