"""Publishing a model to a registry directory, from a trainer or the command line."""

from __future__ import annotations

import os
import string
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from serving.errors import ConfigError, LoadError
from serving.execution import onnx_file, onnx_types
from serving.execution.external_data import missing, open_folder, walk_folder
from serving.execution.files import open_files
from serving.execution.onnx_file import NotOnnxError
from serving.execution.onnx_signature import differences_of_files, stated_signature
from serving.execution.readable import why_unreadable
from serving.model_config import load_model_config
from serving.model_config.gates_form import SUFFIXES
from serving.registry import baselines, mlmodel
from serving.registry.copying import Progress, PublishError, files_below
from serving.registry.manifest import Manifest
from serving.registry.names import why_no_model
from serving.registry.object_store.address import is_address
from serving.registry.object_store.publishing import StoreTarget
from serving.registry.publish import Measures, Published, versions_of, write_version
from serving.signature import left_out_notes
from serving.user_files import read_file

SAMPLES = "samples"
EVALUATION = "evaluation"
SAMPLE_KINDS = (".npz", ".npy", ".json")


def publish(
    source: Path | str,
    to: Path | str,
    model: str,
    *,
    version: int | None = None,
    metadata: Mapping[str, str] | None = None,
    metrics: Mapping[str, float] | None = None,
    samples: Sequence[Path | str] = (),
    evaluation: Path | str | None = None,
    baseline: Path | str | None = None,
    training_data: Sequence[Path | str] = (),
    git_commit: str = "",
    mlflow_run_id: str = "",
    mlflow_model_id: str = "",
    check: bool = False,
    progress: Progress = lambda done, total: None,
) -> Published:
    """Publish a model file, or a folder with one, as ``<to>/<model>/<version>/``.

    ``source``: an ONNX file, whose external data comes along, or a folder, which is published as it
    is: one that MLflow saved, for example, whose run and model ids are taken over. ``version``:
    None for the one after the highest there is. ``samples``: files with inputs (.npz, .npy, .json)
    to warm up with. ``evaluation``: the set that the version's gates judge it by (.npz, .parquet,
    .jsonl, .csv). ``baseline``: statistics of the data that it was trained on (TFX's: .pb, .pbtxt,
    .json, .tfrecord), or ``training_data``: files with that (.parquet, .csv, .npz, .jsonl), of
    which they are made. ``check``: load, run and measure it in a child process first, as a gateway
    with the settings of the environment would. ``progress`` hears of bytes done and in all. ``to``
    may be the URL of an object store: what comes back has its ``url`` then, and is compared with
    nothing.

    It appears at once and whole, with a manifest. ``notes`` of what comes back say which
    outputs no request can get, and why; ``measures``, with ``check``, what a run and the model
    take here; ``differs``, where callers of the version ``below`` would
    be wrong with it: a gateway that answers them with that signature holds it back, unless
    ``rollout.hold_signature_changes`` is off. Raises PublishError, in words, for a version that
    exists, a model that would not load by its form or, with ``check``, at all, a file that
    cannot be copied, and versions of ONNX that the onnxruntime installed here does not read.
    """
    publish_in = partial(
        _publish_in,
        Path(source),
        model=model,
        metadata=metadata or {},
        metrics=metrics or {},
        samples=samples,
        evaluation=evaluation,
        baseline=baseline,
        training_data=training_data,
        git_commit=git_commit,
        mlflow_run_id=mlflow_run_id,
        mlflow_model_id=mlflow_model_id,
        check=check,
    )
    if not (isinstance(to, str) and is_address(to)):
        return publish_in(Path(to), version=version, progress=progress)
    target = _target(to, model)
    with tempfile.TemporaryDirectory(prefix="serving-publish-") as folder:
        staging = Path(folder)
        target.bring_config(staging / model)
        # Nothing is claimed before it is known to be good.
        done = publish_in(staging, version=version or 1, progress=_unheard)
        number, url = target.publish(done.path, version, progress)
    return replace(done, path=Path(url), version=number, url=url)


