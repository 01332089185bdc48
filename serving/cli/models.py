"""``serving models``: the list, and the commands that change what is served.

Exit status: 0 done, 1 refused or failed, 2 typed wrongly, 3 not done in time (it goes on).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from serving.cli import options
from serving.cli.control import DEFAULT_URL, AdminPort, AdminUrl, TokenFile, model_path
from serving.cli.model_list import COMMAND, ListsByDefault, list_models
from serving.cli.output import UserError, clean, print_json, print_line, print_table
from serving.cli.status import alias_lines, default_words, status_lines, when

NOT_YET = 3

app = typer.Typer(
    cls=ListsByDefault,
    help="List a running gateway's models, or load, unload, pin and roll back versions."
    " Without a command it lists: `serving models --state failed 'fraud-*'`.",
)
_Name = Annotated[str, typer.Argument(metavar="NAME", help="The model.")]
_Version = Annotated[str | None, typer.Argument(metavar="[VERSION]", help="One version only.")]
_NoWait = Annotated[bool, typer.Option("--no-wait", help="Don't wait for the end.")]
_Timeout = Annotated[
    float, typer.Option(metavar="SECONDS", help="How long to wait.", min=0.1, max=3600)
]


app.command(COMMAND)(list_models)


@app.command()
def load(
    name: _Name,
    version: _Version = None,
    no_wait: _NoWait = False,
    timeout: _Timeout = 60.0,
    admin_url: AdminUrl = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: options.Json = False,
) -> None:
    """Load what is on disk now: one version, or what the version policy wants."""
    body = {} if version is None else {"version": _number(version)}
    port = AdminPort(admin_url, token_file)
    _tell(port.command(name, "load", body, not no_wait, timeout), name, no_wait, as_json)


@app.command()
def unload(
    name: _Name,
    version: _Version = None,
    no_wait: _NoWait = False,
    timeout: _Timeout = 60.0,
    admin_url: AdminUrl = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: options.Json = False,
) -> None:
    """Let go of one version, or of all of them, the last one too."""
    body = {} if version is None else {"version": _number(version)}
    port = AdminPort(admin_url, token_file)
    _tell(port.command(name, "unload", body, not no_wait, timeout), name, no_wait, as_json)


@app.command()
def default(
    name: _Name,
    version: Annotated[
        str, typer.Argument(metavar="VERSION", help="A version, or 'auto': the newest ready one.")
    ],
    no_wait: _NoWait = False,
    timeout: _Timeout = 60.0,
    admin_url: AdminUrl = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: options.Json = False,
) -> None:
    """Pin the version that answers unnamed requests, or end the pin with 'auto'."""
    chosen: int | Literal["auto"] = "auto" if version == "auto" else _number(version)
    port = AdminPort(admin_url, token_file)
    answer = port.command(name, "default", {"version": chosen}, not no_wait, timeout)
    _tell(answer, name, no_wait, as_json)


@app.command()
def accept(
    name: _Name,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="The version held back.")],
    no_wait: _NoWait = False,
    timeout: _Timeout = 60.0,
    admin_url: AdminUrl = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: options.Json = False,
) -> None:
    """Let a version answer unnamed requests that was held back for its signature."""
    body = {"version": _number(version)}
    port = AdminPort(admin_url, token_file)
    _tell(port.command(name, "accept", body, not no_wait, timeout), name, no_wait, as_json)


@app.command()
def label(
    name: _Name,
    alias: Annotated[str, typer.Argument(metavar="ALIAS", help="Such as stable, or champion.")],
    version: Annotated[str, typer.Argument(metavar="VERSION", help="A version that is ready.")],
    no_wait: _NoWait = False,
    timeout: _Timeout = 60.0,
    admin_url: AdminUrl = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: options.Json = False,
) -> None:
    """Give a version another name, an alias (or label); one that is taken moves there."""
    body = {"alias": alias, "version": _number(version)}
    port = AdminPort(admin_url, token_file)
    _tell(port.command(name, "label", body, not no_wait, timeout), name, no_wait, as_json)


@app.command()
def unlabel(
    name: _Name,
    alias: Annotated[str, typer.Argument(metavar="ALIAS", help="The alias.")],
    no_wait: _NoWait = False,
    timeout: _Timeout = 60.0,
    admin_url: AdminUrl = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: options.Json = False,
) -> None:
    """Take an alias away."""
    body = {"alias": alias, "version": None}
    port = AdminPort(admin_url, token_file)
    _tell(port.command(name, "label", body, not no_wait, timeout), name, no_wait, as_json)


@app.command()
def rollback(
    name: _Name,
    no_wait: _NoWait = False,
    timeout: _Timeout = 60.0,
    admin_url: AdminUrl = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: options.Json = False,
) -> None:
    """Answer with the version that answered before, and pin it."""
    port = AdminPort(admin_url, token_file)
    _tell(port.command(name, "rollback", {}, not no_wait, timeout), name, no_wait, as_json)


@app.command()
def status(
    name: _Name,
    admin_url: AdminUrl = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: options.Json = False,
) -> None:
    """One model: states, reasons, what answers, batching, cost, memory, origin."""
    model = AdminPort(admin_url, token_file).get(model_path(name))
    if as_json:
        print_json(model)
        return
    for line in status_lines(model):
        print_line(clean(line))


@app.command()
def history(
    name: _Name,
    admin_url: AdminUrl = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: options.Json = False,
) -> None:
    """What happened to a model's versions lately and which was to answer, oldest first."""
    answer = AdminPort(admin_url, token_file).get(f"{model_path(name)}/history")
    rows = [(when(e["at"]), e["version"], e["state"], e["reason"]) for e in answer["events"]]
    if as_json:
        print_json(answer)
    else:
        print_table(("TIME", "VERSION", "WHAT", "REASON"), rows)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 2**63):
        raise UserError(f"a version is a positive integer, got '{clean(text)}'", code=2)
    return int(text)


def _tell(answer: dict[str, Any], name: str, no_wait: bool, as_json: bool) -> None:
    """What became of a command; exit status 3 where that is not known yet."""
    if as_json:
        print_json(answer)
    elif not answer["done"]:
        print_line(f"{clean(name)}: under way; 'serving models status' shows how far it is")
    else:
        known = answer["model"]
        words = default_words(known) if known else "no version of it is left"
        print_line(f"{clean(name)}: done; {words}")
        for line in alias_lines(known or {}):
            print_line(f"  {clean(line)}")
        if known and known["reason"]:
            print_line(f"  {clean(known['reason'])}")
    if not answer["done"] and not no_wait:
        raise typer.Exit(NOT_YET)
