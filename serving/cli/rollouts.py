"""``serving rollout start`` and what follows it: commands about rollouts that a judge watches.

Exit status: 0 done, 1 refused or failed, 2 typed wrongly, 3 not done in time (it goes on).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from serving.cli import durations, options, shadows
from serving.cli.control import DEFAULT_URL, AdminPort, AdminUrl, TokenFile, model_path
from serving.cli.output import UserError, clean, print_json, print_line, print_table
from serving.cli.rollout_table import HEADERS, lines_of, row_of, watch
from serving.cli.tickets import NOT_YET, NoWait, Reason, Timeout

_UNDER_WAY = ("waiting", "running", "paused")

_Name = Annotated[str, typer.Argument(metavar="NAME", help="The model.")]


def start(
    name: _Name,
    version: Annotated[int, typer.Argument(metavar="VERSION", help="It takes over.", min=1)],
    base: Annotated[
        int | None,
        typer.Option(metavar="VERSION", help="From which; default: what answers now.", min=1),
    ] = None,
    steps: Annotated[
        str | None,
        typer.Option(metavar="PERCENT,...", help="Shares, as 1,5,25,50,100; the last one is 100."),
    ] = None,
    every: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long a step lasts, as 10m.")
    ] = None,
    min_requests: Annotated[
        int | None,
        typer.Option(metavar="N", help="Answers of it that a step takes at least.", min=1),
    ] = None,
    sticky: Annotated[
        str | None,
        typer.Option(
            metavar="KEY", help="A header whose value keeps a client on its version; '' for none."
        ),
    ] = None,
    no_wait: NoWait = False,
    timeout: Timeout = 60.0,
    admin_url: AdminUrl = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: options.Json = False,
) -> None:
    """Have a version take over step by step, judged all the while against the one that answers:
    rolled back where it is worse, promoted once it is shown to be sound."""
    said: dict[str, Any] = {
        "version": version,
        "base": base,
        "steps": None if steps is None else _shares(steps),
        "every": None if every is None else durations.seconds(every),
        "min_requests": min_requests,
        "sticky": sticky,
    }
    body = {key: value for key, value in said.items() if value is not None}
    port = AdminPort(admin_url, token_file)
    _tell(port.command(name, "rollout/start", body, not no_wait, timeout), no_wait, as_json)


def _verb(verb: str) -> Callable[..., None]:
    def run(
        name: _Name,
        reason: Reason = "",
        no_wait: NoWait = False,
        timeout: Timeout = 60.0,
        admin_url: AdminUrl = DEFAULT_URL,
        token_file: TokenFile = None,
        as_json: options.Json = False,
    ) -> None:
        port = AdminPort(admin_url, token_file)
        answer = port.command(name, f"rollout/{verb}", {"reason": reason}, not no_wait, timeout)
        _tell(answer, no_wait, as_json)

    return run


def status(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="One model, in full.")
    ] = None,
    watched: Annotated[
        bool, typer.Option("--watch", "-w", help="Go on showing it until it has ended.")
    ] = False,
    admin_url: AdminUrl = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: options.Json = False,
) -> None:
    """How far rollouts are and what they wait for: the last one of each model, or of one."""
    port = AdminPort(admin_url, token_file)

    def ask() -> list[dict[str, Any]]:
        if name is not None:
            return [port.get(f"{model_path(name)}/rollout")]
        found: list[dict[str, Any]] = port.get("/api/v1/rollouts")["rollouts"]
        return found

    if watched and not as_json:
        watch(ask, lambda rollouts: any(one["phase"] in _UNDER_WAY for one in rollouts), time.sleep)
        return
    try:
        found = ask()
    except UserError:
        # Without a rollout it may have shadows all the same.
        if name is None or as_json or not shadows.print_of(port, name):
            raise
        return
    if as_json:
        print_json(found[0] if name is not None else {"rollouts": found})
    elif name is not None:
        for line in lines_of(found[0], time.time()):
            print_line(clean(line))
        shadows.print_of(port, name)
    elif not found:
        print_line("no rollout is known; one begins with: serving rollout start NAME VERSION")
    else:
        print_table(HEADERS, [row_of(one) for one in found])


def _shares(text: str) -> list[int]:
    words = [word.strip().removesuffix("%") for word in text.split(",")]
    if not all(word.isascii() and word.isdecimal() and len(word) < 4 for word in words):
        raise UserError(f"steps are shares in percent, as 1,5,25,50,100; got '{clean(text)}'", 2)
    return [int(word) for word in words]


def _tell(answer: dict[str, Any], no_wait: bool, as_json: bool) -> None:
    """What became of a command; exit status 3 where that is not known yet."""
    if as_json:
        print_json(answer)
    else:
        for line in lines_of(answer["rollout"], time.time()):
            print_line(clean(line))
    if not answer["done"] and not no_wait:
        raise typer.Exit(NOT_YET)


_VERBS = {
    "pause": "Keep a rollout where it is; what is too bad is rolled back all the same.",
    "resume": "Let a paused rollout go on.",
    "promote": "Have the version answer all requests now, whatever the judge says.",
    "abort": "End a rollout: the version from before answers all requests.",
}


def add_to(app: typer.Typer) -> None:
    """The commands in their order."""
    app.command()(start)
    app.command()(status)
    for verb, words in _VERBS.items():
        app.command(verb, help=words)(_verb(verb))
