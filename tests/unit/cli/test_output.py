"""How commands print."""

from __future__ import annotations

import errno
import io

import pytest

import serving.cli
from serving.cli.output import UserError, clean, print_line, print_table, styled


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


def test_what_a_server_says_makes_no_line_of_its_own_and_moves_no_cursor(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "no alias 'a'; its aliases: b\u2028serving: done\u202e, c\x1b[2J, d\x85e"

    def refuse() -> None:
        raise UserError(f"first\n{said}")

    monkeypatch.setattr(serving.cli, "app", refuse)
    monkeypatch.setattr("serving.cli.standard_streams.prepare", lambda: None)
    monkeypatch.setattr("serving.cli.inherited.put_right", lambda: None)
    with pytest.raises(SystemExit):
        serving.cli.main()
    told = capsys.readouterr().err
    assert told.splitlines() == ["serving: first", f"serving: {clean(said)}"]
    assert told.replace("\n", "").isprintable()


def test_names_in_a_line_or_a_list_move_no_cursor_and_stay_as_they_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_line("note: 'é\x1b[2J\x9b31m'")
    print_table(["NAMES"], [[["ü", "\x1b]0;x\x07"]]])
    assert capsys.readouterr().out.splitlines() == [
        r"note: 'é\x1b[2J\x9b31m'",
        "NAMES",
        r"ü, \x1b]0;x\x07",
    ]
