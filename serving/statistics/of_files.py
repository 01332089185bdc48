"""Statistics of files of examples, a piece at a time, whatever their size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from serving import own_memory
from serving.datasets import files
from serving.datasets.pieces import Piece, Reading, SetError, rows_of
from serving.errors import ConfigError
from serving.statistics.baseline import ALL_EXAMPLES
from serving.statistics.dataset import MOST_FEATURES, MOST_FILE_BYTES, DatasetSketch
from serving.statistics.features import is_missing
from serving.statistics.layout import Layout, schema_types
from serving.statistics.metadata import messages

# Each has a data set, named COLUMN_VALUE as TFX names it.
MOST_SLICES = 64
_MOST_SLICE_BYTES = 4 * 1024 * 1024
_MOST_SLICE_NAME = 64
_ROWS = 16_384
# Hears of a file, of the part of all work that is done, and of rows that were read.
Heard = Callable[[Path, float, int], None]


class DataError(ConfigError):
    """A file of examples that statistics can't be made of; the text names it."""


@dataclass
class FileStatistics:
    """``message``: ``DatasetFeatureStatisticsList``. ``rows``: that were read, ``used`` of them
    were in the sample. ``notes``: what is left out, in words."""

    message: Any
    rows: int
    used: int
    notes: tuple[str, ...] = ()


@dataclass
class _Sets:
    """The sketches: of all examples, and of the slices."""

    layout: Layout
    types: dict[str, Any]
    by: str
    whole: DatasetSketch = field(
        default_factory=lambda: DatasetSketch(MOST_FEATURES, MOST_FILE_BYTES)
    )
    slices: dict[str, DatasetSketch] = field(default_factory=dict)
    # Rows of slices that there was no place for.
    unsliced: int = 0

    def add(self, piece: Piece) -> None:
        self._into(self.whole, piece)
        if self.by not in piece:
            return
        keys = _keys(piece[self.by])
        counts = Counter(keys.tolist())
        del counts[None]
        for key, count in counts.items():
            if key not in self.slices and len(self.slices) >= MOST_SLICES:
                self.unsliced += count
                continue
            mask = keys == key
            sketch = self.slices.setdefault(key, DatasetSketch(MOST_FEATURES, _MOST_SLICE_BYTES))
            self._into(sketch, {name: values[mask] for name, values in piece.items()})

    def _into(self, sketch: DatasetSketch, piece: Piece) -> None:
        sketch.add(self.layout.features(piece), rows_of(piece), self.types)


def statistics_of(
    paths: Sequence[Path],
    *,
    schema: Any = None,
    slice_by: str = "",
    sample: float = 1.0,
    heard: Heard = lambda path, share, rows: None,
) -> FileStatistics:
    """Of all files together: ``.parquet``, ``.csv``, ``.npz`` or ``.jsonl``.

    Features are columns; a column of lists that all have one length of at most 256, or an array of
    rank 2, is one feature for each place, ``NAME[i]``, as a model's tensor of that name is. Each
    file is read twice, since only all of it tells what its columns hold. Of a CSV file's columns
    those of which each value is a number are numbers. ``schema``: a ``Schema`` whose types go
    before what is found. ``slice_by``: a column; each of its values, the first 64, has a data set
    of its own besides. ``sample``: the part of the rows that is used, drawn at random, the same
    each time.

    Raises DataError; ConfigError where a package is missing.
    """
    layout = _layout(paths, heard)
    try:
        layout.check()
    except ValueError as error:
        raise DataError(f"{paths[0]}: {error}") from None
    if slice_by and slice_by not in layout.columns:
        few = ", ".join(f"'{name[:64]}'" for name in list(layout.columns)[:4])
        raise DataError(f"there is no column '{slice_by}' to slice by; there are {few}")
    types, categorical = schema_types(schema) if schema is not None else ({}, set())
    sets = _Sets(layout, layout.types() | types, slice_by)
    draws = np.random.default_rng(0)
    rows = 0
    for piece in _pieces(paths, heard, 0.5):
        count = rows_of(piece)
        rows += count
        drawn = draws.random(count) < sample
        if drawn.all():
            sets.add(piece)
        elif drawn.any():
            sets.add({name: values[drawn] for name, values in piece.items()})
    made = messages.DatasetFeatureStatisticsList()
    made.datasets.append(sets.whole.message(ALL_EXAMPLES, categorical))
    for key, sketch in sets.slices.items():
        made.datasets.append(sketch.message(f"{slice_by}_{key}", categorical))
    return FileStatistics(made, rows, sets.whole.examples, _notes(sets))


def _layout(paths: Sequence[Path], heard: Heard) -> Layout:
    layout = Layout()
    for path, piece in _named_pieces(paths, heard, 0.0):
        layout.see(piece, texts_are_texts=path.suffix != ".csv")
    return layout


def _pieces(paths: Sequence[Path], heard: Heard, start: float) -> Iterator[Piece]:
    for _, piece in _named_pieces(paths, heard, start):
        yield piece


def _named_pieces(
    paths: Sequence[Path], heard: Heard, start: float
) -> Iterator[tuple[Path, Piece]]:
    """``start``: of the part of all work, of which this is a half."""
    part = 0.0

    def told(done: int, total: int) -> None:
        nonlocal part
        part = min(1.0, done / total) if total else 1.0

    reading = Reading(rows=_ROWS, most=None, loose=True, progress=told)
    for at, path in enumerate(paths):
        rows = 0
        try:
            for piece in files.pieces(path, reading):
                rows += rows_of(piece)
                heard(path, start + (at + part) / len(paths) / 2, rows)
                yield path, piece
        except SetError as error:
            raise DataError(f"{path}: {error}") from None
        except MemoryError:
            words = f"a piece of it takes more memory than there is{own_memory.limit_words()}"
            raise DataError(f"{path}: {words}") from None
        except ModuleNotFoundError as error:
            words = f"needs the package {error.name!r}: pip install 'serving[parquet]'"
            raise ConfigError(f"{path}: reading it {words}") from None


def _keys(values: Any) -> Any:
    """Of each row the slice that it is in, None where it lacks the column; of a text the first
    characters."""
    found = np.empty(len(values), object)
    found[:] = [
        None if is_missing(one) else _text(one)[:_MOST_SLICE_NAME] for one in values.tolist()
    ]
    return found


def _text(value: Any) -> str:
    """Surrogates are no Unicode."""
    found = str(value)
    return found if found.isascii() else found.encode("utf-8", "replace").decode()


def _notes(sets: _Sets) -> tuple[str, ...]:
    notes = []
    if sets.unsliced:
        more = f"'{sets.by}' has more than {MOST_SLICES} values"
        notes.append(f"{more}: {sets.unsliced:,} rows are in no slice")
    out = len(sets.types) - len(sets.whole.features)
    if sets.whole.left_out and out > 0:
        place = f"there is place for {len(sets.whole.features):,}"
        notes.append(f"{out:,} features are left out: {place}")
    return tuple(notes)
