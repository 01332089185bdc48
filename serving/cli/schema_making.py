"""``serving schema infer``, ``diff``, ``check`` and ``suggest-thresholds``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from serving import own_memory
from serving.cli import options, served
from serving.cli.control import DEFAULT_URL, AdminPort, AdminUrl, TokenFile
from serving.cli.output import UserError, clean, print_json, print_line, print_table

_DATA = frozenset({".parquet", ".csv", ".npz", ".jsonl"})
# Of `diff`, as of diff(1): 0 the same, 1 they differ, 2 trouble; of `check` likewise.
_TROUBLE = 2
# The shortest windows, called "minute", last as long as the gateway's settings say.
_SECONDS = {"minute": None, "hour": 3600.0, "day": 86400.0}

_Output = Annotated[
    Path | None,
    typer.Option(
        *("--output", "-o"),
        metavar="FILE",
        help="Write it here (.pbtxt, .pb, .json). Default: as text, to standard output.",
        dir_okay=False,
    ),
]
_Live = Annotated[
    str,
    typer.Option("--live", metavar="MODEL[/VERSION]", help="Of what a running gateway serves."),
]


def _files(metavar: str, words: str) -> Any:
    return typer.Argument(metavar=metavar, help=words, exists=True, dir_okay=False)


def _schema(flag: str, words: str) -> Any:
    return typer.Option(flag, metavar="FILE", help=words, exists=True, dir_okay=False)


def infer(
    files: Annotated[
        list[Path] | None,
        _files("[FILE...]", "Examples (.parquet, .csv, .npz, .jsonl), or a file of statistics."),
    ] = None,
    live: _Live = "",
    window: Annotated[
        str, typer.Option(metavar="WINDOW", help="With --live: minute, hour, day or baseline.")
    ] = "day",
    ranges: Annotated[
        bool, typer.Option("--ranges", help="The least and the most number become bounds.")
    ] = False,
    shapes: Annotated[
        bool, typer.Option(help="A fixed number of values becomes a shape, not a count.")
    ] = True,
    max_string_domain: Annotated[
        int, typer.Option(metavar="N", help="Up to so many texts a feature has a list.", min=0)
    ] = 100,
    output: _Output = None,
    admin_url: AdminUrl = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """Infer a schema, as TFX's SchemaGen does. Read it, and edit it, before it judges anything."""
    from serving.validation.infer import Rules
    from serving.validation.infer import infer as inferred

    if bool(files) == bool(live):
        raise UserError("expected files, or --live MODEL[/VERSION]", code=2)
    if live:
        port = AdminPort(admin_url, token_file)
        statistics = served.statistics_of(port, served.version_path(port, live), window).message
    else:
        statistics = _statistics(files or [])
    _write(inferred(statistics, Rules(max_string_domain, shapes, ranges)), output)


def diff(
    old: Annotated[Path, _files("OLD", "A schema.")],
    new: Annotated[Path, _files("NEW", "Another.")],
    as_json: options.Json = False,
) -> None:
    """Show what NEW says otherwise than OLD: + what came, - what went, ~ what changed.

    Exit status: 0 the same, 1 they differ, 2 one can't be read.
    """
    from serving.statistics.metadata import Kind
    from serving.validation.differences import differences

    try:
        found = differences(_read(old, Kind.SCHEMA), _read(new, Kind.SCHEMA))
    except UserError as error:
        raise UserError(str(error), code=_TROUBLE) from None
    if as_json:
        rows = [{"what": each.what, "change": each.change, "words": each.words} for each in found]
        print_json({"differences": rows})
    else:
        for each in found:
            print_line(clean(str(each)), {"+": "green", "-": "red"}.get(each.change, ""))
    if found:
        raise typer.Exit(1)


