"""``serving models``: the list, and the commands that change what is served.

Exit status: 0 done, 1 refused or failed, 2 typed wrongly, 3 not done in time (it goes on).
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, Signature, signature
from typing import Annotated, Any

import typer

from serving.cli import options
from serving.cli.control import DEFAULT_URL, AdminPort, AdminUrl, TokenFile, model_path
from serving.cli.model_list import COMMAND, ListsByDefault, list_models
from serving.cli.output import clean, print_json, print_line, print_table
from serving.cli.sources import sources, trouble_lines
from serving.cli.status import status_lines, when
from serving.cli.tickets import NoWait, Reason, Timeout, tell, version_number

app = typer.Typer(
    cls=ListsByDefault,
    help="List a running gateway's models, or load, unload, pin and roll back versions."
    " Without a command it lists: `serving models --state failed 'fraud-*'`.",
)
_Name = Annotated[str, typer.Argument(metavar="NAME", help="The model.")]
_Version = Annotated[str | None, typer.Argument(metavar="[VERSION]", help="One version only.")]
_Body = dict[str, Any]
_BY_NAME = Parameter.KEYWORD_ONLY


app.command(COMMAND)(list_models)
app.command("sources")(sources)


def _command(verb: str) -> Callable[[Callable[..., _Body]], Callable[..., None]]:
    """Make a command, which the admin port has as ``verb``, of what says its body from its own
    arguments: the model goes before these, the options that all of them have follow."""

    def made(body: Callable[..., _Body]) -> Callable[..., None]:
        def run(
            name: _Name,
            no_wait: NoWait = False,
            timeout: Timeout = 60.0,
            admin_url: AdminUrl = DEFAULT_URL,
            token_file: TokenFile = None,
            as_json: options.Json = False,
            **own: Any,
        ) -> None:
            said = body(**own)
            port = AdminPort(admin_url, token_file)
            tell(port.command(name, verb, said, not no_wait, timeout), name, no_wait, as_json)

        # What typer reads.
        first, *common, _ = signature(run, eval_str=True).parameters.values()
        every = [first, *signature(body, eval_str=True).parameters.values(), *common]
        vars(run)["__signature__"] = Signature([one.replace(kind=_BY_NAME) for one in every])
        run.__annotations__ = {one.name: one.annotation for one in every}
        return app.command(body.__name__, help=body.__doc__)(run)

    return made


@_command("load")
def load(version: _Version = None) -> _Body:
    """Load what is on disk now: one version, or what the version policy wants."""
    return {} if version is None else {"version": version_number(version)}


@_command("unload")
def unload(version: _Version = None) -> _Body:
    """Let go of one version, or of all of them, the last one too."""
    return {} if version is None else {"version": version_number(version)}


@_command("default")
def default(
    version: Annotated[
        str, typer.Argument(metavar="VERSION", help="A version, or 'auto': the newest ready one.")
    ],
    reason: Reason = "",
) -> _Body:
    """Pin the version that answers unnamed requests, or end the pin with 'auto'."""
    return {"version": "auto" if version == "auto" else version_number(version), "reason": reason}


@_command("accept")
def accept(
    version: Annotated[str, typer.Argument(metavar="VERSION", help="The version held back.")],
) -> _Body:
    """Let a version answer unnamed requests that was held back for its signature."""
    return {"version": version_number(version)}


@_command("bless")
def bless(
    version: Annotated[
        str, typer.Argument(metavar="VERSION", help="The version, which is loaded.")
    ],
    reason: Annotated[str, typer.Option(metavar="WHY", help="Kept with its verdict.")],
) -> _Body:
    """Let a version take traffic that its gates keep from it, for a reason of yours."""
    return {"version": version_number(version), "reason": reason}


@_command("label")
def label(
    alias: Annotated[str, typer.Argument(metavar="ALIAS", help="Such as stable, or champion.")],
    version: Annotated[str, typer.Argument(metavar="VERSION", help="A version that is ready.")],
    reason: Reason = "",
) -> _Body:
    """Give a version another name, an alias (or label); one that is taken moves there."""
    return {"alias": alias, "version": version_number(version), "reason": reason}


@_command("label")
def unlabel(
    alias: Annotated[str, typer.Argument(metavar="ALIAS", help="The alias.")],
    reason: Reason = "",
) -> _Body:
    """Take an alias away."""
    return {"alias": alias, "version": None, "reason": reason}


@_command("rollback")
def rollback(reason: Reason = "") -> _Body:
    """Answer with the version that answered before, and pin it."""
    return {"reason": reason}


@app.command()
def status(
    name: _Name,
    admin_url: AdminUrl = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: options.Json = False,
) -> None:
    """One model: states, reasons, what answers, batching, cost, memory, origin."""
    port = AdminPort(admin_url, token_file)
    model = port.get(model_path(name))
    if as_json:
        print_json(model)
        return
    for line in status_lines(model):
        print_line(clean(line))
    for line in trouble_lines(port):
        print_line(line, "yellow")


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
