"""How to look inside a version's graph while it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from serving.execution.files import open_files
from serving.execution.session import runner_of
from serving.loading.batching.taps import with_outputs
from serving.loading.batching.witness import Tap
from serving.loading.inputs.generated import Run
from serving.model_config.schema import ModelConfig
from serving.settings import Settings


def tap_of(path: Path, config: ModelConfig, settings: Settings) -> Tap:
    """Opens a second session of the version in folder ``path``, with more outputs."""
    # Only how it runs matters here, not what its outputs are called and declared.
    bare = replace(config, inputs=(), outputs=(), batching=None, max_batch_size=None)

    def tap(names: Sequence[str]) -> Run:
        with open_files(path, config.model_filename) as files:
            opened = replace(files, model=with_outputs(files.model, names))
            return runner_of(opened, bare, settings, path.parent.name).run

    return tap
