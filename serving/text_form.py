"""Protobuf's text form out of files that anybody may have written: read within bounds of size,
line and nesting, and told of in short.

protobuf reads it in Python, at a microsecond or two a token, and each line by itself, at some 150
bytes a character; its errors repeat the line that they are about.
"""

from __future__ import annotations

import io
import re
from itertools import islice
from typing import Any

from google.protobuf import text_format
from google.protobuf.descriptor_pool import DescriptorPool

# Of a file: about a second of the interpreter's.
MOST_TOKENS = 500_000
MOST_CHARACTERS = 8 * 1024 * 1024
# Of one line: about 40 MB while it is read.
MOST_LINE = 256 * 1024
_MOST_NAME = 64
_MOST_WORDS = 300

_POSITION = re.compile(r"^\d+:\d+ : ")
# Names and numbers, signs, and lines; without quotes, so that it takes time by the size alone.
_TOKEN = re.compile(r"\w+|[^\w\s]|\n")
_LONG_NAME = re.compile(rf"(\w{{{_MOST_NAME}}})\w+")


class TextFormError(Exception):
    """``words``: what is wrong, in at most some 300 characters. ``line``: where, None where it is
    no one's."""

    def __init__(self, words: str, line: int | None = None) -> None:
        super().__init__(words)
        self.words, self.line = words, line


def parse(text: str, message: Any, pool: DescriptorPool, *, most_line: int = MOST_LINE) -> None:
    """Read ``text`` into ``message``, whose class is of ``pool``. ``most_line``: characters of a
    line. Raises TextFormError."""
    _check(text, most_line)
    parse_unbounded(text, message, pool)


def parse_unbounded(text: str, message: Any, pool: DescriptorPool) -> None:
    """As ``parse``, of a text whose size the caller has bounded."""
    try:
        text_format.Parse(text, message, descriptor_pool=pool)
    except text_format.ParseError as error:
        raise TextFormError(_short(str(error)), error.GetLine()) from None
    except RecursionError:
        raise TextFormError("nested too deeply") from None


def _check(text: str, most_line: int) -> None:
    if len(text) > MOST_CHARACTERS:
        raise TextFormError(f"more than {MOST_CHARACTERS:,} characters")
    if next(islice(_TOKEN.finditer(text), MOST_TOKENS, None), None) is not None:
        raise TextFormError(f"more than {MOST_TOKENS:,} words, signs and lines")
    if max(map(len, io.StringIO(text)), default=0) > most_line:
        raise TextFormError(f"a line has more than {most_line:,} characters")


def _short(words: str) -> str:
    """The beginning and the end, which says what was expected."""
    words = _LONG_NAME.sub(r"\1", _POSITION.sub("", words).strip())
    half = _MOST_WORDS // 2
    return words if len(words) <= _MOST_WORDS else f"{words[:half]} ... {words[-half:]}"
