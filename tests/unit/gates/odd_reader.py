"""A reader of sets that fails as none should; for a child, which imports this."""

from __future__ import annotations

from collections.abc import Iterator
from io import BufferedReader

from serving.datasets.files import READERS
from serving.datasets.pieces import STRICT, Piece, Reading


def pieces(file: BufferedReader, reading: Reading = STRICT) -> Iterator[Piece]:
    raise LookupError("what no file should make a reader raise")


READERS[".odd"] = pieces
