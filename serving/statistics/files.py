"""Files of statistics, schemas and anomalies, in TFX's forms by their names' suffixes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from serving.model_config.validation import SCHEMA
from serving.statistics.forms import dump, parse
from serving.statistics.metadata import FormatError, Kind, form_of, most_bytes
from serving.user_files import LinkOutError, TooLargeError, read_file, read_inside


def read(path: Path, kind: Kind) -> Any:
    """The message in a file. Raises FormatError, without a path."""
    return _read(path, kind, lambda most: read_file(path, most))


def read_schema_in(folder: Path) -> Any:
    """The schema of a version's or a model's folder. Its notes are told to operators, so what a
    link leads to elsewhere is not read. Raises FormatError, without a path."""
    return _read(folder / SCHEMA, Kind.SCHEMA, lambda most: read_inside(folder, SCHEMA, most))


def _read(path: Path, kind: Kind, content: Callable[[int], bytes]) -> Any:
    form = form_of(path.name)
    most = most_bytes(form)
    try:
        data = content(most)
    except FileNotFoundError:
        nothing = "it is a link to nothing" if path.is_symlink() else "there is no such file"
        raise FormatError(nothing) from None
    except LinkOutError:
        raise FormatError("it is a link that leaves its folder") from None
    except TooLargeError:
        raise FormatError(f"it has more than {most:,} bytes") from None
    except OSError as error:
        words = (error.strerror or "error").lower()
        raise FormatError(f"it cannot be read: {words}") from None
    return parse(data, kind, form)


def write(path: Path, message: Any) -> None:
    """Whole or not at all, and over what was there. Raises FormatError, OSError."""
    form = form_of(path.name)
    data = dump(message, form)
    if len(data) > most_bytes(form):
        raise FormatError(f"it would have more than {most_bytes(form):,} bytes, which are not read")
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        beside.write_bytes(data)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def schema_in(folders: Iterable[Path]) -> Path | None:
    """The schema of the first folder that has one, or anything by its name: a link to nothing had
    better be told than taken for no schema."""
    return next((one / SCHEMA for one in folders if os.path.lexists(one / SCHEMA)), None)


def schema_of(version_folder: Path) -> Any | None:
    """The schema of a version's folder, or of the model's above it; None where there is neither.
    Raises FormatError, which says which of the two it is about."""
    for folder, whose in (
        (version_folder, "the version's"),
        (version_folder.parent, "the model's"),
    ):
        if schema_in([folder]):
            try:
                return read_schema_in(folder)
            except FormatError as error:
                raise FormatError(f"{whose} {SCHEMA}: {error}") from None
    return None
