"""Reading a request log, whatever form its files have; damaged lines are said and passed over."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from serving.observe.request_log.forms import JSON_LINES, PARQUET, PART, form_of
from serving.observe.request_log.record import Record, from_line
from serving.user_files import open_file

# A longer line is not one of ours.
_MAX_LINE_BYTES = 512 * 1024 * 1024
_PARQUET_MAGIC = b"PAR1"
# By their first bytes, and what undoes them.
_COMPRESSED = {b"\x1f\x8b": "gunzip", b"\x28\xb5\x2f\xfd": "zstd -d", b"BZh": "bunzip2"}
# So many damaged lines before the first good one, and it is another kind of file.
_MOST_DAMAGED_FIRST = 10


class NoLogError(Exception):
    """A file that is no request log at all, in words."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A request and where it stands, as FILE:NUMBER."""

    place: str
    record: Record


@dataclass(frozen=True, slots=True)
class Damaged:
    """A line or a file that can't be used, and why."""

    place: str
    reason: str


def files_of(path: Path) -> list[Path]:
    """The path itself, or the whole files of a folder, oldest first. Raises OSError."""
    if not path.is_dir():
        return [path]
    return sorted(p for p in path.iterdir() if p.suffix in (JSON_LINES, PARQUET))


def unfinished_of(path: Path) -> list[Path]:
    """The files of a folder that are being written, or were when their gateway died."""
    if not path.is_dir():
        return []
    return sorted(p for p in path.iterdir() if p.name.endswith((JSON_LINES + PART, PARQUET + PART)))


def read(path: Path) -> Iterator[Entry | Damaged]:
    """What the file holds now; what is added meanwhile is left for the next time, for sending
    requests again may be what adds it.

    Raises OSError where the file can't be read, NoLogError where it is another kind of file,
    ConfigError where it is Parquet and the packages for it are not installed.
    """
    with open_file(path) as file:
        magic = file.read(4)
    if path.name.endswith((PARQUET, PARQUET + PART)) or magic == _PARQUET_MAGIC:
        yield from _read_parquet(path)
        return
    for begin, undo in _COMPRESSED.items():
        if magic.startswith(begin):
            raise NoLogError(f"it is compressed: unpack it first ({undo})")
    yield from _if_log(_read_lines(path))


def _if_log(found: Iterator[Entry | Damaged]) -> Iterator[Entry | Damaged]:
    """The same, unless it begins with nothing but damage."""
    first: list[Entry | Damaged] = []
    for one in found:
        first.append(one)
        if isinstance(one, Entry):
            break
        if len(first) == _MOST_DAMAGED_FIRST:
            raise NoLogError(f"it is no request log: line 1: {one.reason}")
    yield from first
    yield from found


def _read_lines(path: Path) -> Iterator[Entry | Damaged]:
    with open_file(path) as file:
        number, size = 0, os.fstat(file.fileno()).st_size
        while file.tell() < size and (line := file.readline(_MAX_LINE_BYTES)):
            number += 1
            place = f"{path.name}:{number}"
            try:
                if not line.endswith(b"\n"):
                    _skip_line(file)
                    raise ValueError("it has no end")
                yield Entry(place, from_line(line))
            except ValueError as error:
                yield Damaged(place, str(error))


def _skip_line(file: BinaryIO) -> None:
    """The rest of a line that is too long."""
    while (rest := file.readline(_MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
        continue


def _read_parquet(path: Path) -> Iterator[Entry | Damaged]:
    form_of("parquet")
    from serving.observe.request_log import parquet

    number = 0
    try:
        for row in parquet.rows(path):
            number += 1
            place = f"{path.name}:{number}"
            try:
                yield Entry(place, parquet.record_of(row))
            except ValueError as error:
                yield Damaged(place, str(error))
    except ValueError as error:
        yield Damaged(path.name, str(error))
