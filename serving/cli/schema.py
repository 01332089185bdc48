"""``serving schema``: what a model's features should look like."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serving.cli import options
from serving.cli.output import UserError
from serving.cli.schema_making import check, diff, infer, suggest_thresholds
from serving.cli.statistics import read

app = typer.Typer(help="Schemas, in TFX's form.", no_args_is_help=True)
app.command()(infer)
app.command()(diff)
app.command()(check)
app.command("suggest-thresholds")(suggest_thresholds)


@app.command()
def show(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE|DIR",
            help="A schema (.pbtxt, .pb, .json), or the folder of a model or version with one.",
            exists=True,
        ),
    ],
    as_json: options.Json = False,
) -> None:
    """Show a schema as a table."""
    from serving.cli.statistics_table import print_schema
    from serving.model_config.validation import SCHEMA
    from serving.statistics.metadata import Kind, to_json

    schema = read(_found(file, SCHEMA), Kind.SCHEMA)
    if as_json:
        print(to_json(schema))
    else:
        print_schema(schema)


def _found(place: Path, name: str) -> Path:
    """In a folder the version's own, else its model's."""
    if not place.is_dir():
        return place
    for folder in (place, place.resolve().parent):
        if (folder / name).exists():
            return folder / name
    raise UserError(f"{place}: there is no {name}, nor in the folder above")
