"""What commands about models share: how long they wait, and how they tell what came of it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from serving.cli.output import UserError, clean, print_json, print_line
from serving.cli.status import alias_lines, default_words, split_lines

NOT_YET = 3

NoWait = Annotated[bool, typer.Option("--no-wait", help="Don't wait for the end.")]
Timeout = Annotated[
    float, typer.Option(metavar="SECONDS", help="How long to wait.", min=0.1, max=3600)
]

Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the history.")]


def version_number(text: str) -> int:
    """Raises UserError for what is no version."""
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 2**63):
        raise UserError(f"a version is a positive integer, got '{clean(text)}'", code=2)
    return int(text)


def tell(answer: dict[str, Any], name: str, no_wait: bool, as_json: bool) -> None:
    """What became of a command; exit status 3 where that is not known yet."""
    if as_json:
        print_json(answer)
    elif not answer["done"]:
        print_line(f"{clean(name)}: under way; 'serving models status' shows how far it is")
    else:
        known = answer["model"]
        words = default_words(known) if known else "no version of it is left"
        print_line(f"{clean(name)}: done; {words}")
        for line in (*split_lines(known or {}), *alias_lines(known or {})):
            print_line(f"  {clean(line)}")
        if known and known["reason"]:
            print_line(f"  {clean(known['reason'])}")
    if not answer["done"] and not no_wait:
        raise typer.Exit(NOT_YET)
