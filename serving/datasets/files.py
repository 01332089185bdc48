"""A file of examples: where it lies, and what is in it a piece at a time."""

from __future__ import annotations

from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path, PurePosixPath

from serving.datasets import arrays, frames, lines
from serving.datasets.pieces import MOST_EXAMPLES, Piece, SetError, rows_of
from serving.user_files import open_file

_READERS = {
    ".npz": arrays.pieces,
    ".parquet": frames.pieces,
    ".jsonl": lines.json_pieces,
    ".csv": lines.csv_pieces,
}


def located(folder: Path, name: str, *, inside: bool) -> Path:
    """The file ``name`` of ``folder``; ``inside``: it may not lead out of it. Raises SetError."""
    path = folder / name
    if inside:
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts:
            raise SetError("it lies outside its folder")
        if not path.resolve().is_relative_to(folder.resolve()):
            raise SetError("it is a link that leaves its folder")
    return path


def stamp(path: Path) -> str:
    """What tells whether the file is another one than before; "" where it can't be looked at."""
    try:
        found = path.stat()
    except OSError:
        return ""
    return f"{found.st_size}:{found.st_mtime_ns}"


def pieces(path: Path) -> Iterator[Piece]:
    """The set in a ``.npz``, ``.parquet``, ``.jsonl`` or ``.csv`` file, in order. Raises SetError;
    ModuleNotFoundError where pyarrow is missing."""
    read = _READERS.get(path.suffix)
    if read is None:
        raise SetError(f"its form is not known: expected {', '.join(_READERS)}")
    with _opened(path) as file:
        try:
            yield from _checked(read(file))
        except OSError as error:
            raise SetError(f"it cannot be read: {(error.strerror or 'error').lower()}") from error


def _opened(path: Path) -> BufferedReader:
    try:
        return open_file(path)
    except FileNotFoundError:
        raise SetError("there is no such file") from None
    except OSError as error:
        raise SetError(f"it cannot be read: {(error.strerror or 'error').lower()}") from error


def _checked(found: Iterator[Piece]) -> Iterator[Piece]:
    rows = 0
    for piece in found:
        rows += rows_of(piece)
        if rows > MOST_EXAMPLES:
            raise SetError(f"it has more than {MOST_EXAMPLES:,} examples")
        yield piece
