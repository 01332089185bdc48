"""Flags that several commands share, and settings made of them."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.cli.output import UserError

if TYPE_CHECKING:
    from serving.settings import Settings


def _only_models(roots: list[Path] | None) -> list[Path] | None:
    for root in roots or ():
        if root.is_file() and root.suffix.lower() != ".onnx":
            raise typer.BadParameter(f"'{root}' is neither a directory nor a file '*.onnx'.")
    return roots


def place(text: str) -> Path | str:
    """A path that is there, or a URL."""
    from serving.registry.object_store.address import is_address

    if is_address(text):
        return text
    path = Path(text)
    if not path.exists():
        raise typer.BadParameter(f"Path '{text}' does not exist.")
    if not os.access(path, os.R_OK):
        raise typer.BadParameter(f"Path '{text}' is not readable.")
    return path


def _places(given: list[Path | str] | None) -> list[Path | str] | None:
    _only_models([one for one in given or () if isinstance(one, Path)])
    return given


Places = Annotated[
    list[Any] | None,
    typer.Argument(
        metavar="DIR|FILE.onnx|URL",
        help="Directories with models: DIR/<model>/<version>/model.onnx; a model's file; or an"
        " object store laid out as a directory is: s3://BUCKET/PATH.",
        parser=place,
        callback=_places,
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
