"""The chart library that the build fetches: the pinned one or none, and never an error."""

from __future__ import annotations

import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from deploy.pages import fetch_charts


def archive(folder: Path, **files: int) -> Path:
    """An archive with files of such sizes."""
    path = folder / "package.tgz"
    with tarfile.open(path, "w:gz") as opened:
        for name, size in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = size
            opened.addfile(entry, BytesIO(b"x" * size))
    return path


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(fetch_charts, "BUNDLE", tmp_path / "bundle")
    return tmp_path / "bundle"


def npm(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """The only program there is, beside what a shell has."""
    program = folder / "npm"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")


def test_without_npm_it_is_said_in_a_line(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    fetch_charts.main()
    said = capsys.readouterr().out
    assert said == "   the console will show tables: no chart library (npm is not installed)\n"
    assert not bundle.exists()


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo other > uplot.tgz", "another hash than is pinned"),
        ("echo 'no registry' >&2; exit 1", "no registry"),
    ],
)
def test_what_is_not_what_is_pinned_is_not_taken(
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    script: str,
    words: str,
) -> None:
    npm(tmp_path, monkeypatch, script)
    fetch_charts.main()
    assert words in capsys.readouterr().out
    assert not bundle.exists()


def test_a_package_without_its_files_or_with_huge_ones_leaves_no_mark(
    bundle: Path, tmp_path: Path
) -> None:
    with pytest.raises(KeyError):
        fetch_charts.unpack(archive(tmp_path, readme=1), bundle)
    huge = dict.fromkeys(fetch_charts.FILES, fetch_charts.MOST_BYTES + 1)
    with pytest.raises(ValueError, match="bytes"):
        fetch_charts.unpack(archive(tmp_path, **huge), bundle)
    assert not fetch_charts.is_there()


def test_what_was_unpacked_is_not_fetched_again(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch_charts.unpack(archive(tmp_path, **dict.fromkeys(fetch_charts.FILES, 3)), bundle)
    assert {path.name for path in bundle.iterdir()} == {
        *fetch_charts.FILES.values(),
        fetch_charts.MARK,
    }
    assert fetch_charts.is_there()
    npm(tmp_path, monkeypatch, "exit 1")
    fetch_charts.main()
    assert fetch_charts.is_there()