def check(
    files: Annotated[
        list[Path],
        _files("FILE...", "Examples (.parquet, .csv, .npz, .jsonl), or a file of statistics."),
    ],
    schema: Annotated[Path, _schema("--schema", "What they should be like.")],
    baseline: Annotated[
        Path | None, _schema("--baseline", "Statistics of the training data, for skew.")
    ] = None,
    previous: Annotated[
        Path | None, _schema("--previous", "Statistics of the data before, for drift.")
    ] = None,
    environment: Annotated[
        str, typer.Option(metavar="NAME", help="Of the schema's; default: SERVING, if it has it.")
    ] = "",
    as_tfx: Annotated[
        bool, typer.Option("--as-tfx", help="Believe small samples, as ExampleValidator does.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            *("--output", "-o"),
            metavar="FILE",
            help="Write the anomalies here, in TFX's form (.pb, .pbtxt, .json).",
            dir_okay=False,
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Hold data against a schema: TFX's anomalies.

    Exit status: 0 none, 1 there are anomalies, 2 something can't be read.
    """
    from dataclasses import replace

    from serving.statistics.metadata import Kind
    from serving.validation.anomalies import rows
    from serving.validation.check import AS_TFX, Options, validate

    try:
        given = replace(AS_TFX if as_tfx else Options(), environment=environment or None)
        expected = _read(schema, Kind.SCHEMA)
        found = validate(
            _statistics(files, expected),
            expected,
            _read(baseline, Kind.STATISTICS) if baseline is not None else None,
            _read(previous, Kind.STATISTICS) if previous is not None else None,
            given,
        )
        if output is not None:
            _write(found, output)
    except UserError as error:
        raise UserError(str(error), code=_TROUBLE) from None
    told = list(rows(found))
    if as_json:
        print_json({"anomalies": told})
    elif told:
        keys = ("feature", "type", "severity", "description")
        cells = [[clean(each[key]) for key in keys] for each in told]
        print_table([key.upper() for key in keys], cells)
    else:
        print_line("no examples" if found.data_missing else "no anomalies", "green")
    if told:
        raise typer.Exit(1)


def suggest_thresholds(
    schema: Annotated[Path, _schema("--schema", "Where they go; what it has already, stays.")],
    windows: Annotated[
        list[Path] | None,
        _files("[WINDOW...]", "Statistics of past windows, in the order of time."),
    ] = None,
    live: _Live = "",
    window: Annotated[
        str, typer.Option(metavar="WINDOW", help="With --live: of minutes, hours or days: hour.")
    ] = "hour",
    last: Annotated[
        int, typer.Option(metavar="N", help="With --live: so many of them.", min=2, max=1000)
    ] = 24,
    baseline: Annotated[
        Path | None, _schema("--baseline", "Statistics of the training data, for skew.")
    ] = None,
    quantile: Annotated[
        float, typer.Option(metavar="Q", help="Of the distances there were.", min=0.5, max=1.0)
    ] = 0.99,
    margin: Annotated[
        float, typer.Option(metavar="PART", help="Of that, so much more.", min=0.0, max=10.0)
    ] = 0.5,
    output: _Output = None,
    admin_url: AdminUrl = DEFAULT_URL,
    token_file: TokenFile = None,
) -> None:
    """Suggest thresholds of drift, and of skew, out of windows in which all was well.

    Each is what a feature's distance hardly ever was (a quantile), and a margin. Without -o they
    are shown only.
    """
    from serving.statistics.metadata import Kind
    from serving.validation.thresholds import LEAST_WINDOWS, apply, suggest

    if bool(windows) == bool(live):
        raise UserError("expected files of statistics, or --live MODEL[/VERSION]", code=2)
    wanted = _read(schema, Kind.SCHEMA)
    training = _read(baseline, Kind.STATISTICS) if baseline is not None else None
    if live:
        past = _past(AdminPort(admin_url, token_file), live, window, last)
    else:
        past = [_read(file, Kind.STATISTICS) for file in windows or []]
    found = suggest(past, training, quantile=quantile, margin=margin)
    written = apply(wanted, found)
    if output is not None:
        _write(wanted, output)
        count = f"{len(written)} threshold{'' if len(written) == 1 else 's'}"
        print_line(f"wrote {output}: {count}", "green")
        known = {feature.name for feature in wanted.feature}
        few = sum(each.threshold is None and ".".join(each.path) in known for each in found)
        if few:
            print_line(f"{few} left out: fewer than {LEAST_WINDOWS} windows tell of them", "yellow")
        return
    headers = ("FEATURE", "KIND", "MEASURE", "WINDOWS", "THRESHOLD", "")
    print_table(headers, [_row(each, each in written) for each in found])


def _row(suggestion: Any, new: bool) -> tuple[object, ...]:
    threshold = suggestion.threshold
    note = (
        "too few" if threshold is None else "" if new else "the schema has one, or no such feature"
    )
    name = clean(".".join(suggestion.path))
    kind, measure = suggestion.kind.value, suggestion.measure.value
    shown = "-" if threshold is None else f"{threshold:g}"
    return (name, kind, measure, suggestion.windows, shown, note)


def _statistics(files: Sequence[Path], schema: Any = None) -> Any:
    """Of examples, made now; or those in the one file. ``schema``: says what the columns of CSV
    files are, which don't say it themselves."""
    from serving.errors import ConfigError
    from serving.statistics.metadata import Kind
    from serving.statistics.of_files import statistics_of

    examples = [file for file in files if file.suffix in _DATA]
    if not examples and len(files) == 1:
        return _read(files[0], Kind.STATISTICS)
    if len(examples) < len(files):
        raise UserError("expected files of examples, or one file of statistics", code=2)
    untyped = all(file.suffix == ".csv" for file in files)
    try:
        with own_memory.bounded():
            return statistics_of(files, schema=schema if untyped else None).message
    except ConfigError as error:
        raise UserError(str(error)) from None


def _past(port: AdminPort, model: str, window: str, last: int) -> list[Any]:
    """Those that are over and of which something is known, the oldest first. Raises UserError."""
    import time

    if window not in _SECONDS:
        raise UserError(f"--window: expected {', '.join(_SECONDS)}", code=2)
    # All of one version, whichever answers meanwhile.
    now, path = time.time(), served.version_path(port, model)
    found: dict[float | None, Any] = {}
    refused: UserError | None = None
    try:
        length = _SECONDS[window] or _shortest(port, path)
        for back in range(last, 0, -1):
            try:
                one = served.statistics_of(port, path, window, now - length * back)
            except UserError as error:
                refused = error
                continue
            if one.message.datasets:
                found[one.start] = one.message
    except UserError as error:
        refused = error
    if not found and refused is not None:
        raise UserError(f"none of the last {last} {window}s: {refused}")
    return list(found.values())


def _shortest(port: AdminPort, path: str) -> float:
    """How long the shortest windows last (seconds). Raises UserError."""
    last = served.statistics_of(port, path, "minute")
    if last.start is None or last.end is None or last.end <= last.start:
        raise UserError(f"{port.url}: a window without a beginning and an end")
    return last.end - last.start


def _read(path: Path, kind: Any) -> Any:
    from serving.cli.statistics import read

    return read(path, kind)


def _write(message: Any, output: Path | None) -> None:
    """Raises UserError."""
    from serving.statistics import files
    from serving.statistics.forms import dump
    from serving.statistics.metadata import Form, FormatError

    if output is None:
        print(dump(message, Form.TEXT).decode(), end="")
        return
    try:
        files.write(output, message)
    except FormatError as error:
        raise UserError(f"{output}: {error}", code=2) from None
    except OSError as error:
        raise UserError(f"{output}: {(error.strerror or 'error').lower()}") from None
