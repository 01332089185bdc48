"""The two forms of the files, behind one seam: pieces are appended, and a file is finished."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from serving import _core
from serving.errors import ConfigError
from serving.observe.request_log.record import Shown

JSON_LINES = ".jsonl"
PARQUET = ".parquet"
# What a file's name ends with while it is written.
PART = ".part"
_CHUNK = 65536


class Form(Protocol):
    """How requests lie in files. A file that is being written can be cut off behind any piece."""

    @property
    def suffix(self) -> str: ...
    @property
    def header(self) -> bytes:
        """What a file begins with."""
        ...

    @property
    def copies(self) -> bool:
        """Whether finishing a file needs its size once more."""
        ...

    def pieces(
        self, samples: Sequence[_core.Sample], shown: Sequence[Shown], room: Callable[[], int]
    ) -> Iterator[tuple[bytes, int]]:
        """Bytes to append, with how many requests they hold.

        ``shown``: of each sample. ``room``: how many bytes fit just now, asked before each
        piece; what can be cut smaller than a piece is.
        """
        ...


class JsonLines:
    """A line a request."""

    suffix = JSON_LINES
    header = b""
    copies = False

    def pieces(
        self, samples: Sequence[_core.Sample], shown: Sequence[Shown], room: Callable[[], int]
    ) -> Iterator[tuple[bytes, int]]:
        """Of many lines, unless one alone takes more than there is room."""
        done = 0
        while done < len(samples):
            piece, count = _core.json_lines(samples[done:], shown[done:], room())
            done += count
            yield piece, count


def form_of(name: str) -> Form:
    """Raises ConfigError where the packages that the form needs are not installed."""
    if name == "jsonl":
        return JsonLines()
    try:
        from serving.observe.request_log.parquet import Parquet
    except ImportError:
        raise ConfigError(
            "request_log.format 'parquet' needs pyarrow: install 'serving[parquet]'"
        ) from None
    return Parquet()


def finish(part: Path) -> None:
    """Make a whole file of one that was being written, whoever left it and wherever it was cut
    off; remove it where it holds nothing.

    Raises OSError, and ConfigError where the packages that it needs are not installed.
    """
    final = part.with_name(part.name.removesuffix(PART))
    if final.suffix == PARQUET:
        form_of("parquet")
        from serving.observe.request_log.parquet import convert

        convert(part, final)
    elif _cut_last_line(part):
        part.rename(final)
    else:
        part.unlink()


def _cut_last_line(part: Path) -> int:
    """Drop what comes after the last whole line; how many bytes are left."""
    with part.open("r+b") as file:  # file: ours
        size = end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - _CHUNK)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end < size:
            file.truncate(end)
    return end
