"""The trial of a version that no gateway has seen: for whoever publishes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from serving.cancellation import Cancellation
from serving.execution.files import file_bytes
from serving.loading.memory import check_alone, model_budget
from serving.loading.trial.findings import Failure, Findings
from serving.loading.trial.trial import Job, Trial
from serving.model_config.schema import ModelConfig
from serving.settings import Settings


def tried_alone(
    name: str,
    path: Path,
    config: ModelConfig,
    settings: Settings,
    *,
    folder: Path,
    named: Sequence[str] = (),
) -> Findings:
    """What a child process finds out that loads, runs and measures the version in ``path``.

    ``folder``: the model's own; ``named``: samples below ``path``. Raises LoadError where a
    gateway with these settings would not serve it.
    """
    size, budget = file_bytes(path, config.model_filename), model_budget(config, settings)
    check_alone(size, budget, "its files have")
    job = Job(name, 0, path, folder, config, settings, tuple(named), size, budget)
    trial = Trial()
    try:
        outcome = trial.run(job, Cancellation())
    finally:
        trial.close()
    if isinstance(outcome, Failure):
        raise outcome.error()
    return outcome
