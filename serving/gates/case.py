"""What is judged: a version, and the one that answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from serving.datasets import files
from serving.datasets.pieces import SetError
from serving.gates.recorded import Recorded
from serving.gates.terms import Terms
from serving.model_config.schema import ModelConfig


@dataclass(frozen=True, slots=True)
class Subject:
    """A version to be run. ``folder``: the model's own; ``named``: the manifest's samples;
    ``size``: bytes of its files; ``budget``: memory that it may take; ``rows``: of a batch, as it
    is served. ``isolated``: some input can end the process that runs it."""

    version: int
    path: Path
    folder: Path
    config: ModelConfig
    named: Sequence[str]
    size: int
    budget: int
    rows: int
    isolated: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """``base``: the version that answers, None where there is none that can be run, and
    ``no_base`` says why. ``first``: no version of the model has ever answered. ``data``: the
    evaluation set's file, None without one; ``no_data``: why it can't be found."""

    model: str
    candidate: Subject
    terms: Terms
    base: Subject | None = None
    base_version: int | None = None
    no_base: str = ""
    first: bool = False
    requests: Sequence[Recorded] = ()
    data: Path | None = None
    no_data: str = ""


def data_of(case: Case, manifest_names: str) -> Case:
    """With the evaluation set's file: the configuration's, else the one that the version's manifest
    names, which lies in the version's folder."""
    evaluation = case.terms.evaluation
    if evaluation is None:
        return case
    try:
        if evaluation.data:
            folder = Path(evaluation.folder) if evaluation.folder else case.candidate.folder
            path = files.located(folder, evaluation.data, inside=not evaluation.folder)
        elif manifest_names:
            path = files.located(case.candidate.path, manifest_names, inside=True)
        else:
            return replace(case, no_data="neither its gates nor its manifest names a set")
    except SetError as error:
        return replace(case, no_data=f"evaluation set: {error}")
    return replace(case, data=path)
