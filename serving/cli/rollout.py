"""``serving rollout``: how a model's requests are divided among its versions.

Exit status as that of ``serving models``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from serving.cli import options, rollouts, shadows
from serving.cli.control import DEFAULT_URL, AdminPort, AdminUrl, TokenFile, model_path
from serving.cli.output import UserError, clean, print_json, print_line, print_table
from serving.cli.status import alias_lines, when
from serving.cli.tickets import NoWait, Reason, Timeout, tell, version_number

app = typer.Typer(
    no_args_is_help=True,
    help="Have versions of a running gateway's models take over step by step, or divide requests"
    " among them; and show how that stands.",
)
rollouts.add_to(app)
shadows.add_to(app)
_Name = Annotated[str, typer.Argument(metavar="MODEL", help="The model.")]


@app.command()
def weights(
    name: _Name,
    shares: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="VERSION=WEIGHT...", help="Parts of their sum, as 3=95 4=5; 0: only loaded."
        ),
    ] = None,
    clear: Annotated[
        bool, typer.Option("--clear", help="Divide nothing any more: the default has all.")
    ] = False,
    sticky: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Who sends the same value of this header, metadata key or parameter again gets"
            " the same version; '': everybody draws anew.",
        ),
    ] = None,
    reason: Reason = "",
    no_wait: NoWait = False,
    timeout: Timeout = 60.0,
    admin_url: AdminUrl = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: options.Json = False,
) -> None:
    """Divide the requests that name no version; they are loaded first where they are not."""
    body = _body(shares or [], clear, sticky)
    answer = AdminPort(admin_url, token_file).command(
        name, "route", {**body, "reason": reason}, not no_wait, timeout
    )
    tell(answer, name, no_wait, as_json)


@app.command()
def show(
    name: _Name,
    admin_url: AdminUrl = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: options.Json = False,
) -> None:
    """Which version of a model answers whom now."""
    port = AdminPort(admin_url, token_file)
    route = port.get(f"{model_path(name)}/route")
    if as_json:
        print_json(route)
        return
    for line in _route_lines(route):
        print_line(clean(line))
    print_table(("VERSION", "WEIGHT", "SHARE NOW"), _rows(route))
    shadows.print_of(port, name)


@app.command()
def history(
    name: _Name,
    admin_url: AdminUrl = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: options.Json = False,
) -> None:
    """Who or what changed a model's route, when and why, oldest first."""
    answer = AdminPort(admin_url, token_file).get(f"{model_path(name)}/route/history")
    if as_json:
        print_json(answer)
        return
    rows = [(when(e["at"]), e["by"] or "-", e["what"], e["reason"]) for e in answer["changes"]]
    print_table(("TIME", "BY", "WHAT", "REASON"), rows)


def _body(shares: Sequence[str], clear: bool, sticky: str | None) -> dict[str, Any]:
    """Raises UserError for what can't be meant."""
    if clear and shares:
        raise UserError("give weights, or --clear", code=2)
    if not (clear or shares or sticky is not None):
        raise UserError("give weights, as 3=95 4=5; --clear ends them", code=2)
    body: dict[str, Any] = {} if sticky is None else {"sticky": sticky}
    return body | ({"weights": _weights(shares)} if clear or shares else {})


def _weights(shares: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for text in shares:
        version, _, weight = text.partition("=")
        if not (weight.isascii() and weight.isdecimal() and len(weight) < 10):
            raise UserError(f"expected VERSION=WEIGHT, as 4=5, got '{clean(text)}'", code=2)
        number = str(version_number(version))
        if number in found:
            raise UserError(f"version {number} is given twice", code=2)
        found[number] = int(weight)
    return found


def _route_lines(route: dict[str, Any]) -> Iterator[str]:
    yield str(route["name"])
    default, pin = route["default"], route["pin"]
    if default is None:
        yield "  no version answers requests that name none"
    elif pin is not None:
        yield f"  pinned to version {pin}; version {default} answers requests that name none"
    elif route["weights"]:
        key = route["sticky"]
        kept = f"; who sends the same {key} keeps a version" if key else ""
        yield f"  requests that name no version are divided{kept}"
    else:
        yield f"  version {default} answers requests that name none"
    for line in alias_lines(route):
        yield f"  {line}"


def _rows(route: dict[str, Any]) -> list[tuple[str, object, str]]:
    weights, shares = route["weights"], route["shares"]
    versions = sorted({*weights, *shares}, key=int)
    return [(v, weights.get(v), f"{100 * shares.get(v, 0.0):.4g} %") for v in versions]
