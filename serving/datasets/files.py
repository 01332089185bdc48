"""A file of examples: where it lies, and what is in it a piece at a time."""

from __future__ import annotations

from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path, PurePosixPath

from serving.datasets import arrays, frames, lines
from serving.datasets.pieces import STRICT, Piece, Reading, SetError, rows_of
from serving.user_files import open_file

READERS = {
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


def pieces(path: Path, reading: Reading = STRICT) -> Iterator[Piece]:
    """The set in a ``.npz``, ``.parquet``, ``.jsonl`` or ``.csv`` file, in order. Raises SetError;
    ModuleNotFoundError where pyarrow is missing."""
    read = READERS.get(path.suffix)
    if read is None:
        raise SetError(f"its form is not known: expected {', '.join(READERS)}")
    with _opened(path) as file:
        try:
            yield from _checked(read(file, reading), reading.most)
        except OSError as error:
            raise SetError(f"it cannot be read: {(error.strerror or 'error').lower()}") from error


def _opened(path: Path) -> BufferedReader:
    try:
        return open_file(path)
    except FileNotFoundError:
        raise SetError("there is no such file") from None
    except OSError as error:
        raise SetError(f"it cannot be read: {(error.strerror or 'error').lower()}") from error


def _checked(found: Iterator[Piece], most: int | None) -> Iterator[Piece]:
    rows = 0
    for piece in found:
        rows += rows_of(piece)
        if most is not None and rows > most:
            raise SetError(f"it has more than {most:,} examples")
        yield piece
