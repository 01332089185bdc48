"""Statistics of what a running gateway serves, as its admin port tells them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from serving.cli import options
from serving.cli.control import DEFAULT_URL, AdminPort, AdminUrl, TokenFile, model_path
from serving.cli.output import UserError, clean, print_line, print_table

_MOST_REQUESTS = 50
_WINDOWS = ("live", "minute", "hour", "day", "baseline")
_DRIFT = ("FEATURE", "COMPARED", "MEASURE", "DISTANCE", "THRESHOLD", "ROWS", "WINDOW")
_ANOMALIES = ("FEATURE", "TYPE", "SEVERITY", "WINDOW", "WHAT")
_REQUESTS = ("FEATURE", "TYPE", "MODE", "REQUESTS")
_COMPARED = {"skew": "baseline", "drift": "window before", "versions": "other version"}


@dataclass(frozen=True)
class Served:
    """``message``: ``DatasetFeatureStatisticsList``. ``start`` and ``end`` of its window (seconds
    since the epoch): None of a baseline."""

    message: Any
    start: float | None
    end: float | None


def statistics_of(port: AdminPort, path: str, window: str, at: float | None = None) -> Served:
    """Of the version at ``path``; ``at``: of the window that holds this moment, in seconds since
    the epoch. Raises UserError."""
    from serving.statistics.forms import parse
    from serving.statistics.metadata import Form, FormatError, Kind

    query = f"window={window}" + (f"&at={at:.3f}" if at is not None else "")
    answer = port.get(f"{path}/statistics?{query}")
    datasets = json.dumps({"datasets": answer.get("datasets", [])}).encode()
    try:
        message = parse(datasets, Kind.STATISTICS, Form.JSON)
    except FormatError as error:
        raise UserError(f"{port.url}: {error}") from None
    return Served(message, answer.get("start"), answer.get("end"))


def version_path(port: AdminPort, model: str) -> str:
    """Of MODEL/VERSION; of MODEL that of the version which answers. Raises UserError."""
    name, _, version = model.partition("/")
    return f"{model_path(name)}/versions/{version or _answering(port, name)}"


def _answering(port: AdminPort, name: str) -> str:
    default = port.get(model_path(name)).get("default")
    if default is None:
        raise UserError(f"no version of '{clean(name)}' answers: expected MODEL/VERSION")
    return str(default)


def live(
    model: Annotated[str, typer.Argument(metavar="MODEL[/VERSION]")],
    window: Annotated[
        str, typer.Option(metavar="WINDOW", help="live, minute, hour, day or baseline.")
    ] = "hour",
    output: Annotated[
        Path | None,
        typer.Option(
            *("--output", "-o"),
            metavar="FILE",
            help="Write them here: .pb, .pbtxt, .json or .tfrecord. Without it, tables.",
            dir_okay=False,
        ),
    ] = None,
    admin_url: AdminUrl = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: options.Json = False,
) -> None:
    """Show what a version is asked and answers lately, how far it is from what it is compared
    with, and what stands out."""
    if window not in _WINDOWS:
        raise UserError(f"--window: expected {', '.join(_WINDOWS)}", code=2)
    port = AdminPort(admin_url, token_file)
    path = version_path(port, model)
    try:
        found = statistics_of(port, path, window).message
    except UserError:
        # Where all requests are refused there are no statistics of any.
        if output is None and not as_json:
            _show_requests(port, path)
        raise
    if output is not None:
        _write(found, output)
    elif as_json:
        from serving.statistics.metadata import to_json

        print(to_json(found))
    else:
        _show(port, path, found)


def _write(found: Any, output: Path) -> None:
    from serving.statistics import files
    from serving.statistics.metadata import FormatError

    try:
        files.write(output, found)
    except FormatError as error:
        raise UserError(f"--output: {output}: {error}", code=2) from None
    except OSError as error:
        raise UserError(f"{output}: {(error.strerror or 'error').lower()}") from None
    print_line(f"wrote {output}", "green")


def _show(port: AdminPort, path: str, found: Any) -> None:
    from serving.cli.statistics_table import print_statistics

    print_statistics(found)
    far = [_distance(one) for one in port.get(f"{path}/drift").get("features", ())]
    _table("distances", _DRIFT, far)
    wrong = [_anomaly(one) for one in port.get(f"{path}/anomalies").get("anomalies", ())]
    _table("anomalies", _ANOMALIES, wrong)
    _show_requests(port, path)


def _show_requests(port: AdminPort, path: str) -> None:
    found = port.get(f"{path}/requests/anomalies").get("anomalies", ())
    rows = [tuple(one.get(key.lower()) for key in _REQUESTS) for one in found[:_MOST_REQUESTS]]
    _table("requests that do not fit the schema", _REQUESTS, rows)


def _table(title: str, headers: Sequence[str], rows: Sequence[tuple[object, ...]]) -> None:
    if rows:
        print_line("")
        print_line(title, "bold")
        print_table(headers, rows)


def _distance(one: dict[str, Any]) -> tuple[object, ...]:
    distance, threshold = one.get("distance"), one.get("threshold")
    few = " (too few)" if one.get("too_few") else ""
    return (
        one.get("name"),
        _COMPARED.get(str(one.get("kind")), one.get("kind")),
        one.get("measure"),
        None if distance is None else f"{distance:.3g}{few}",
        None if threshold is None else f"{threshold:.3g}",
        one.get("samples"),
        one.get("window"),
    )


def _anomaly(one: dict[str, Any]) -> tuple[object, ...]:
    return tuple(one.get(key) for key in ("feature", "type", "severity", "window", "description"))
