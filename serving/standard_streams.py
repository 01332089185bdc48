"""Standard input, output and error, however this process got them.

A supervisor may close them, a terminal may hang up, a reader may leave, and a locale may know
ASCII only: none of it ends a command.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_NAMES = ("stdin", "stdout", "stderr")
_ERRORS = "serving.escape"


def open_missing() -> None:
    """Put /dev/null in place of each of the descriptors 0 to 2 that is closed.

    To be called before anything opens a descriptor: a socket or a model's file that got
    one of these numbers would be taken for a stream, by libraries and by children.
    """
    for number, name in enumerate(_NAMES):
        _fill(number)
        if getattr(sys, name) is None:
            # Whatever has the number by now may be somebody's file.
            mode = "w" if number else "r"
            stream = Path(os.devnull).open(mode)  # noqa: SIM115 - lives on; file: a device
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


class OutputError(OSError):
    """Standard output does not take what is written, though its reader has not left."""


def prepare() -> None:
    """From now on what the locale's encoding can't say is written as ``\\uXXXX``: JSON stays
    JSON, and nothing is an error. What standard output refuses is an OutputError."""
    codecs.register_error(_ERRORS, _escaped)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ERRORS)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = _telling(sys.stdout)


def give_up_output() -> None:
    """Let what was not taken, and what else is written, go nowhere: the interpreter flushes
    once more at its end, and would complain."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)  # file: a device
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


class _Output(io.FileIO):
    def write(self, data: ReadableBuffer, /) -> int | Any:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(error.errno, error.strerror) from None


def _telling(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    raw = _Output(stream.fileno(), "w", closefd=False)
    # Without one where the interpreter was asked for that (PYTHONUNBUFFERED).
    is_buffered = isinstance(stream.buffer, io.BufferedWriter)
    return io.TextIOWrapper(
        io.BufferedWriter(raw) if is_buffered else raw,
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _fill(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        with suppress(OSError):  # no /dev/null: nothing better is to be had
            opened = os.open(os.devnull, os.O_RDWR)  # file: a device
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2)), error.end
