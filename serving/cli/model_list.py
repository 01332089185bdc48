"""``serving models [NAME]...``: the list, of all models or of those that are asked for."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from serving.cli import options
from serving.cli.control import DEFAULT_URL, AdminPort, AdminUrl, TokenFile
from serving.cli.listing import print_models
from serving.cli.output import UserError, print_json
from serving.models.model_state import ModelState

COMMAND = "list"
_WILD = frozenset("*?[")


class ListsByDefault(TyperGroup):
    """Takes what names no command for the list's names and options."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        given = args[0] if args else ""
        if given in self.commands or given in ctx.help_option_names or ctx.resilient_parsing:
            return super().parse_args(ctx, args)
        if given.startswith("-") and (late := next((a for a in args if a in self.commands), None)):
            # Options before the command would be passed over in silence.
            raise UserError(f"options come after '{late}'", code=2)
        return super().parse_args(ctx, [COMMAND, *args])


def list_models(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...", help="Only these models; 'fraud-*' means what it does in a shell."
        ),
    ] = None,
    state: Annotated[
        list[ModelState] | None,
        typer.Option(help="Only models of which this is true; of several, one of them."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="So many models at most.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also versions that are on disk and not loaded.")
    ] = False,
    admin_url: AdminUrl = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: options.Json = False,
) -> None:
    """List models with their versions and states: all of them, or those named."""
    asked, states = names or [], state or []
    found, extent = AdminPort(admin_url, token_file).models(asked, states, limit)
    if as_json:
        print_json(found)
    else:
        print_models(found, everything=everything, extent=extent)
    if not extent.cut and (absent := _absent(asked, found)):
        commands = list(getattr(context.parent and context.parent.command, "commands", ()))
        raise UserError("\n".join(_absent_words(name, states, commands) for name in absent))


def _absent(asked: Sequence[str], found: Sequence[dict[str, Any]]) -> list[str]:
    """The names of which no model was found. That nothing matches a pattern is an answer."""
    there = {model["name"] for model in found}
    return [name for name in asked if name not in there and not _WILD.intersection(name)]


def _absent_words(name: str, states: Sequence[ModelState], commands: Sequence[str]) -> str:
    shown = name if name.isprintable() else name.encode("unicode_escape").decode("ascii")
    if states:
        return f"no model '{shown}' is {' or '.join(states)}"
    near = difflib.get_close_matches(name, commands, 1)
    hint = f", nor a command; did you mean '{near[0]}'?" if near else ""
    return f"there is no model '{shown}'{hint}"
