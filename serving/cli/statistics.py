"""``serving stats``: statistics of files of examples."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from serving import own_memory
from serving.cli import options, served
from serving.cli.output import UserError, clean, print_line

if TYPE_CHECKING:
    from serving.statistics.metadata import Kind
    from serving.statistics.of_files import Heard

_MAKE = "make"


class _MakesByDefault(TyperGroup):
    """Takes what names no command for the files and options of ``make``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        given = args[0] if args else "--help"
        if given in self.commands or given in ctx.help_option_names or ctx.resilient_parsing:
            return super().parse_args(ctx, args or ["--help"])
        return super().parse_args(ctx, [_MAKE, *args])


app = typer.Typer(
    cls=_MakesByDefault,
    help="Statistics of files, in TFX's form: `serving stats data.parquet -o stats.pb`"
    " (`make` may be left out), and of what is served: `serving stats live MODEL`.",
)


def _existing(metavar: str, words: str) -> Any:
    return typer.Argument(metavar=metavar, help=words, exists=True, dir_okay=False)


@app.command(_MAKE)
def make(
    data: Annotated[
        list[Path],
        _existing("DATA...", "Examples: .parquet, .csv, .npz or .jsonl; all as one set."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            *("--output", "-o"),
            metavar="FILE",
            help="Write them here: .pb, .pbtxt, .json or .tfrecord. Without it, a table.",
            dir_okay=False,
        ),
    ] = None,
    schema: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Its types go before those found.", dir_okay=False),
    ] = None,
    slice_by: Annotated[
        str, typer.Option("--slice", metavar="COLUMN", help="Each value's examples besides.")
    ] = "",
    sample: Annotated[
        float, typer.Option(metavar="SHARE", help="Use this part of the rows.", min=0.0, max=1.0)
    ] = 1.0,
    as_json: options.Json = False,
) -> None:
    """Make statistics of files of examples, a piece at a time, whatever their size.

    They are what TFX's StatisticsGen writes: `serving publish --baseline` and TFX's own tools
    take them.
    """
    from serving.errors import ConfigError
    from serving.statistics import files
    from serving.statistics.metadata import Kind
    from serving.statistics.of_files import statistics_of

    if sample == 0:
        raise UserError("--sample: expected more than 0", code=2)
    try:
        if output is not None:
            _form(output)
        expected = read(schema, Kind.SCHEMA) if schema is not None else None
        with own_memory.bounded(), _progress() as heard:
            found = statistics_of(
                data, schema=expected, slice_by=slice_by, sample=sample, heard=heard
            )
        if output is not None:
            files.write(output, found.message)
    except ConfigError as error:
        raise UserError(str(error)) from None
    except OSError as error:
        raise UserError(f"{output}: {(error.strerror or 'error').lower()}") from None
    for note in found.notes:
        print_line(f"note: {note}", "yellow")
    if output is not None:
        _tell_written(output, found.message, found.used, found.rows)
    elif as_json:
        _print_json(found.message)
    else:
        _print_table(found.message)


def _form(output: Path) -> None:
    from serving.statistics.metadata import FormatError, form_of

    try:
        form_of(output.name)
    except FormatError as error:
        raise UserError(f"--output: {output}: {error}", code=2) from None


def _tell_written(path: Path, message: Any, used: int, rows: int) -> None:
    of = f" of {rows:,}" if used != rows else ""
    sets = len(message.datasets)
    slices = f", {sets - 1} slices" if sets > 1 else ""
    features = len(message.datasets[0].features)
    print_line(f"wrote {path}: {features} features of {used:,}{of} examples{slices}", "green")


def _print_json(message: Any) -> None:
    from serving.statistics.metadata import to_json

    print(to_json(message))


def _print_table(message: Any) -> None:
    from serving.cli.statistics_table import print_statistics

    print_statistics(message)


@app.command()
def show(
    file: Annotated[
        Path, _existing("FILE", "Statistics, ours or TFX's: .pb, .pbtxt, .json or .tfrecord.")
    ],
    as_json: options.Json = False,
) -> None:
    """Show statistics that a file holds, as a table."""
    from serving.statistics.metadata import Kind

    message = read(file, Kind.STATISTICS)
    if as_json:
        _print_json(message)
    else:
        _print_table(message)


app.command()(served.live)


def read(path: Path, kind: Kind) -> Any:
    """The message in a file, told of fields that are not known. Raises UserError with its path."""
    from serving.statistics import files
    from serving.statistics.metadata import FormatError, unknown

    try:
        message = files.read(path, kind)
    except FormatError as error:
        raise UserError(f"{path}: {error}") from None
    if later := unknown(message):
        words = f"fields of a later release are passed over: {', '.join(later)}"
        print(f"serving: {clean(str(path))}: {words}", file=sys.stderr)
    return message


@contextmanager
def _progress() -> Iterator[Heard]:
    """A bar on a terminal's standard error, silence elsewhere."""
    if not sys.stderr.isatty():
        yield lambda path, share, rows: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), Remaining())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=1.0)

        def heard(path: Path, share: float, rows: int) -> None:
            words = f"{clean(path.name)}: {rows:,} rows"
            bar.update(task, completed=share, description=words)

        yield heard
