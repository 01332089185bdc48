"""``serving rollout shadow`` and ``differences``: copies of requests for who answers nobody.

Exit status as that of ``serving models``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from serving.cli import options
from serving.cli.control import DEFAULT_URL, AdminPort, AdminUrl, TokenFile, model_path
from serving.cli.output import UserError, clean, print_json, print_line, print_table
from serving.cli.status import when
from serving.cli.tickets import NoWait, Reason, Timeout, tell

HEADERS = ("SHADOW", "SHARE", "COPIES", "DROPPED", "FAILED", "COMPARED", "DIFFERENT")
_OF_OUTPUTS = ("OUTPUT", "DATATYPE", "DIFFERENT", "RATE", "MEAN", "LARGEST", "OTHER CLASS", "NAN")
# Characters of a tensor's data in a line.
_SHOWN = 120

_Name = Annotated[str, typer.Argument(metavar="MODEL", help="The model.")]


def shadow(
    name: _Name,
    version: Annotated[
        int | None, typer.Argument(metavar="[VERSION]", help="It gets copies.", min=1)
    ] = None,
    share: Annotated[
        str | None,
        typer.Option(metavar="SHARE", help="Of the requests that name no version: 10% or 0.1."),
    ] = None,
    clear: Annotated[
        bool, typer.Option("--clear", help="It gets none any more; without a version: none does.")
    ] = False,
    reason: Reason = "",
    no_wait: NoWait = False,
    timeout: Timeout = 60.0,
    admin_url: AdminUrl = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: options.Json = False,
) -> None:
    """Have a version run copies of requests; it answers nobody, and what it would have answered is
    compared with what was. It is loaded first where it is not."""
    port = AdminPort(admin_url, token_file)
    shadows = _changed(lambda: port.get(f"{model_path(name)}/route"), version, share, clear)
    body = {"shadows": shadows, "reason": reason}
    tell(port.command(name, "route", body, not no_wait, timeout), name, no_wait, as_json)


def differences(
    name: _Name,
    version: Annotated[int, typer.Argument(metavar="VERSION", help="The shadow.", min=1)],
    admin_url: AdminUrl = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: options.Json = False,
) -> None:
    """How a shadow's answers differ from those given: by output, and the last requests that show
    it."""
    port = AdminPort(admin_url, token_file)
    found = port.get(f"{model_path(name)}/shadows/{version}")
    if as_json:
        print_json(found)
        return
    for line in lines_of(found):
        print_line(clean(line))
    print_table(_OF_OUTPUTS, [_output_row(one) for one in found["outputs"]])
    for example in found["examples"]:
        for line in _example_lines(example):
            print_line(clean(line))


def add_to(app: typer.Typer) -> None:
    """The commands in their order."""
    app.command()(shadow)
    app.command()(differences)


def print_of(port: AdminPort, name: str) -> bool:
    """A table of a model's shadows; False where it has none."""
    found = port.get(f"{model_path(name)}/shadows")["shadows"]
    if found:
        print_table(HEADERS, [row_of(one) for one in found])
    return bool(found)


def row_of(one: dict[str, Any]) -> tuple[object, ...]:
    """A shadow as a line of a table with these ``HEADERS``."""
    return (
        one["version"],
        f"{100 * one['share']:.4g} %" if one["share"] else "-",
        one["copies"],
        _counts(one["dropped"]),
        _counts(one["failed"]),
        one["compared"],
        f"{one['different']} ({_rate(one['different'], one['compared'])})",
    )


def lines_of(one: dict[str, Any]) -> Iterator[str]:
    share = f"{100 * one['share']:.4g} % of the requests" if one["share"] else "none any more"
    yield f"{one['name']}: version {one['version']} as a shadow: {share}"
    yield (
        f"  {one['copies']} copies; dropped: {_counts(one['dropped'])}; failed:"
        f" {_counts(one['failed'])}; not compared: {_counts(one['uncompared'])}"
    )
    rate = _rate(one["different"], one["compared"])
    yield f"  {one['compared']} answers compared, {one['different']} different ({rate})"


def _changed(ask: Any, version: int | None, share: str | None, clear: bool) -> dict[str, float]:
    """The shadows as they are to be. Raises UserError for what can't be meant."""
    if clear and share is not None:
        raise UserError("give a share, or --clear", code=2)
    if version is None:
        if not clear:
            raise UserError("give a version and --share, as 4 --share 10%; --clear ends them", 2)
        return {}
    if not clear and share is None:
        raise UserError("give the share of the requests, as --share 10%", code=2)
    part = None if share is None else parsed(share)
    shadows: dict[str, float] = dict(ask()["shadows"])
    if part is None:
        if str(version) not in shadows:
            raise UserError(f"version {version} is no shadow")
        return {number: one for number, one in shadows.items() if number != str(version)}
    return {**shadows, str(version): part}


def parsed(text: str) -> float:
    """``10%`` and ``0.1``. Raises UserError."""
    word, percent = text.removesuffix("%"), text.endswith("%")
    try:
        share = float(word) / (100 if percent else 1)
    except ValueError:
        share = -1.0
    if not 0 < share <= 1:
        raise UserError(
            f"a share is over 0 and at most 100%, as 10% or 0.1; got '{clean(text)}'", code=2
        )
    return share


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items())) or "0"


def _rate(part: int, of: int) -> str:
    return f"{100 * part / of:.3g} %" if of else "-"


def _output_row(one: dict[str, Any]) -> tuple[object, ...]:
    return (
        one["name"],
        one["datatype"],
        one["different"],
        _rate(one["different"], one["compared"]),
        _number(one["mean_difference"]),
        _number(one["max_difference"]),
        _rate(one["classes"], one["rows"]),
        one["nonfinite"],
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _example_lines(example: dict[str, Any]) -> Iterator[str]:
    named = example["request_id"] or example["id"] or "a request"
    yield f"{when(example['at'])} {named}, answered by version {example['version']}"
    if example["too_large"]:
        yield "  its tensors are too large to be kept"
    for key, words in (("inputs", "asked"), ("given", "answered"), ("shadow", "shadow")):
        for tensor in example[key]:
            data = "redacted" if tensor.get("redacted") else str(tensor.get("data"))
            shown = data if len(data) <= _SHOWN else f"{data[:_SHOWN]}..."
            yield f"  {words} {tensor['name']} {tensor['datatype']}{tensor['shape']}: {shown}"
