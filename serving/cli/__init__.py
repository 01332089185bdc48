"""The command ``serving``.

Heavy libraries are imported inside the commands that need them: help and completion answer
at once.
"""

from __future__ import annotations

import sys

from serving import first_signals

# Before the imports below, which take a while: whoever stops what he has just started is heard.
if sys.argv[1:2] == ["start"]:
    first_signals.end_at_once()

from serving import standard_streams

# And before these, which may open descriptors.
standard_streams.open_missing()

import gc

# Garbage is not looked for over and over in what they make, but once they are done (``start``).
if sys.argv[1:2] == ["start"]:
    gc.disable()

import os
from collections.abc import Iterable
from contextlib import suppress
from typing import Annotated, NoReturn

import typer

from serving import __version__, inherited, machine
from serving.cli.check import check
from serving.cli.doctor import doctor
from serving.cli.infer import infer
from serving.cli.models import app as models
from serving.cli.output import UserError, clean
from serving.cli.publish import publish
from serving.cli.replay import replay
from serving.cli.rollout import app as rollout
from serving.cli.schema import app as schema
from serving.cli.settings import settings
from serving.cli.start import start
from serving.cli.statistics import app as statistics
from serving.cli.track import track

app = typer.Typer(
    name="serving",
    help="Serves versioned ONNX models over gRPC and HTTP.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(start)
app.command()(check)
app.command()(publish)
app.command()(infer)
app.command()(replay)
app.add_typer(models, name="models")
app.add_typer(rollout, name="rollout")
app.add_typer(statistics, name="stats")
app.add_typer(schema, name="schema")
app.command()(track)
app.command()(settings)
app.command()(doctor)


def _version(asked: bool) -> None:
    if asked:
        print(f"serving {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version


def main() -> None:
    """Entry point of the command."""
    # Before anything imports onnxruntime; an operator's own word counts.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    inherited.put_right()
    standard_streams.prepare()
    try:
        app()
    except UserError as error:
        _complain(error.lines)
        sys.exit(error.code)
    except KeyboardInterrupt:
        sys.exit(130)
    except standard_streams.OutputError as error:
        _end_of_output(error)
    except RuntimeError as error:
        if not machine.is_thread_shortage(error):
            raise
        _complain([machine.thread_shortage_words()])
        sys.exit(1)
    finally:
        _write_out()


def _write_out() -> None:
    """What could not be written was not done; a reader who left knows it himself."""
    try:
        sys.stdout.flush()
    except OSError as error:
        _end_of_output(error)


def _end_of_output(error: OSError) -> NoReturn:
    standard_streams.give_up_output()
    if not isinstance(error, BrokenPipeError):
        _complain([f"standard output: {error.strerror}"])
    sys.exit(1)


def _complain(lines: Iterable[str]) -> None:
    with suppress(OSError, ValueError):  # nobody listens there either
        for line in lines:
            print(f"serving: {clean(line)}", file=sys.stderr)
