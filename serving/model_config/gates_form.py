"""A model's gates as YAML writes them: under ``gates`` of ``model.yaml``, and in the file that the
setting ``gates.file`` names, by model."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from types import MappingProxyType

from pydantic import ValidationError

from serving.errors import ConfigError
from serving.model_config.gates import (
    AGREEMENT,
    LESS_IS_BETTER,
    EvaluationConfig,
    GatesConfig,
    Threshold,
)
from serving.model_config.gates_keys import (
    EvaluationYaml,
    GatesFile,
    GatesYaml,
    Thresholds,
)
from serving.model_config.text_file import read_text
from serving.model_config.yaml_text import explain, parse

# Forms of an evaluation set.
SUFFIXES = (".npz", ".parquet", ".jsonl", ".csv")
_MOST_BYTES = 4 * 1024 * 1024


def to_gates(keys: GatesYaml, folder: str = "") -> GatesConfig:
    """``folder``: below which the data lies, "" for the model's own. Raises ConfigError for values
    that do not go together."""
    given = keys.evaluation
    evaluation = None if given is None else _evaluation(given, folder)
    return GatesConfig(keys.safe_to_serve, keys.p99_factor, evaluation)


def read_json(text: str) -> GatesConfig:
    """Those of config.pbtxt's parameter: the keys of model.yaml, as JSON. Raises ConfigError."""
    try:
        return to_gates(GatesYaml.model_validate_json(text))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        said = f"{where}: {first['msg']}" if where else first["msg"]
        raise ConfigError(f"parameter 'gates': {said}") from None
    except ConfigError as error:
        raise ConfigError(f"parameter 'gates': {error}") from None


def read_gates_file(path: Path) -> dict[str, GatesConfig]:
    """By model. Raises ConfigError with the line."""
    document = parse(read_text(path, _MOST_BYTES), path.name)
    try:
        keys = GatesFile.model_validate(document.value)
    except ValidationError as error:
        raise ConfigError(explain(error, document, path.name, GatesFile)) from None
    folder = str(path.absolute().parent)
    found: dict[str, GatesConfig] = {}
    for model, gates in keys.models.items():
        try:
            found[model] = to_gates(gates, folder)
        except ConfigError as error:
            raise ConfigError(f"{path.name}: model '{model}': {error}") from None
    return found


def _evaluation(keys: EvaluationYaml, folder: str) -> EvaluationConfig:
    thresholds = _thresholds(keys.thresholds, "thresholds")
    of_slices = keys.slice_thresholds
    found = EvaluationConfig(
        data="" if keys.data is None else _data(keys.data, inside=not folder),
        folder=folder,
        label=keys.label or "",
        inputs=MappingProxyType({name: tuple(columns) for name, columns in keys.inputs.items()}),
        output=keys.output,
        classes=tuple(keys.classes),
        average=keys.average,
        min_examples=keys.min_examples,
        slices=tuple(keys.slices),
        min_slice_examples=keys.min_slice_examples,
        thresholds=thresholds,
        slice_thresholds=None if of_slices is None else _thresholds(of_slices, "slice_thresholds"),
    )
    labelled = [metric for metric in found.metrics if metric != AGREEMENT]
    if labelled and not found.label:
        raise ConfigError(f"gates.evaluation: {labelled[0]} needs a label: name its column")
    if of_slices is not None and not found.slices:
        raise ConfigError("gates.evaluation: slice_thresholds without slices")
    return found


def _thresholds(given: Thresholds, what: str) -> tuple[Threshold, ...]:
    found = tuple(
        Threshold(metric, one.at_least, one.at_most, one.worse_by) for metric, one in given.items()
    )
    for one in found:
        wrong = one.at_least if one.metric in LESS_IS_BETTER else one.at_most
        if wrong is not None:
            better, meant = (
                ("less", "at_most")
                if one.metric in LESS_IS_BETTER
                else (
                    "more",
                    "at_least",
                )
            )
            words = f"of {one.metric} {better} is better: give {meant} or worse_by"
            raise ConfigError(f"gates.evaluation.{what}: {words}")
        if one.metric == AGREEMENT and one.worse_by is not None:
            words = "agreement is with the answering version: give at_least"
            raise ConfigError(f"gates.evaluation.{what}: {words}")
    return found


def _data(name: str, *, inside: bool) -> str:
    """``inside``: it has to lie in the model's folder."""
    path = PurePosixPath(name)
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"gates.evaluation.data: expected {', '.join(SUFFIXES)}, got '{name}'")
    outside = path.is_absolute() or ".." in path.parts or "\\" in name or not name.isprintable()
    if inside and outside:
        raise ConfigError(f"gates.evaluation.data: '{name}' lies outside the model's folder")
    return name
