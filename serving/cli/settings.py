"""``serving settings``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from serving.cli import options
from serving.cli.output import print_json, print_table


def settings(
    as_yaml: Annotated[
        bool,
        typer.Option(
            "--yaml", help="Print a settings file to start from, every setting explained."
        ),
    ] = False,
    config: options.ConfigFile = None,
    assignments: options.Set = None,
    as_json: options.Json = False,
) -> None:
    """Every setting with its effective value and where that comes from.

    serving settings --yaml > serving.yaml
    """
    effective, origins = options.load({}, config, assignments)
    from serving.settings import ignored_environment

    for note in ignored_environment():
        print(note, file=sys.stderr)
    if as_yaml:
        from serving.settings.template import commented_yaml

        print(commented_yaml(effective, origins))
        return
    from serving.settings.shown import settings_json

    rows = settings_json(effective, origins)
    if as_json:
        print_json({"settings": rows})
    else:
        cells = [(row["key"], row["value"], row["origin"]) for row in rows]
        print_table(("SETTING", "VALUE", "ORIGIN"), cells)
