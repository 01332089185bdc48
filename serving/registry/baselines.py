"""The baseline of a version that is published: statistics of the data that it was trained on."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.errors import ConfigError
from serving.registry.copying import PublishError
from serving.registry.manifest import BASELINE
from serving.statistics import files as statistics_files
from serving.statistics.baseline import checked
from serving.statistics.features import unmatched
from serving.statistics.forms import dump
from serving.statistics.metadata import Form, FormatError, Kind

_MOST_NAMED = 4


@dataclass(frozen=True, slots=True)
class Baseline:
    """``message``: None where there is none, or the folder that is published has it already.
    ``named``: the file in the version's folder, "" for none."""

    message: Any = None
    named: str = ""
    notes: tuple[str, ...] = ()

    def apart_from(self, inputs: Sequence[str]) -> tuple[str, ...]:
        """A note where the data has none of a model's inputs, by their names: nothing that is
        served would be held against it."""
        if self.message is None:
            return ()
        names = [one.name or ".".join(one.path.step) for one in checked(self.message).features]
        missing = unmatched(inputs, names)
        if not missing:
            return ()
        few = ", ".join(f"'{name[:64]}'" for name in names[:_MOST_NAMED])
        return (
            (
                f"nothing of its baseline is about the input '{missing[0]}' (as {missing[0]}, or"
                f" {missing[0]}[0] and so on): there are {few}"
            ),
        )

    @contextmanager
    def files(self) -> Iterator[dict[str, Path]]:
        """Path in the version -> where it lies, as long as this lasts."""
        if self.message is None:
            yield {}
            return
        with tempfile.TemporaryDirectory(prefix="serving-baseline-") as folder:
            path = Path(folder) / BASELINE
            path.write_bytes(dump(self.message, Form.BINARY))
            yield {BASELINE: path}


def of(given: Path | str | None, data: Sequence[Path | str], files: Mapping[str, Path]) -> Baseline:
    """From statistics, from data, or from what the folder that is published has by that name.
    Raises PublishError."""
    if given is not None and data:
        raise PublishError("either the statistics of the training data, or that data, not both")
    if given is not None:
        return _given(Path(given), files)
    if data:
        return _made([Path(one) for one in data], files)
    return _found(files)


def _given(path: Path, files: Mapping[str, Path]) -> Baseline:
    try:
        message = statistics_files.read(path, Kind.STATISTICS)
        checked(message)
    except FormatError as error:
        raise PublishError(f"the baseline {path}: {error}") from None
    return Baseline(message, _free(files))


def _made(paths: Sequence[Path], files: Mapping[str, Path]) -> Baseline:
    from serving.statistics.of_files import statistics_of

    try:
        found = statistics_of(paths)
    except ConfigError as error:
        raise PublishError(f"training data: {error}") from None
    if not found.used:
        raise PublishError("the training data has no example")
    return Baseline(found.message, _free(files), found.notes)


def _free(files: Mapping[str, Path]) -> str:
    if BASELINE in files:
        raise PublishError(f"the folder that is published has a {BASELINE} already")
    return BASELINE


def _found(files: Mapping[str, Path]) -> Baseline:
    """What is no baseline though it has the name is published as any other file."""
    if BASELINE not in files:
        return Baseline()
    try:
        checked(statistics_files.read(files[BASELINE], Kind.STATISTICS))
    except FormatError as error:
        return Baseline(notes=(f"{BASELINE} in its folder is no baseline: {error}",))
    return Baseline(named=BASELINE)
