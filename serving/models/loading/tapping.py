"""How to look inside a version's graph while it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from serving.errors import LoadError
from serving.events import log
from serving.execution.files import open_files
from serving.execution.session import runner_of
from serving.model_config.schema import ModelConfig
from serving.models.loading.batching.taps import with_outputs
from serving.models.loading.batching.witness import Tap
from serving.models.loading.warmup import Run
from serving.settings import Settings


def tap_of(path: Path, config: ModelConfig, settings: Settings) -> Tap:
    """Opens a second session of the version in folder ``path``, with more outputs."""

    def tap(names: Sequence[str]) -> Run | None:
        try:
            with open_files(path, config.model_filename) as files:
                opened = replace(files, model=with_outputs(files.model, names))
                return runner_of(opened, config, settings, path.parent.name).run
        except LoadError as error:
            log.debug("tap_failed", reason=error.reason, detail=error.detail)
            return None

    return tap
