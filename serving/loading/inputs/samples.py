"""The user's own inputs: from the manifest, the configuration's warm-up, the requests that a
TensorFlow Serving has logged, MLflow's example.

A sample must run, or the version is not served. So must it fit: a sample that cannot be read
or is not one of the model's inputs is an error of the version. MLflow writes its example for
another scorer; one that does not fit here is only noted.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from serving.errors import LoadError, Retry
from serving.execution.faults import classify, short_of_memory
from serving.loading.batching.answers import answers_of
from serving.loading.inputs import logged_requests, sample_files, warmup_inputs
from serving.loading.inputs.generated import STYLES, Array, Feeds, Run, Style
from serving.loading.inputs.sample_files import UnfitError
from serving.model_config.schema import ModelConfig
from serving.signature import Signature

# The second is in the form in which its own server takes it, and the first as it was given.
MLFLOW_EXAMPLES = ("serving_input_example.json", "input_example.json")


@dataclass(frozen=True, slots=True)
class Sample:
    """Inputs to run ``count`` times. ``own``: whether the values are the user's, not zeros or
    noise that they asked for; ``shown``: whether it was written to be shown; ``logged``: whether it
    is a request of clients, which nobody chose. ``what`` names it in errors."""

    what: str
    feeds: Feeds
    count: int = 1
    own: bool = True
    shown: bool = False
    logged: bool = False


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the samples of one version lie. ``folder`` is the model's own, with ``warmup/``;
    ``named`` are the files that the manifest names, relative to ``version``.
    ``most_bytes``: of one sample's file; ``most_texts``: string elements of an input."""

    version: Path
    folder: Path
    named: tuple[str, ...] = ()
    most_bytes: int = 64 * 1024 * 1024
    most_texts: int = 1_048_576

    def any(self, config: ModelConfig) -> bool:
        """Whether there are samples to be read, right or wrong: of each kind that ``collect``
        reads."""
        logged = logged_requests.is_there(self.version)
        return bool(self.named or config.warmup or logged or self.mlflow_example())

    def mlflow_example(self) -> str:
        """The file of MLflow's example; "" where there is none of its own."""
        for name in MLFLOW_EXAMPLES:
            if name not in self.named and (self.version / name).is_file():
                return name
        return ""


@dataclass(frozen=True, slots=True)
class Samples:
    """What was found; ``notes`` say in words which example does not fit, or is not run."""

    samples: tuple[Sample, ...] = ()
    notes: tuple[str, ...] = field(default=())


def collect(sources: Sources, signature: Signature, config: ModelConfig) -> Samples:
    """All samples of a version. Raises LoadError naming the one that is wrong, and how."""
    found = [_named(sources, name, signature) for name in sources.named]
    for one in config.warmup:
        feeds = warmup_inputs.feeds_of(one, signature, sources.folder / "warmup")
        own = all(given.fill == "file" for given in one.inputs)
        found.append(Sample(f"warm-up sample '{one.name}'", feeds, max(1, one.count), own))
    logged, notes = _logged(sources, signature, config)
    try:
        example = _mlflow_example(sources, signature)
    except UnfitError as error:
        notes = (*notes, f"MLflow's input example is not used: {error}")
        return Samples((*found, *logged), notes)
    return Samples((*found, *logged, *example), notes)


def _logged(
    sources: Sources, signature: Signature, config: ModelConfig
) -> tuple[list[Sample], tuple[str, ...]]:
    """The requests that a TensorFlow Serving has logged, and a note on those of calls that are not
    there here. That they run is asked of them: not that their answers are finite, for nobody has
    chosen them as samples."""
    bounds = sources.most_bytes, sources.most_texts
    records = logged_requests.read(sources.version, signature, config.signatures, *bounds)
    found = [
        Sample(f"record {number} of {logged_requests.FILE}", one, own=False, logged=True)
        for number, one in enumerate(records)
        if not isinstance(one, str)
    ]
    others = sorted({one for one in records if isinstance(one, str)})
    if not others:
        return found, ()
    count, logs = len(records) - len(found), " or ".join(others)
    words = f"{count} of the records of {logged_requests.FILE} are passed over: {logs}"
    return found, (f"{words} is of a call that this server does not have",)


