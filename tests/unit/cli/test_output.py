"""How commands print."""

from __future__ import annotations

import errno
import io

import pytest

from serving.cli.output import styled


class HungUp(io.StringIO):
    """A terminal whose other end has gone, and that hasn't been told yet."""

    def isatty(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        raise OSError(errno.EIO, "Input/output error")

    def flush(self) -> None:
        raise OSError(errno.EIO, "Input/output error")


def test_styling_a_line_touches_no_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", HungUp())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    long = "a line that is pasted " * 20
    assert styled(long) == long
    assert styled(long, "green") == f"\x1b[32m{long}\x1b[0m"


def test_who_wants_no_colour_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", HungUp())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert styled("a line", "green") == "a line"
