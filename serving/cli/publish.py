"""``serving publish``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving import own_memory
from serving.cli import options
from serving.cli.output import UserError, print_json, print_line

if TYPE_CHECKING:
    from serving.registry.copying import Progress
    from serving.registry.publish import Measures, Published


def publish(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL_FILE|DIR", help="An ONNX file, or a folder with model.onnx.", exists=True
        ),
    ],
    to: Annotated[
        Any,
        typer.Option(
            "--to",
            metavar="REGISTRY_DIR|URL",
            help="The directory of models, or the object store: s3://BUCKET/PATH.",
            parser=options.place,
        ),
    ],
    model: Annotated[str, typer.Option("--model", metavar="NAME", help="The model's name.")],
    version: Annotated[
        str, typer.Option(metavar="N|auto", help="auto: the one after the highest there is.")
    ] = "auto",
    metadata: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Any note. Repeatable.")
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option(metavar="KEY=NUMBER", help="As accuracy=0.97. Repeatable.")
    ] = None,
    sample: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="Inputs to warm up with: .npz, .npy or .json. Repeatable."
        ),
    ] = None,
    evaluation: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The set that its gates judge it by: .npz, .parquet, .jsonl or .csv.",
        ),
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Statistics of its training data: `serving stats`'s, or TFX's."
        ),
    ] = None,
    training_data: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Or that data, to make them of: .parquet, .csv, .npz or .jsonl. Repeatable.",
        ),
    ] = None,
    mlflow_run_id: Annotated[
        str, typer.Option(metavar="ID", help="Default: from MLflow's MLmodel file in DIR.")
    ] = "",
    mlflow_model_id: Annotated[str, typer.Option(metavar="ID", help="Likewise.")] = "",
    git_commit: Annotated[str, typer.Option(metavar="SHA", help="What trained it.")] = "",
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Load, run and measure it first, as a gateway with these settings."
        ),
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Publish a model: it appears at once and whole, with a manifest of its files.

    The form of the model is checked first, and that the onnxruntime installed here reads its
    IR version and opsets; with --check a child process loads, runs and measures it, and what it
    measured is printed. Operators of a domain that exists but has none of that name are found by
    --check only. A version that exists is never replaced.
    """
    from serving.models import advice
    from serving.publishing import publish as publish_model
    from serving.registry.copying import PublishError

    number = _version(version)
    if check:
        _quiet_log()
    # Data may unpack to anything; child processes have limits of their own.
    memory = own_memory.bounded() if training_data else nullcontext()
    try:
        with memory, _progress() as progress:
            done = publish_model(
                source,
                to,
                model,
                version=number,
                metadata=dict(_pairs("--metadata", metadata)),
                metrics={key: _number(key, value) for key, value in _pairs("--metric", metric)},
                samples=sample or (),
                evaluation=evaluation,
                baseline=baseline,
                training_data=training_data or (),
                git_commit=git_commit,
                mlflow_run_id=mlflow_run_id,
                mlflow_model_id=mlflow_model_id,
                check=check,
                progress=progress,
            )
    except PublishError as error:
        raise UserError(str(error)) from None
    if as_json:
        print_json({"model": model, **_facts(done)})
        return
    for note in done.notes:
        print_line(f"note: {note}", "yellow")
    if done.measures is not None:
        print_line(f"measured here: {measured_words(done.measures)}")
    print_line(f"published {model} {done.version}: {done.place}", "green")
    if done.differs:
        print_line(f"its signature is not that of version {done.below}: {', '.join(done.differs)}")
        print_line(
            f"a gateway where version {done.below}, or another with that signature, answers"
            " requests that name no version holds it back from them, unless"
            f" rollout.hold_signature_changes is off, until: {advice.accept(model, done.version)}"
        )


def _facts(done: Published) -> dict[str, Any]:
    measures = asdict(done.measures) if done.measures is not None else None
    return {
        "version": done.version,
        "path": done.place,
        "notes": list(done.notes),
        "differs": list(done.differs),
        "measures": measures,
    }


def measured_words(found: Measures) -> str:
    """For people: ``a run takes 0.05 ms (1 row), 0.1 ms (8 rows); 1.2 MB of memory; ...``."""
    from serving.loading.memory import words

    runs = [
        f"{seconds * 1000:.2g} ms ({rows} row{'' if rows == 1 else 's'})"
        for rows, seconds in sorted(found.seconds.items())
    ]
    parts = [f"a run takes {', '.join(runs)}"] if runs else ["no run was timed"]
    if found.memory_bytes:
        parts.append(f"{words(found.memory_bytes)} of memory")
    return "; ".join([*parts, found.batching])


def _quiet_log() -> None:
    """What a trial would log is in what is printed."""
    from serving.observe.logs import configure
    from serving.settings import LogSettings

    configure(LogSettings(level="error"))


def _version(text: str) -> int | None:
    if text == "auto":
        return None
    from serving.registry.names import version_number

    try:
        return version_number(text)
    except ValueError as error:
        raise UserError(f"--version: {error}, or 'auto'", code=2) from None


def _pairs(flag: str, texts: list[str] | None) -> Iterator[tuple[str, str]]:
    seen = set()
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not equals or not key or key in seen:
            raise UserError(f"{flag}: expected KEY=VALUE, each key once, got '{text}'", code=2)
        seen.add(key)
        yield key, value


def _number(key: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"--metric: '{key}' is no number: '{text}'", code=2) from None


@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar on a terminal's standard error, silence elsewhere."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("copying"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("copying", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