def _named(sources: Sources, name: str, signature: Signature) -> Sample:
    what = f"sample '{PurePosixPath(name).name}'"
    try:
        feeds = sample_files.read(sources.version, name, signature, sources.most_bytes)
    except UnfitError as error:
        raise LoadError(f"{what}: {error}") from error
    return Sample(what, feeds, shown=PurePosixPath(name).name in MLFLOW_EXAMPLES)


def _mlflow_example(sources: Sources, signature: Signature) -> list[Sample]:
    name = sources.mlflow_example()
    if not name:
        return []
    feeds = sample_files.read(sources.version, name, signature, sources.most_bytes)
    return [Sample("MLflow's input example", feeds, shown=True)]


def run_all(run: Run, signature: Signature, samples: Sequence[Sample]) -> None:
    """Run each as often as it says. Raises LoadError for one that fails, and for an answer
    that is not finite although the user's input was."""
    names = [tensor.name for tensor in signature.outputs]
    for sample in samples:
        try:
            for _ in range(sample.count):
                answers = answers_of(run, names, sample.feeds)
        except LoadError:
            raise
        except Exception as error:
            fault = classify(error)
            words, short = f"{sample.what} failed: {fault.message}", short_of_memory(error)
            retry = Retry.after(error)
            raise LoadError(words, fault.detail, retry, for_memory=short) from error
        if sample.own and all(_finite(array) for array in sample.feeds.values()):
            _check_finite(sample, names, answers)


def repeat_all(run: Run, signature: Signature, samples: Sequence[Sample], limit_s: float) -> str:
    """Run those that a trial has run: of logged requests only the first of each set of shapes, for
    values warm nothing, and until ``limit_s`` seconds are over. Words for what was left out; raises
    as ``run_all`` does."""
    run_all(run, signature, [sample for sample in samples if not sample.logged])
    end = time.monotonic() + limit_s
    unlike = _unlike([sample for sample in samples if sample.logged])
    for done, sample in enumerate(unlike):
        if time.monotonic() > end:
            return (
                f"{len(unlike) - done} of {len(unlike)} shapes of logged requests are not warmed:"
                " the model is slow"
            )
        run_all(run, signature, [sample])
    return ""


def _unlike(samples: Sequence[Sample]) -> list[Sample]:
    """The first of each set of shapes."""
    found: dict[frozenset[tuple[str, tuple[int, ...]]], Sample] = {}
    for sample in samples:
        shapes = frozenset((name, array.shape) for name, array in sample.feeds.items())
        found.setdefault(shapes, sample)
    return list(found.values())


def _check_finite(sample: Sample, names: Sequence[str], answers: Sequence[Array]) -> None:
    for name, answer in zip(names, answers, strict=True):
        if not _finite(answer):
            raise LoadError(
                f"{sample.what} has finite input, but NaN or infinity in output '{name}'"
            )


def _finite(array: Array) -> bool:
    return not np.issubdtype(array.dtype, np.floating) or bool(np.isfinite(array).all())


@dataclass(frozen=True, slots=True)
class SampledRows:
    """Inputs of any number of rows, made of the rows of samples whose shapes agree."""

    rows: tuple[Feeds, ...]
    style: Style = STYLES[0]
    by_rows: bool = True

    def make(self, rows: int = 1, seed: int = 0, style: Style | None = None) -> Feeds:
        """The rows in turn, beginning at number ``seed``; ``style`` does not matter here."""
        del style
        picked = [self.rows[(seed + i) % len(self.rows)] for i in range(rows)]
        return {name: np.concatenate([row[name] for row in picked]) for name in picked[0]}


# Rows of the users' that are kept for running together.
_MOST_ROWS = 8


def sampled_rows(samples: Sequence[Sample], signature: Signature) -> SampledRows | None:
    """The rows of the user's samples where axis 0 may be rows; None without any."""
    if not signature.may_batch:
        return None
    rows: list[Feeds] = []
    for sample in samples:
        counts = {array.shape[0] for array in sample.feeds.values()}
        if len(counts) != 1:
            continue
        for at in range(min(counts.pop(), _MOST_ROWS - len(rows))):
            row = {name: array[at : at + 1] for name, array in sample.feeds.items()}
            if not rows or _alike(row, rows[0]):
                rows.append(row)
    return SampledRows(tuple(rows)) if rows else None


def _alike(one: Feeds, other: Feeds) -> bool:
    return {name: a.shape for name, a in one.items()} == {
        name: a.shape for name, a in other.items()
    }
