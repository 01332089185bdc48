"""How commands print: rich on a terminal, plain text otherwise; and how they fail."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from typing import Any


class UserError(Exception):
    """Ends a command with one line for each thing that is wrong.

    ``code``: 2 for what was typed or set wrongly, 1 for everything else.
    """

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        # At nothing else that ends lines: of names it may be a part.
        self.lines = message.split("\n")
        self.code = code


def print_json(value: object) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def styled(text: str, style: str = "") -> str:
    """``text`` as it is to be printed: in colour on a terminal, never wrapped, so that it
    can be pasted."""
    if not style or not sys.stdout.isatty():
        return text
    from rich.console import Console

    # Apart from the stream, which rich would flush: a terminal may have hung up meanwhile.
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, soft_wrap=True)
    console.print(text, style=style, markup=False, highlight=False, end="")
    return out.getvalue()


def print_line(text: str, style: str = "") -> None:
    """One line, styled; names in it may be others' words."""
    print(styled(clean(text), style), flush=True)


def print_table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table; plain columns when stdout is no terminal, nothing cut off."""
    cells = [[cell(value) for value in row] for row in rows]
    if sys.stdout.isatty():
        _print_rich(headers, cells)
        return
    widths = [max(len(row[i]) for row in [list(headers), *cells]) for i in range(len(headers))]
    for row in [list(headers), *cells]:
        pairs = zip(row, widths, strict=True)
        print("  ".join(cell.ljust(width) for cell, width in pairs).rstrip())


def _print_rich(headers: Sequence[str], cells: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for header in headers:
        table.add_column(header, overflow="fold")
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def cell(value: Any) -> str:
    """A value as a table shows it, in one line."""
    if value is None:
        return "-"
    if isinstance(value, (tuple, list)):
        return ", ".join(clean(str(item)) for item in value) or "-"
    return clean(str(value))


def clean(text: str) -> str:
    """In one line, without what a terminal would obey or not show."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
