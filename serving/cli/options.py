"""Flags that several commands share, and settings made of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving.cli.output import UserError

if TYPE_CHECKING:
    from serving.settings import Settings


def _only_models(roots: list[Path] | None) -> list[Path] | None:
    for root in roots or ():
        if root.is_file() and root.suffix.lower() != ".onnx":
            raise typer.BadParameter(f"'{root}' is neither a directory nor a file '*.onnx'.")
    return roots


Roots = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="DIR|FILE.onnx",
        help="Directories with models: DIR/<model>/<version>/model.onnx; or a model's file.",
        exists=True,
        readable=True,
        callback=_only_models,
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Settings in YAML.", dir_okay=False),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Any other setting, as limits.max_streams=256. Repeatable.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def load(
    flags: Mapping[str, object], config: Path | None, assignments: list[str] | None
) -> tuple[Settings, dict[str, str]]:
    """The effective settings and their origins. Raises UserError (exit status 2)."""
    from serving.errors import ConfigError
    from serving.settings import load_settings

    given = {**_parsed(assignments or []), **{k: v for k, v in flags.items() if v is not None}}
    try:
        return load_settings(given, config)
    except ConfigError as error:
        raise UserError(str(error), code=2) from None


def _parsed(assignments: list[str]) -> dict[str, object]:
    parsed: dict[str, object] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key:
            raise UserError(f"--set: expected KEY=VALUE, got '{assignment}'", code=2)
        parsed[key.strip()] = value
    return parsed


def configure_log(settings: Settings, leave_out: Collection[str] = ()) -> None:
    """The log as the settings say, and what the environment held that has no effect.
    ``leave_out``: events that are told otherwise."""
    from serving.events import log
    from serving.observe.logs import configure
    from serving.settings import ignored_environment

    configure(settings.log, secrets=settings.secrets(), leave_out=leave_out)
    for note in ignored_environment():
        log.warning("variable_ignored", reason=str(note))