def _unheard(done: int, total: int) -> None:
    """A copy on this machine, of which nobody need hear."""


def _target(url: str, model: str) -> StoreTarget:
    if why := why_no_model(model):
        raise PublishError(f"'{model}' is no model's name: {why}")
    return StoreTarget(url, model)


def _publish_in(
    source: Path,
    to: Path,
    *,
    model: str,
    version: int | None,
    metadata: Mapping[str, str],
    metrics: Mapping[str, float],
    samples: Sequence[Path | str],
    evaluation: Path | str | None,
    baseline: Path | str | None,
    training_data: Sequence[Path | str],
    git_commit: str,
    mlflow_run_id: str,
    mlflow_model_id: str,
    check: bool,
    progress: Progress,
) -> Published:
    """Into a directory."""
    filename = _filename(to, model)
    try:
        files = _files(source, filename)
        origin = mlmodel.read_origin(source) if source.is_dir() else mlmodel.Origin()
        columns = _columns(source)
    except OSError as error:
        raise PublishError(f"{source}: {(error.strerror or str(error)).lower()}") from error
    sample_files = _samples(samples, files)
    sets = _evaluation(evaluation, files)
    about_data = baselines.of(baseline, training_data, files)
    manifest = Manifest(
        model=model,
        version=0 if version is None else version,
        created="",
        files={},
        git_commit=_commit(git_commit),
        run_id=mlflow_run_id or origin.run_id,
        model_id=mlflow_model_id or origin.model_id,
        metadata=dict(metadata),
        metrics=_metrics(metrics),
        samples=tuple(sample_files),
        evaluation=next(iter(sets), ""),
        baseline=about_data.named,
    )

    notes = list(about_data.notes)
    measures: list[Measures] = []

    def look(folder: Path) -> None:
        try:
            notes.extend(_form(folder, filename))
            if about_data.named:
                notes.extend(about_data.apart_from(columns or _tensors(folder / filename)))
            if check:
                more, measured = _tried(folder, to / model, tuple(sample_files))
                notes.extend(more)
                measures.append(measured)
        except LoadError as error:
            raise PublishError(error.reason) from error
        except NotOnnxError as error:
            raise PublishError(f"the model file is corrupt or truncated: it {error}") from None

    with about_data.files() as statistics:
        done = write_version(
            {**files, **sample_files, **sets, **statistics},
            to,
            manifest,
            auto=version is None,
            check=look,
            progress=progress,
        )
    compared = _compared(done, to / model, filename)
    return replace(compared, notes=tuple(notes), measures=next(iter(measures), None))


def _columns(source: Path) -> list[str]:
    """That requests have to give by MLflow's signature; none where it says nothing of columns."""
    try:
        found = mlmodel.read(source) if source.is_dir() else None
    except mlmodel.MlmodelError:
        return []  # what is wrong with it others say
    if found is None or found.declared.form != "columns":
        return []
    return [field.name for field in found.declared.fields if field.name and field.required]


def _tensors(model: Path) -> list[str]:
    """The inputs that a model can't do without. Raises NotOnnxError."""
    stated = stated_signature(read_file(model, onnx_file.MOST_BYTES))
    return [tensor.name for tensor in stated.inputs if not tensor.optional]


def _form(folder: Path, filename: str) -> tuple[str, ...]:
    """What is to be said of a model that may be read. Raises LoadError for another."""
    with open_files(folder, filename) as opened:
        if reason := why_unreadable(opened.model):
            raise LoadError(reason)
        return left_out_notes(onnx_types.left_out(opened.model))


def _tried(
    version: Path, folder: Path, samples: tuple[str, ...]
) -> tuple[tuple[str, ...], Measures]:
    """The notes of its trial, and what it measured. Raises LoadError."""
    from serving.loading.batching.verdict import decide, intent
    from serving.loading.trial.alone import tried_alone
    from serving.settings import load_settings

    try:
        settings, _ = load_settings({})
        config = load_model_config(folder)
        found = tried_alone(folder.name, version, config, settings, folder=folder, named=samples)
    except ConfigError as error:
        raise LoadError(f"it can't be tried here: {error}") from None
    verdict = decide(intent(config, settings), found.analysis, found.evidence)
    return found.notes, Measures(found.seconds, found.memory_bytes, verdict.words)


def _compared(done: Published, folder: Path, filename: str) -> Published:
    """With the version below, where there is one that can be read. It says what a gateway will do
    with it, and fails nothing."""
    below = max((n for n in versions_of(folder) if n < done.version), default=0)
    places = [folder / str(below) / filename, *([folder / filename] if below == 1 else [])]
    before = next((place for place in places if below and place.is_file()), None)
    if before is None:
        return done
    differs = differences_of_files(before, done.path / filename)
    return replace(done, differs=differs, below=below)


def _filename(to: Path, model: str) -> str:
    """What the model's configuration calls its file."""
    if why := why_no_model(model):
        raise PublishError(f"'{model}' is no model's name: {why}")
    try:
        return load_model_config(to / model).model_filename
    except ConfigError as error:
        raise PublishError(f"the model's configuration is wrong: {error}") from None


def _files(source: Path, filename: str) -> dict[str, Path]:
    """Path in the version -> where it lies."""
    if source.is_dir():
        return files_below(source)
    if not source.is_file():
        raise PublishError(f"{source} is neither a file nor a folder")
    return {filename: source, **_external(source)}


def _external(model: Path) -> dict[str, Path]:
    """The files with the model's external data, where it says they lie. What it says is
    checked when the copy is."""
    try:
        found = onnx_file.read(read_file(model, onnx_file.MOST_BYTES))
    except onnx_file.NotOnnxError as error:
        raise PublishError(f"the model file is corrupt or truncated: it {error}") from None
    locations = {dict(data.entries).get("location", "") for data in found.external}
    files = {}
    for location in sorted(locations - {""}):
        path = Path(location)
        if path.is_absolute() or ".." in path.parts or "\\" in location:
            raise PublishError("the model's external data lies outside its folder")
        files[path.as_posix()] = model.parent / path
        if not (model.parent / path).exists():
            raise PublishError(missing(location, model.name, _beside(model)))
    return files


def _beside(model: Path) -> Iterator[str]:
    folder = open_folder(model.parent)
    try:
        yield from (name for name, _ in walk_folder(folder) if name != model.name)
    finally:
        os.close(folder)


def _samples(samples: Sequence[Path | str], files: Mapping[str, Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for sample in map(Path, samples):
        name = f"{SAMPLES}/{sample.name}"
        if sample.suffix not in SAMPLE_KINDS:
            raise PublishError(f"{sample.name}: a sample is one of {', '.join(SAMPLE_KINDS)}")
        if not sample.is_file():
            raise PublishError(f"{sample} is not a file")
        if name in found or name in files:
            raise PublishError(f"there are two samples by the name of {sample.name}")
        found[name] = sample
    return found


def _evaluation(given: Path | str | None, files: Mapping[str, Path]) -> dict[str, Path]:
    """At most one."""
    if given is None:
        return {}
    path = Path(given)
    name = f"{EVALUATION}/{path.name}"
    if path.suffix not in SUFFIXES:
        raise PublishError(f"{path.name}: an evaluation set is one of {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise PublishError(f"{path} is not a file")
    if name in files:
        raise PublishError(f"there are two evaluation sets by the name of {path.name}")
    return {name: path}


def _metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """As plain numbers: trainers hand over numpy's."""
    try:
        return {key: float(number) for key, number in metrics.items()}
    except (TypeError, ValueError):
        raise PublishError("a metric is a number") from None


def _commit(text: str) -> str:
    if text and (not 7 <= len(text) <= 64 or set(text) - set(string.hexdigits)):
        raise PublishError("a git commit is 7 to 64 hexadecimal digits")
    return text.lower()
